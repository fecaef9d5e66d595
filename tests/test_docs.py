"""The pages against the code: examples run, commands parse, links lead somewhere, tables say what the code says."""

import ast
import dataclasses
import importlib.util
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from microexpr import api, datasets, methods
from microexpr.cli import _parser
from microexpr.errors import BadInput
from microexpr.evaluation import protocols, runner
from microexpr.motion.color import wheel_picture
from microexpr.motion.files import read_picture
from microexpr.types import Dataset, Frames
from tests import test_methods
from tests.clips import flow_clips

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    found = re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", prose(page))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def command_lines(page: Path) -> Iterator[str]:
    """`microexpr` commands of the bash blocks, continued lines joined, without those that have placeholders."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"\w+=.*", words[0]):
                words.pop(0)  # an environment variable in front
            if words and words[0].rpartition("/")[2] == "microexpr" and not re.search(r"<.*>|\.\.\.", line):
                yield shlex.join(words[1:])


def run_blocks(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a page's Python: a block that begins with a path becomes that module, the others run in `folder`."""
    monkeypatch.chdir(folder)
    for number, block in enumerate(blocks(page, "python")):
        first = block.splitlines()[0]
        if not first.startswith("# microexpr/"):
            exec(compile(block, f"{page.name}, block {number}", "exec"), {"__name__": "example"})
            continue
        name = first.removeprefix("# ").removesuffix(".py").replace("/", ".")
        file = folder / f"{name.rpartition('.')[2]}.py"
        file.write_text(block, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)


@pytest.fixture
def nearest_mean(tmp_path, monkeypatch):
    """The method of the page, registered for one test."""
    monkeypatch.setattr(methods, "METHODS", dict(methods.METHODS))
    run_blocks(DOCS / "add-a-method.md", tmp_path, monkeypatch)
    return "nearest-mean"


def test_add_a_method_runs(nearest_mean, tmp_path):
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("synthetic--nearest-mean--loso--")
    method = methods.create(nearest_mean)
    places = runner.evaluate(
        [method],
        Dataset("replica", tuple(flow_clips(4, 3))),
        protocols.megc(),
        name=nearest_mean,
        settings=[dataclasses.asdict(method)],
        runs=tmp_path / "replica",
    )
    (run,) = api.read_runs(places)
    assert (run.predicted == run.truth).all()  # the classes of these clips are easily told apart


def test_the_example_passes_the_tests_of_every_method(nearest_mean, tmp_path):
    general = {
        name: test
        for name, test in inspect.getmembers(test_methods, inspect.isfunction)
        if name.startswith("test_") and "name" in inspect.signature(test).parameters
    }
    for skipped in (
        "test_has_a_docs_page",
        "test_a_wrong_setting_is_told_before_anything_runs",  # has cases of its own
        "test_overfits_a_few_clips",  # sets epochs, which this method has not; see above
        "test_a_training_reaches_every_parameter_of_a_network",
        "test_a_training_that_diverges_in_its_last_step_is_told",  # of networks
    ):
        del general[skipped]
    assert len(general) >= 8
    for test in general.values():
        given = {"name": nearest_mean, "tmp_path": tmp_path}
        test(**{key: given[key] for key in inspect.signature(test).parameters})


