"""`microexpr check`: healthy and damaged copies, in words, as JSON and as an exit status."""

import dataclasses
import json
import shutil

import pytest

from microexpr.cli import main
from microexpr.datasets import doctor
from microexpr.errors import BadInput
from tests.fake import casme2 as fake
from tests.fake import megc2019_flow as maps
from tests.replicas import shared


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return shared(tmp_path_factory, fake.full)


@pytest.fixture
def damaged(tmp_path):
    """Nine clips; one folder gone, one picture broken."""
    root = fake.small(tmp_path / "CASME2")
    rows = fake.small_rows()
    shutil.rmtree(fake.folder_of(root, rows[4]))
    (fake.folder_of(root, rows[0]) / "img100.jpg").write_bytes(b"torn")
    return root


def test_a_healthy_copy(healthy, capsys):
    assert main(["check", "casme2", str(healthy)]) == 0
    out = capsys.readouterr().out
    assert "casme2: tree raw-selected, release 2014" in out
    assert "whole: 0 errors, 1 warning" in out
    assert "more: what is no unit is not read as one (--all shows them)" in out
    assert main(["check", "casme2", "--root", str(healthy), "--all"]) == 0
    assert len(capsys.readouterr().out) > len(out)


def test_a_damaged_copy(damaged, capsys):
    assert main(["check", "casme2", str(damaged), "--pictures", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["healthy"]
    assert found["counts"]["clips"] == {"published": 255, "found": 8}
    assert found["pictures_opened"] == 8 * 9
    errors = [finding for finding in found["findings"] if finding["level"] == "error"]
    assert [error["where"] for error in errors] == [fake.small_rows()[4].key, fake.small_rows()[0].key]
    assert "img100.jpg can't be decoded" in errors[1]["what"]
    assert main(["check", "casme2", str(damaged)]) == 1  # without opening pictures: one error less
    assert "not whole: 1 error, 0 warnings" in capsys.readouterr().out


def test_sets_without_a_survey(tmp_path, capsys):
    root = maps.by_list(tmp_path / "maps")
    assert main(["check", "megc2019-flow", str(root)]) == 0
    next(root.glob("*/*.png")).unlink()
    assert main(["check", "megc2019-flow", str(root)]) == 1
    assert "1 without a file" in capsys.readouterr().out.replace("\n", " ")


def test_a_folder_without_its_table(healthy, capsys):
    assert main(["check", "casme2", str(healthy / "CASME2_RAW_selected"), "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["what"].endswith(f"give {healthy}")


def test_wrong_calls(healthy, tmp_path, capsys):
    for arguments, told in (
        (["check", "casme2", str(tmp_path / "none")], "is not a folder"),
        (["check", "casme2", str(healthy), "--root", "x"], "ROOT and --root"),
        (["check", "casmes", str(healthy)], "did you mean"),
        (["check", "casme2", str(healthy), "--data", "tree"], "--data FIELD=VALUE"),
        (["check", "casme2", str(healthy), "--data", "tree=x"], "tree of casme2"),
        (["check", "casme2", str(healthy), "--official", "list.csv"], "official list"),
        (["check", "megc2019-flow", str(healthy), "--data", "tree=x"], "no settings for megc2019-flow"),
    ):
        assert main(arguments) == 2, arguments
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1


def test_pictures_of_one_recording_are_opened_once(healthy):
    clip = doctor.datasets.load("casme2", healthy).clips[0]
    first = dataclasses.replace(clip, offset=clip.onset + 3)
    second = dataclasses.replace(clip, onset=clip.onset + 2, offset=clip.onset + 5)
    opened, found = doctor.open_all([first, second], None)
    assert opened == 6  # what lies between clips is not looked at
    assert len(found) == 2  # empty files


def test_the_doctor_wants_a_list_of_its_own(healthy):
    with pytest.raises(BadInput, match=r"official list \(3db\)"):
        doctor.check("casme2", healthy, official="x.csv")
