# `make demo`: install and run the main job on embedded data. `make test`: install and run the tests. `make docs`: site/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# One thread for each test worker: oversubscribed threads cost ten times.
export OMP_NUM_THREADS := 1

.PHONY: demo test lint docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	env -u OMP_NUM_THREADS $(BIN)/microexpr demo --out demo-out

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations 8

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "microexpr needs Python 3.11 or later, this is " + sys.version.split()[0] + "; run: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)

# The build tool is pinned like everything else, so the package is built with it rather than in isolation.
$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) setuptools
	$(PIP) --no-build-isolation --editable .
	touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) setuptools
	$(PIP) --no-build-isolation --editable '.[dev,onnx,app]'
	touch $@ $(VENV)/.installed

# Links and anchors that lead nowhere are errors. The first line of `mkdocs` speaks of its own future.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/.installed-docs: $(VENV)/.installed-dev
	$(PIP) --no-build-isolation --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build site *.egg-info .pytest_cache .mypy_cache .ruff_cache demo-out