def test_add_a_dataset_runs(tmp_path, monkeypatch, capsys):
    recordings = tmp_path / "lab-recordings"
    lines = ["subject,clip,emotion,onset,apex,offset"]
    for subject in ("s01", "s02"):
        for number, emotion in enumerate(("happiness", "disgust", "surprise", "others"), start=1):
            folder = recordings / subject / f"clip{number:02d}"
            folder.mkdir(parents=True)
            for frame in range(8, 12):  # one digit, then two
                cv2.imwrite(str(folder / f"{frame}.png"), np.full((24, 32, 3), (0, 0, 10 * frame), np.uint8))
            lines.append(f"{subject},{folder.name},{emotion},8,10,11")
    (recordings / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(datasets, "DATASETS", dict(datasets.DATASETS))
    run_blocks(DOCS / "add-a-dataset.md", tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    assert "lab/s01/clip01 happiness (24, 32, 3)" in printed
    assert "6 clips" in printed  # "others" is in no class
    frames = api.load("lab", root=recordings).clips[0].frames
    assert isinstance(frames, Frames)
    assert frames.read(10)[0, 0].tolist() == [100, 0, 0]  # red: RGB, not OpenCV's order
    assert api.describe_dataset("lab")["expected"]
    (recordings / "s02" / "clip03" / "10.png").unlink()
    with pytest.raises(BadInput, match="frame 10"):
        api.load("lab", root=recordings)
    (recordings / "labels.csv").write_text("subject,clip\ns01,clip01\n", encoding="utf-8")
    with pytest.raises(BadInput, match="line 2"):
        api.load("lab", root=recordings)


@pages
def test_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pages
def test_commands_are_understood(page, capsys):
    for line in command_lines(page):
        assert understood(line), f"microexpr {line}: {capsys.readouterr().err}"


def understood(line: str) -> bool:
    try:
        _parser().parse_args(shlex.split(line))
    except SystemExit as stopped:
        return stopped.code == 0
    return True


def test_there_are_commands_and_links_to_check():
    assert len([line for page in PAGES for line in command_lines(page)]) >= 20
    assert len([link for page in PAGES for link in links(page)]) >= 20


def section(name: str) -> str:
    """A method's part of docs/methods.md."""
    text = (DOCS / "methods.md").read_text(encoding="utf-8")
    return text.split(f"\n## `{name}`\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", methods.names())
def test_settings_tables_say_what_the_code_says(name):
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", section(name), re.MULTILINE))
    settings = {key: str(value) for key, value in vars(methods.create(name)).items() if not key.endswith("_")}
    kind = methods.kind_of(name)
    defaults = {field.name: str(field.default) for field in dataclasses.fields(kind)}
    if name in ("mjfn-avg", "mjfn-bbn"):  # only what differs from `mjfn`
        settings = {key: value for key, value in settings.items() if value != defaults[key]}
    assert rows == settings


NETWORKS = [name for name in methods.names() if hasattr(methods.kind_of(name), "layers")]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("mjfn-avg", "mjfn-bbn")])
def test_layers_are_those_of_the_code(name):
    printed = re.findall(r"^(\S+) +(\w+) +(\d+(?: x \d+)*) +([\d,]+)$", section(name), re.MULTILINE)
    rows = [(layer, kind, " x ".join(map(str, shape)), f"{count:,}") for layer, kind, shape, count in _layers(name)]
    assert printed == rows


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_those_of_the_code(name):
    assert f"{sum(row[-1] for row in _layers(name)):,} parameters" in section(name)


def _layers(name):
    return methods.create(name).layers()


def test_the_wheel_is_that_of_the_code():
    np.testing.assert_array_equal(read_picture(DOCS / "images" / "wheel.png"), wheel_picture(256))


def test_paper_to_code_names_what_exists():
    text = (DOCS / "paper-to-code.md").read_text(encoding="utf-8")
    tested = set(re.findall(r"^def (test_\w+)", "".join(map(Path.read_text, Path(__file__).parent.glob("*.py"))), re.M))
    named = re.findall(r"`([\w/]+\.py)::([\w.]+)`", text)
    assert len(named) >= 20
    for path, name in named:
        body = ast.parse((ROOT / "microexpr" / path).read_text(encoding="utf-8")).body
        for part in name.split("."):
            (node,) = (node for node in body if getattr(node, "name", None) == part)
            body = node.body
    for name in re.findall(r"`(test_\w+)`", text):
        assert name in tested
    for file in re.findall(r"`(tests/\w+\.py)`", text):
        assert (ROOT / file).is_file()
