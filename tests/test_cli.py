"""The command line as its contract has it: what goes where, which exit status, one line for a wrong input."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from microexpr import datasets, methods
from microexpr.cli import main
from microexpr.motion.files import read_flo, read_picture, write_picture
from tests.fake import megc2019_flow as fake

COMMANDS = (
    *("demo", "recognize", "spot", "live", "app", "export", "evaluate", "experiment", "compare", "report", "train"),
    *("flow", "bench", "synthesize", "datasets", "check", "methods"),
)


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    return str(fake.by_list(tmp_path_factory.mktemp("maps") / "flat"))


@pytest.fixture(scope="module")
def runs(replica, tmp_path_factory):
    """A folder of two quick runs on one part of the replica."""
    folder = tmp_path_factory.mktemp("runs")
    where = ["megc2019-flow", "--root", replica, "--part", "casme2", "--jobs", "1", "--runs", str(folder), "--json"]
    for method, setting in (("majority", "seed=0"), ("flow-svm", "c=0.01")):
        assert main(["evaluate", method, *where, "--set", setting]) == 0
    return sorted(str(run) for run in folder.iterdir())


def lines(text):
    return [line for line in text.splitlines() if line.strip()]


def refused(capsys, *arguments):
    """The one line of a wrong call."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = lines(captured.err)
    assert line.startswith("microexpr: ")
    return line


