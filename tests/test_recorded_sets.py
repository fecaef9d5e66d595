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


def test_a_part_of_the_composite_set(roots, tmp_path, capsys):
    assert evaluate(roots, "flow-svm", tmp_path, "--part", "casme2") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["part"] == "casme2"


def test_leaving_one_data_set_out(prepared, tmp_path):
    (run,) = api.evaluate("flow-svm", prepared, protocol="leave-one-dataset-out", jobs=1, runs=tmp_path)
    assert sorted(run.info["folds"]) == ["casme2", "samm", "smic"]


def test_a_root_without_its_member_is_told(roots, tmp_path, capsys):
    assert main(["evaluate", "flow-svm", "3db", "--root", str(roots["smic"]), "--runs", str(tmp_path)]) == 2
    assert "--root MEMBER=DIR" in capsys.readouterr().err
