"""The paper's experiments: what they run, what they print and write, and what they refuse."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import microexpr
from microexpr import api, datasets, experiments, methods
from microexpr.cli import main
from microexpr.errors import BadInput, UnknownName
from microexpr.evaluation import pictures, results
from microexpr.types import Dataset
from tests import test_docs
from tests.clips import flow_clips

REPLICA = Dataset("megc2019-flow", tuple(flow_clips(2, 3, "casme2") + flow_clips(2, 3, "samm")))
QUICK = {"protocol": "subject-k-fold", "folds": 2, "epochs": 1, "jobs": 1}
PAGES = sorted((test_docs.DOCS / "experiments").glob("*.md"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of run folders that the experiments share: what one has trained the next one finds."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def replica(monkeypatch):
    """The data set's name gives a few clips."""
    monkeypatch.setattr(datasets, "load", lambda name, root, part, **_: REPLICA)


def run_by_command(place, *arguments):
    quick = ["--protocol", "subject-k-fold", "--folds", "2", "--epochs", "1", "--jobs", "1"]
    return main(["experiment", *arguments, *quick, "--runs", str(place)])


def refused(capsys, *arguments):
    """The one line of a wrong call."""
    assert main(["experiment", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def svg(file):
    """The root of a picture that is well-formed and refers to nothing outside."""
    text = Path(file).read_text(encoding="utf-8")
    assert not re.search(r"(href|src|url)\s*[=(]", text)
    return ElementTree.fromstring(text)


def words(file):
    return " ".join("".join(element.itertext()) for element in svg(file).iter() if element.tag.endswith("}text"))


def test_variants_are_those_of_the_paper():
    modules = [
        methods.create(one.method, **one.settings).taps for one in experiments.EXPERIMENTS["jfm-ablation"].variants
    ]
    assert modules == [(), (4,), (4, 3), (4, 3, 2), (4, 3, 2, 1)]
    fusions = [methods.create(one.method).fusion for one in experiments.EXPERIMENTS["fusion-ablation"].variants]
    assert fusions == ["softmax", "mean", "none"]
    assert [one.method for one in experiments.EXPERIMENTS["leak"].variants] == ["mjfn", "ststnet", "off-apexnet"]
    assert experiments.EXPERIMENTS["leak"].select == "last,inner,oracle"
    assert [one.method for one in experiments.variants_of("table3")] == methods.names()
    assert all(one.select == "last" for name, one in experiments.EXPERIMENTS.items() if name != "leak")


def test_listing(capsys):
    assert main(["experiment"]) == 0
    printed = capsys.readouterr().out
    for name, one in experiments.EXPERIMENTS.items():
        assert name in printed
        assert one.paper in printed
    assert main(["experiment", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in listed] == list(experiments.EXPERIMENTS)
    assert listed[1]["variants"][1] == "1 module (mjfn taps=(4,))"


def test_modules_by_command(place, replica, tmp_path, capsys):
    assert run_by_command(place, "jfm-ablation", "megc2019-flow", "--out", str(tmp_path / "made")) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    for taps in ("taps=[4]", "taps=[4, 3]", "taps=[4, 3, 2]", "taps=[4, 3, 2, 1]"):
        assert taps in captured.out
    assert str(tmp_path / "made" / "report.html") in captured.out
    assert "<svg" in (tmp_path / "made" / "report.html").read_text(encoding="utf-8")
    shown = words(tmp_path / "made" / "jfm-ablation.svg")
    labels = ["no module", "1 module", "2 modules", "3 modules", "4 modules"]
    assert [shown.index(label) for label in labels] == sorted(shown.index(label) for label in labels)
    # the published MJFN is the one with three modules; the others have no published figure
    assert shown.count("83.4") == 1
    taps = [results.read_info(folder)["settings"]["taps"] for folder in place.glob("*--mjfn--*")]
    assert sorted(taps, key=len) == [[4], [4, 3], [4, 3, 2], [4, 3, 2, 1]]


def test_fusions_from_python_share_runs_with_the_modules(place, tmp_path):
    steps = set()
    made = microexpr.experiment(
        "fusion-ablation", REPLICA, runs=place, progress=lambda step, *_: steps.add(step), **QUICK
    )
    assert [run.info["method"] for run in made.runs] == ["mjfn", "mjfn-avg", "mjfn-bbn"]
    assert made.skipped == {}
    assert made.written == ()
    before = {file: file.stat().st_mtime_ns for file in place.rglob("*.csv")}
    again = experiments.run("fusion-ablation", REPLICA, runs=place, out=tmp_path, **QUICK)
    assert [run.folder for run in again.runs] == [run.folder for run in made.runs]
    assert {file: file.stat().st_mtime_ns for file in place.rglob("*.csv")} == before
    assert [file.name for file in again.written] == ["report.html", "fusion-ablation.svg"]
    assert "MJFN-BbN" in words(tmp_path / "fusion-ablation.svg")
    assert any(step.startswith("MJFN-Avg: ") for step in steps)


def test_confusion_by_command(place, replica, tmp_path, capsys):
    assert run_by_command(place, "confusion", "megc2019-flow", "--seeds", "2", "--out", str(tmp_path)) == 0
    printed = capsys.readouterr().out
    runs = [results.read_run(Path(line.removeprefix("run: "))) for line in printed.splitlines() if "run: " in line]
    assert [run.info["seed"] for run in runs] == [0, 1]
    found = dict(pictures.confusions(runs))
    assert list(found) == ["all", "CASME II", "SAMM"]
    assert (found["all"] == found["CASME II"] + found["SAMM"]).all()
    # by hand: 12 clips, four of each class, twice
    assert found["all"].sum(axis=1).tolist() == [8, 8, 8]
    right = sum(int((run.truth == run.predicted).sum()) for run in runs)
    assert found["all"].trace() == right
    for name in found:
        assert f"mjfn, {name}" in printed
    shown = words(tmp_path / "confusion-mjfn.svg")
    assert "Confusion of mjfn, megc2019-flow, epochs=1, 2 seeds together, subject-k-fold" in shown
    assert "SAMM" in shown
    cells = [element for element in svg(tmp_path / "confusion-mjfn.svg").iter() if "fill-opacity" in element.attrib]
    assert len(cells) == 3 * 9
    assert float(cells[0].get("fill-opacity")) == pytest.approx(0.04 + 0.46 * found["all"][0, 0] / 8, abs=1e-3)


def test_leak_by_command(place, replica, tmp_path, capsys):
    assert run_by_command(place, "leak", "megc2019-flow", "--out", str(tmp_path), "--json") == 0
    captured = capsys.readouterr()
    made = json.loads(captured.out)
    assert made["experiment"] == "leak"
    selections = [(row["method"], row["select"], row["leaks"]) for row in made["comparison"]]
    assert selections == [
        (method, select, select == "oracle")
        for method in ("mjfn", "ststnet", "off-apexnet")
        for select in ("last", "inner", "oracle")
    ]
    names = [Path(file).name for file in made["written"]]
    assert names == ["report.html", "leak-mjfn.svg", "leak-ststnet.svg", "leak-off-apexnet.svg"]
    assert "LEAKS" in (tmp_path / "report.html").read_text(encoding="utf-8")
    uf1 = {(row["method"], row["select"]): row["uf1"] for row in made["comparison"]}
    for method in ("mjfn", "ststnet", "off-apexnet"):
        shown = words(tmp_path / f"leak-{method}.svg")
        assert "LEAKS: the epoch was chosen on the very subjects it is tested on" in shown
        assert f"{100 * uf1[method, 'last']:.1f} {method}, last epoch" in shown
        assert f"{100 * uf1[method, 'oracle']:.1f} best test epoch LEAKS" in shown
        assert f"{100 * uf1[method, 'inner']:.1f} chosen on training subjects" in shown
    assert run_by_command(place, "leak", "megc2019-flow") == 0
    printed = capsys.readouterr().out
    assert len(re.findall("^(mjfn|ststnet|off-apexnet) LEAKS", printed, re.MULTILINE)) == 2 * 3  # figures and recall


def test_seeds_of_a_leak_are_curves_of_one_picture(tmp_path):
    runs = []
    for seed in (0, 1):
        runs += api.evaluate(
            "ststnet",
            REPLICA,
            **{**QUICK, "epochs": 2},
            select="last,inner,oracle",
            settings={"seed": seed},
            runs=tmp_path,
        )
    ((name, text),) = pictures.epoch_pictures(runs).items()
    assert name == "leak-ststnet"
    assert text.count('class="one thin stroke"') == 2
    assert text.count('class="one thick stroke"') == 1
    oracle = [row for row in api.compare(runs) if row.leaks]
    assert f"{100 * oracle[0].uf1:.1f}" in text
    assert pictures.epoch_pictures([run for run in runs if run.info["select"] != "oracle"]) == {}
    other = api.evaluate("ststnet", REPLICA, **QUICK, select="oracle", runs=tmp_path)
    with pytest.raises(BadInput, match="one number of epochs"):
        pictures.epoch_pictures([*runs, *other])


def test_table_3_runs_every_method_and_names_what_it_leaves_out(place, replica, tmp_path, capsys, monkeypatch):
    kind = methods.kind_of("flow-svm")
    monkeypatch.setattr(kind, "needs", frozenset({"frames"}))
    assert run_by_command(place, "table3", "megc2019-flow", "--out", str(tmp_path)) == 0
    captured = capsys.readouterr()
    left_out = {name for name in methods.names() if "frames" in methods.kind_of(name).needs}
    lines = captured.err.splitlines()
    assert len(lines) == len(left_out) > 1
    for name in left_out:
        assert any(line.startswith(f"microexpr: left out: {name}: expected clips that carry frames") for line in lines)
    shown = words(tmp_path / "table3.svg")
    for name in methods.names():
        assert (name in shown) == (name not in left_out)
        assert (re.search(rf"^{name}\b", captured.out, re.MULTILINE) is None) == (name in left_out)


def test_a_chosen_epoch_goes_to_the_methods_that_have_epochs(place, monkeypatch):
    monkeypatch.setattr(methods, "names", lambda: ["majority", "ststnet"])
    made = experiments.run("table3", REPLICA, select="last,oracle", runs=place, **QUICK)
    selected = {}
    for one in made.runs:
        selected.setdefault(one.info["method"], []).append(one.info["select"])
    assert selected["ststnet"] == ["last", "oracle"]
    assert selected["majority"] == ["last"]
    alone = experiments.run("table3", REPLICA, select="inner", runs=place, **QUICK)
    assert {one.info["select"] for one in alone.runs} == {"inner"}
    assert "majority" in alone.skipped


def test_rendered_clips_are_called_rendered(tmp_path):
    clips = dataclasses.replace(REPLICA, name="synthetic", rendered=True)
    made = experiments.run("confusion", clips, runs=tmp_path, out=tmp_path / "made", **QUICK)
    assert "Rendered data" in words(made.written[1])


def test_clips_that_lack_what_is_needed(tmp_path):
    bare = Dataset("bare", tuple(dataclasses.replace(clip, flow=None) for clip in REPLICA.clips))
    for name in ("confusion", "fusion-ablation"):
        with pytest.raises(
            BadInput, match=rf"for mjfn in the experiment {name}, got nothing in bare \(.* lacks flow\)"
        ):
            experiments.run(name, bare, runs=tmp_path / "runs", out=tmp_path / "out", **QUICK)
    assert not list(tmp_path.iterdir())
    made = experiments.run("table3", bare, runs=tmp_path, **QUICK)
    assert [run.info["method"] for run in made.runs] == ["majority", "prior"]
    assert list(made.skipped) == [name for name in methods.names() if name not in ("majority", "prior")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tabel3", "synthetic"], "no experiment is called 'tabel3'; did you mean 'table3'"),
        (["leek"], "did you mean 'leak'"),
        (["leak"], "expected a data set after leak"),
        (["leak", "synthetik"], "did you mean 'synthetic'"),
        (["leak", "megc2019-flow", "--root", "/no/such/folder"], "not a folder"),
        (["leak", "synthetic", "--select", "oracle"], "'oracle' without last"),
        (["leak", "synthetic", "--select", "last"], "'last' without oracle"),
        (["table3", "synthetic", "--select", "oracle,inner"], "never stands alone"),
        (["table3", "synthetic", "--select", "best"], "'best'"),
        (["table3", "synthetic", "--set", "dropot=0.1"], "no setting"),
        (["confusion", "synthetic", "--set", "dropot=0.1"], "did you mean 'dropout'"),
        (["jfm-ablation", "synthetic", "--set", "taps=(4,)"], "taps; leave --set taps out"),
        (["confusion", "synthetic", "--epochs", "0"], "epochs"),
        (["confusion", "synthetic", "--protocol", "los"], "did you mean 'loso'"),
        (["confusion", "synthetic", "--out", "/dev/null/x"], "can be written"),
    ],
)
def test_a_wrong_input_gets_one_line_and_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MICROEXPR_MEGC2019_FLOW", raising=False)
    assert message in refused(capsys, *arguments)
    assert not list(tmp_path.iterdir())


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["experiment", "--help"])
    assert re.search(r"example:\s+microexpr\s+experiment", capsys.readouterr().out)


def test_unknown_names_in_python():
    with pytest.raises(UnknownName, match="leak"):
        microexpr.experiment("leaks", REPLICA)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_lead_somewhere_and_their_commands_are_understood(page, capsys):
    test_docs.test_links_lead_somewhere(page)
    for line in test_docs.command_lines(page):
        assert test_docs.understood(line), capsys.readouterr().err


def test_the_example_of_the_page_runs(tmp_path, monkeypatch, capsys):
    test_docs.run_blocks(test_docs.DOCS / "experiments" / "index.md", tmp_path, monkeypatch)
    assert "confusion-mjfn.svg" in capsys.readouterr().out
