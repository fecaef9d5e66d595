"""Shapes in annotations are checked while testing; nothing is written outside pytest's temporary folders."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: two test workers share two cores

import jaxtyping

import tests.checker  # where the hook looks for it

jaxtyping.jaxtyped = tests.checker.sparing(jaxtyping.jaxtyped)
jaxtyping.install_import_hook("microexpr", "tests.checker.check")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _private_folders(tmp_path_factory, monkeypatch):
    """The flow cache of the test session; no root or config of the person who runs the tests."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("MICROEXPR_CACHE", str(cache))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
    for name in [name for name in os.environ if name.startswith("MICROEXPR_") and name != "MICROEXPR_CACHE"]:
        monkeypatch.delenv(name)