def test_help_is_quick_and_loads_nothing_heavy():
    code = "import sys; from microexpr.cli import _parser; _parser().format_help(); print(*sys.modules)"
    start = time.perf_counter()
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert time.perf_counter() - start < 5  # the contract is 0.5 s; a loaded machine may be slower
    assert not {"torch", "numpy", "cv2", "rich", "sklearn"} & set(output.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert re.search(rf"example:\s+microexpr\s+{command}", capsys.readouterr().out)


def test_wrong_usage_exits_2(capsys):
    for arguments in ([], ["evaluat"], ["evaluate", "mjfn"], ["evaluate", "mjfn", "x", "--epochs", "many"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        (line,) = lines(capsys.readouterr().err)
        assert re.fullmatch(r"microexpr: .*; see: microexpr.* --help", line)


def test_methods_and_datasets_list_all_that_is_registered(capsys):
    assert main(["methods", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == methods.names()
    assert main(["datasets", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == datasets.names()
    assert main(["methods"]) == 0
    assert main(["datasets"]) == 0
    printed = capsys.readouterr().out
    for name in (*methods.names(), *datasets.names()):
        assert name in printed


@pytest.mark.parametrize("name", methods.names())
def test_one_method_in_detail(name, capsys):
    assert main(["methods", name, "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["settings"]["classes"] == 3
    assert main(["methods", name]) == 0


def test_layers_and_parameters_of_mjfn(capsys):
    assert main(["methods", "mjfn"]) == 0
    printed = capsys.readouterr().out
    assert "4,010,188" in printed
    assert re.search(r"conv1\s+Conv2d\s+48 x 54 x 54\s+17,472", printed)
    assert main(["methods", "mjfn", "--set", "taps=(4,)", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 1_499_971 + 836_739


@pytest.mark.parametrize("name", datasets.names())
def test_one_data_set_in_detail(name, capsys):
    assert main(["datasets", name]) == 0
    printed = capsys.readouterr().out
    for field in ("licence", "how to get", "expected", "cite"):
        assert field in printed


def test_evaluate_prints_figures_and_goes_on_where_it_stopped(replica, tmp_path, capsys):
    arguments = ["evaluate", "flow-svm", "megc2019-flow", "--root", replica, "--part", "casme2", "--jobs", "1"]
    arguments += ["--set", "c=0.01", "--runs", str(tmp_path)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert re.search(r"UF1\s+UAR\s+accuracy", printed.out)
    assert "truth \\ predicted" in printed.out
    assert "24/24 folds" in printed.out
    assert printed.err == ""
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("megc2019-flow-casme2--flow-svm--loso--")
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*.csv")}
    assert main([*arguments, "--json"]) == 0
    (figures,) = json.loads(capsys.readouterr().out)
    assert 0.5 < figures["rows"][0]["uf1"] <= 1
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.csv")} == before


def test_composite_runs_have_a_row_for_each_database(replica, tmp_path, capsys):
    assert (
        main(["evaluate", "majority", "megc2019-flow", "--root", replica, "--jobs", "1", "--runs", str(tmp_path)]) == 0
    )
    printed = capsys.readouterr().out
    for name in ("CASME II", "SAMM", "SMIC"):
        assert name in printed


def test_seeds_are_runs_of_their_own(replica, tmp_path, capsys):
    arguments = ["evaluate", "prior", "megc2019-flow", "--root", replica, "--part", "samm", "--seeds", "3"]
    assert main([*arguments, "--jobs", "1", "--runs", str(tmp_path)]) == 0
    assert "0-2" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 3


def test_settings_that_some_of_the_named_methods_lack_go_to_those_that_have_them(replica, tmp_path, capsys):
    arguments = ["evaluate", "majority,flow-linear", "megc2019-flow", "--root", replica, "--part", "casme2"]
    assert main([*arguments, "--epochs", "1", "--jobs", "1", "--runs", str(tmp_path), "--json"]) == 0
    majority, linear = json.loads(capsys.readouterr().out)
    assert linear["settings"]["epochs"] == 1
    assert "epochs" not in majority["settings"]
    assert "epochs" in refused(capsys, "evaluate", "majority", "megc2019-flow", "--root", replica, "--epochs", "1")


def test_compare_and_report(runs, tmp_path, capsys):
    assert main(["compare", *runs, "--against", "majority"]) == 0
    printed = capsys.readouterr().out
    assert "majority" in printed
    assert "flow-svm" in printed
    assert main(["compare", *runs, "--json"]) == 0
    assert {row["method"] for row in json.loads(capsys.readouterr().out)} == {"majority", "flow-svm"}
    page = tmp_path / "report.html"
    assert main(["report", *runs, "--out", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert "<svg" in page.read_text(encoding="utf-8")


def test_train_writes_weights_and_a_card(replica, tmp_path, capsys):
    file = tmp_path / "linear.safetensors"
    assert main(["train", "flow-linear", "megc2019-flow", "--root", replica, "--out", str(file), "--epochs", "2"]) == 0
    assert lines(capsys.readouterr().out) == [str(file), str(file.with_suffix(".md"))]
    from microexpr.methods import weights

    method, metadata = weights.load(file)
    assert metadata["record"]["clips"] == 442
    assert method.epochs == 2
    card = file.with_suffix(".md").read_text(encoding="utf-8")
    assert "442 clips of 68 subjects (250 negative, 109 positive, 83 surprise)" in card
    assert "Not for lie detection" in card


def test_flow_of_two_pictures(tmp_path, capsys):
    import cv2

    smooth = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (96, 100)), (0, 0), 4)
    smooth = np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))
    for number, name in enumerate(("onset.png", "apex.png")):
        crop = smooth[10:90, 10 - 2 * number : 90 - 2 * number]  # the picture moves 2 px to the right
        write_picture(tmp_path / name, np.repeat(crop[..., None], 3, 2))
    pair = [str(tmp_path / "onset.png"), str(tmp_path / "apex.png")]
    assert main(["flow", *pair, "--out", str(tmp_path / "flow.flo"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["mean_u_px"] == pytest.approx(2, abs=0.2)
    assert read_flo(tmp_path / "flow.flo").shape == (2, 80, 80)
    assert main(["flow", *pair, "--out", str(tmp_path / "flow.png")]) == 0
    assert read_picture(tmp_path / "flow.png").shape == (80, 80, 3)
    capsys.readouterr()
    assert "none.png" in refused(capsys, "flow", pair[0], str(tmp_path / "none.png"))
    assert ".flo" in refused(capsys, "flow", *pair, "--out", str(tmp_path / "flow.gif"))
    assert "opencv" in refused(capsys, "flow", *pair, "--mode", "opencvv")
    assert "micro" in refused(capsys, "flow", *pair, "--preset", "micr")
    assert main(["flow", *pair, "--mode", "tvl1", "--preset", "general"]) == 0
    assert "80x80, tvl1 general" in capsys.readouterr().out


def test_bench_runs_the_scripts(capsys):
    for what in ("flow", "loso"):
        with pytest.raises(SystemExit) as stopped:
            main(["bench", what, "--help"])
        assert stopped.value.code == 0
        assert "--out" in capsys.readouterr().out


def test_synthesize_and_evaluate_what_was_written(tmp_path, capsys):
    out = tmp_path / "rendered"
    assert main(["synthesize", str(out), "--subjects", "2", "--clips-per-subject", "3", "--fps", "25"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    arguments = ["evaluate", "flow-svm", "synthetic", "--root", str(out), "--set", "c=0.01", "--jobs", "1"]
    assert main([*arguments, "--runs", str(tmp_path / "runs")]) == 0
    assert "no evidence of accuracy on real faces" in capsys.readouterr().out
    assert "holds files" in refused(capsys, "synthesize", str(out))


def test_demo_makes_what_it_says(tmp_path, capsys, monkeypatch):
    from microexpr import demonstration

    small = {"seconds": 1.3, "subjects": 2, "clips_per_subject": 3, "epochs": 1}
    demo = demonstration.demo
    monkeypatch.setattr(demonstration, "demo", lambda out, **settings: demo(out, **{**settings, **small}))
    assert main(["demo", "--out", str(tmp_path / "demo"), "--jobs", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'demo' / 'rendered.mp4'}: 130 frames of 640x480" in printed
    assert re.search(r"1 +micro +0\.\d+", printed)
    assert (tmp_path / "demo" / "recognized" / "annotated.mp4").is_file()
    assert "no evidence of accuracy on real faces" in printed
    page = tmp_path / "demo" / "report.html"
    assert str(page) in printed
    assert "data:image/png;base64" in page.read_text(encoding="utf-8")
    assert len(list((tmp_path / "demo" / "plates").glob("*.png"))) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "mjnf", "megc2019-flow"], "did you mean 'mjfn'"),
        (["evaluate", "mjfn", "megc2019"], "did you mean 'megc2019-flow'"),
        (["evaluate", "mjfn", "megc2019-flow"], "MICROEXPR_MEGC2019_FLOW"),
        (["evaluate", "mjfn", "megc2019-flow", "--root", "/no/such/folder"], "not a folder"),
        (["evaluate", "mjfn", "synthetic", "--set", "dropot=1"], "did you mean 'dropout'"),
        (["evaluate", "mjfn", "synthetic", "--set", "dropout"], "FIELD=VALUE"),
        (["evaluate", "majority, mjfm", "synthetic"], "did you mean 'mjfn'"),
        (["evaluate", " , ", "synthetic"], "a method, several with commas, or all, got ' , '"),
        (["evaluate", "flow-linear", "synthetic", "--set", "classes=5"], "classes=5 for flow-linear"),
        (["evaluate", "mjfn", "synthetic", "--set", "seed=-1"], "seed"),
        (["evaluate", "mjfn", "synthetic", "--set", "learning_rate=1e999"], "learning_rate"),
        (["evaluate", "mjfn", "synthetic", "--protocol", "subject-k-fold", "--folds", "1"], "at least 2 folds"),
        (["train", "flow-linear", "synthetic", "--out", "w.safetensors", "--set", "classes=4"], "classes=4"),
        (["evaluate", "mjfn", "synthetic", "--protocol", "los"], "did you mean 'loso'"),
        (["evaluate", "mjfn", "synthetic", "--select", "best"], "select to be of last, inner, oracle"),
        (["evaluate", "flow-svm", "synthetic", "--select", "oracle"], "a method with epochs to choose from"),
        (
            ["evaluate", "mjfn", "synthetic", "--epochs", "2", "--set", "epochs=3"],
            "--set epochs=..., got both",
        ),
        (["evaluate", "flow-svm", "synthetic", "--stacked"], "train its folds together"),
        (["evaluate", "mjfn", "synthetic", "--engine", "spark"], "an engine: local, ray, dask"),
        (["evaluate", "mjfn", "synthetic", "--seeds", "0"], "at least 1 seed"),
        (["evaluate", "mjfn", "synthetic", "--jobs", "0"], "at least 1 job"),
        (["evaluate", "mjfn", "synthetic", "--device", "cuda:7"], "CUDA"),
        (["train", "mjfn", "synthetic", "--out", "weights.pt"], r"\.safetensors"),
        (["train", "mjfn", "synthetic", "--out", "/no/such/folder/w.safetensors"], "folder that exists"),
        (["compare", "/no/such/run"], r"run\.json"),
        (["methods", "mjfm"], "did you mean 'mjfn'"),
        (["datasets", "casme9"], "no data set is called"),
        (["synthesize", "/dev/null/x"], "write"),
        (["synthesize", "rendered", "--subjects", "0"], "subjects"),
    ],
)
def test_a_wrong_input_gets_one_line_and_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(capsys, *arguments))
    assert not list(tmp_path.iterdir())


def test_empty_and_partial_folders_are_told(tmp_path, capsys):
    assert "an empty folder" in refused(capsys, "evaluate", "mjfn", "megc2019-flow", "--root", str(tmp_path))


def test_an_unwritable_output_is_told(tmp_path, capsys, replica, runs):
    (tmp_path / "file").write_text("")
    blocked = str(tmp_path / "file" / "runs")
    arguments = ["evaluate", "majority", "megc2019-flow", "--root", replica, "--runs", blocked]
    assert "can be written" in refused(capsys, *arguments)
    assert "file" in refused(capsys, "report", *runs, "--out", str(tmp_path / "file" / "report.html"))
    assert main(["demo", "--out", blocked]) == 2
    assert "can be written" in lines(capsys.readouterr().err)[-1]


def test_debug_shows_the_traceback():
    from microexpr.errors import UnknownName

    with pytest.raises(UnknownName):
        main(["methods", "mjfm", "--debug"])


def test_python_verbs_are_public():
    import microexpr

    assert microexpr.load("synthetic", subjects=1, clips_per_subject=1).clips
    assert set(microexpr.__all__) <= set(dir(microexpr))
    with pytest.raises(AttributeError, match="recognise"):
        microexpr.recognise  # noqa: B018


def test_what_a_list_of_methods_needs_is_told_before_any_is_trained(replica, tmp_path, capsys):
    where = ("megc2019-flow", "--root", replica, "--part", "casme2", "--jobs", "1", "--runs", str(tmp_path / "runs"))
    assert "clips that carry frames for capsulenet" in refused(capsys, "evaluate", "majority,capsulenet", *where)
    assert not (tmp_path / "runs").exists()


def test_all_leaves_out_what_can_not_work_on_the_clips_and_says_so(replica, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(methods, "names", lambda: ["capsulenet", "lbp-top", "majority", "prior"])
    where = ["megc2019-flow", "--root", replica, "--part", "casme2", "--jobs", "1", "--runs", str(tmp_path)]
    assert main(["evaluate", "all", *where, "--json"]) == 0
    captured = capsys.readouterr()
    assert [run["method"] for run in json.loads(captured.out)] == ["majority", "prior"]
    told = [line for line in lines(captured.err) if "left out" in line]
    assert [re.search("left out: ([a-z-]+): expected clips that carry", line)[1] for line in told] == [
        "capsulenet",
        "lbp-top",
    ]
    monkeypatch.setattr(methods, "names", lambda: ["capsulenet"])
    assert main(["evaluate", "all", *where]) == 2
