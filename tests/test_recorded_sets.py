"""From the folders of three recorded sets to figures: faces found and aligned, apexes found, flow, methods, folds."""

import json

import pytest

from microexpr import api
from microexpr.cli import main
from tests.fake import casme2, samm, smic


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Rendered faces under the real names: color JPEG, BMP without apex, gray JPEG."""
    return {
        name: module.small(tmp_path_factory.mktemp(name))
        for name, module in (("casme2", casme2), ("smic", smic), ("samm", samm))
    }


@pytest.fixture(scope="module")
def prepared(roots):
    return api.prepare(api.load("3db", roots))


def evaluate(roots, methods, runs, *options):
    given = [f"--root={name}={root}" for name, root in roots.items()]
    short = ("--protocol", "subject-k-fold", "--folds", "2", "--jobs", "1", "--runs", str(runs), "--json")
    return main(["evaluate", methods, "3db", *given, *short, *options])


def test_mjfn_on_the_composite_set_by_command(roots, tmp_path, capsys):
    assert evaluate(roots, "mjfn", tmp_path, "--epochs", "1") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["dataset"] == "3db"
    info = json.loads(next(tmp_path.glob("*/run.json")).read_text())
    assert info["preparation"]["faces"] == "haar"
    smic_clips = sum(key.startswith("smic/") for fold in info["folds"].values() for key in fold)
    assert info["preparation"]["apexes_found"] == smic_clips > 0  # SMIC annotates none


def test_clips_of_all_members_come_as_aligned_faces(prepared):
    assert {clip.dataset for clip in prepared.clips} == {"casme2", "smic", "samm"}
    for clip in prepared.clips:
        assert clip.onset < clip.apex <= clip.offset
        assert clip.frames.read(clip.apex).shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("lbp-top", {"size": 64}),
        ("mdmo", {"size": 112}),
        ("sparse-mdmo", {"size": 112, "atoms": 4, "words": 8}),
        ("bi-woof", {}),
        ("flow-linear", {"epochs": 30}),
    ],
)
def test_rendered_movements_are_told_apart(prepared, method, settings, tmp_path):
    """Six clips of each class, rendered alike for all members: far above the third that guessing gets."""
    (run,) = api.evaluate(
        method, prepared, settings=settings, protocol="subject-k-fold", folds=2, jobs=1, runs=tmp_path
    )
    assert (run.predicted == run.truth).mean() >= 0.6


def test_a_part_of_the_composite_set_needs_its_own_folder_only(roots, tmp_path, capsys):
    assert evaluate({"casme2": roots["casme2"]}, "flow-svm", tmp_path, "--part", "casme2") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["part"] == "casme2"
    assert evaluate(roots, "flow-svm", tmp_path, "--part", "casme2") == 0
    assert len(list(tmp_path.iterdir())) == 1  # the same run, however many folders are given


def test_faces_none_is_what_is_evaluated(roots, tmp_path, capsys):
    """Every apex is annotated, so that without faces to find there is nothing to prepare."""
    given = ("--root", f"casme2={roots['casme2']}", "--jobs", "1", "--runs", str(tmp_path))
    for faces in ("none", "haar"):
        assert main(["evaluate", "flow-svm", "casme2", *given, "--faces", faces]) == 0
    runs = [json.loads(file.read_text()) for file in tmp_path.glob("*/run.json")]
    assert {run["preparation"]["faces"] for run in runs} == {"none", "haar"}
    capsys.readouterr()
    assert main(["compare", *map(str, tmp_path.iterdir())]) == 2
    told = capsys.readouterr().err
    assert "faces none and haar" in told or "faces haar and none" in told


def test_weights_of_a_recorded_set_recognize_its_clips(roots, tmp_path, capsys):
    """Trained on the frames of one set, asked about a clip of another folder: frames in, a class out."""
    file = tmp_path / "weights.safetensors"
    assert main(["train", "flow-svm", "casme2", "--root", str(roots["casme2"]), "--out", str(file)]) == 0
    assert "Faces were found by haar." in file.with_suffix(".md").read_text()
    capsys.readouterr()
    row = casme2.small_rows()[4]
    folder = str(casme2.folder_of(roots["casme2"], row))
    given = ("--weights", str(file), "--fps", "200", "--onset", "0", "--apex", "4", "--json")
    assert main(["recognize", folder, *given]) == 0
    (event,) = json.loads(capsys.readouterr().out)[0]["events"]
    assert event["emotion"] == {"happiness": "positive", "disgust": "negative"}[row.emotion]


def test_leaving_one_data_set_out(prepared, tmp_path):
    (run,) = api.evaluate("flow-svm", prepared, protocol="leave-one-dataset-out", jobs=1, runs=tmp_path)
    assert sorted(run.info["folds"]) == ["casme2", "samm", "smic"]


def test_a_root_without_its_member_is_told(roots, tmp_path, capsys):
    assert main(["evaluate", "flow-svm", "3db", "--root", str(roots["smic"]), "--runs", str(tmp_path)]) == 2
    assert "--root MEMBER=DIR" in capsys.readouterr().err
