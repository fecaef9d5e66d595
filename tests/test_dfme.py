"""DFME: three workbooks with the published counts, frame rates by row, frames from 0 on."""

import shutil
from dataclasses import replace

import openpyxl
import pytest

from microexpr.datasets import dfme, doctor
from microexpr.errors import BadInput
from tests.fake import dfme as fake
from tests.fake import pictures
from tests.replicas import shared


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    return shared(tmp_path_factory, fake.full)


@pytest.fixture(scope="module")
def everything(replica):
    return dfme.survey(replica, split="all")


@pytest.fixture
def small(tmp_path):
    """Three clips of empty pictures, and their table."""
    return written(tmp_path, fake.small_rows(1))


def written(root, rows, split="train"):
    fake.table(root, rows, split)
    source = pictures.empty(root)
    for row in rows:
        pictures.linked(fake.folder_of(root, row, split), fake.names_of(row), source)
    return root


def change(root, edit):
    file = root / fake.TABLES["train"]
    book = openpyxl.load_workbook(file)
    edit(book.active)
    book.save(file)


def levels(survey, level):
    return [str(finding) for finding in survey.of_level(level)]


def test_the_training_set_is_read_by_default(replica):
    found = doctor.check("dfme", replica)
    assert found.healthy
    assert found.counts["clips"] == (1856, 1856)
    assert found.counts["subjects"] == (176, 176)
    assert found.chosen == {"split": "train"}
    assert found.findings == ()


@pytest.mark.parametrize(("split", "clips", "subjects"), [("testA", 474, 42), ("testB", 299, 41)])
def test_the_test_sets(replica, split, clips, subjects):
    found = doctor.check("dfme", replica, split=split)
    assert found.healthy
    assert found.counts["clips"] == (clips, clips)
    assert found.counts["subjects"] == (subjects, subjects)


def test_all_of_it_in_the_order_of_the_sets(everything):
    assert len(everything.clips) == len({clip.key for clip in everything.clips}) == 2629
    assert len({clip.subject for clip in everything.clips}) == 259
    assert dict(everything.published) == {"clips": 2629, "subjects": 259}
    expected = [row.key for split in dfme.SPLITS for row in fake.full_rows(split)]
    assert [clip.key for clip in everything.clips] == expected


def test_clips_are_as_annotated_with_frames_from_0_and_their_own_rate(everything):
    rows = {row.key: row for split in dfme.SPLITS for row in fake.full_rows(split)}
    for clip in everything.clips:
        row = rows[clip.key]
        assert (clip.onset, clip.apex, clip.offset) == (row.onset, row.apex, row.offset)
        assert (clip.emotion, clip.fps, clip.kind) == (row.emotion, row.rate, "micro")
        assert clip.subject == f"dfme/sub{row.subject:04d}"
        assert clip.frames.numbers == tuple(range(row.onset, row.offset + 1))
        assert clip.action_units == tuple(str(row.units).replace("AU", "").split("+"))
    assert {clip.fps for clip in everything.clips} == {200, 300, 500}
    assert min(clip.onset for clip in everything.clips) == 0


def test_indexing_opens_no_picture(everything):
    clip = everything.clips[0]  # every picture is empty: opening one would fail
    assert clip.frames.names[0] == "00000.png"
    with pytest.raises(BadInput, match="can't be decoded"):
        clip.frames.read(0)


@pytest.mark.parametrize(
    ("cell", "value", "emotion", "told"),
    [
        ("F2", None, "happiness", "no emotion; happiness is used, by its number"),
        ("G2", 0, "happiness", "emotion happiness with the number of anger; happiness is used"),
        ("G2", None, "happiness", None),
        ("F2", " Happiness ", "happiness", None),
    ],
)
def test_the_emotion_against_its_number(small, cell, value, emotion, told):
    change(small, lambda page: page.__setitem__(cell, value))
    found = dfme.survey(small)
    assert found.clips[0].emotion == emotion
    assert levels(found, "warning") == ([f"{fake.small_rows(1)[0].key}: {told}"] if told else [])


def test_no_emotion_at_all_is_told(small):
    change(small, lambda page: (page.__setitem__("F2", None), page.__setitem__("G2", 9)))
    found = dfme.survey(small)
    assert found.clips[0].emotion == ""
    assert levels(found, "warning") == [f"{fake.small_rows(1)[0].key}: no emotion; protocols leave the clip out"]


def test_a_clip_without_a_rate_is_left_out_and_an_unknown_rate_is_told(small):
    rows = fake.small_rows(1)
    change(small, lambda page: (page.__setitem__("H2", "?"), page.__setitem__("H3", "120")))
    found = dfme.survey(small)
    assert [(clip.key, clip.fps) for clip in found.clips] == [(rows[1].key, 120), (rows[2].key, rows[2].rate)]
    assert levels(found, "error") == [f"{rows[0].key}: Fps '?'; the clip is left out"]
    assert levels(found, "warning")[0].startswith(f"{rows[1].key}: 120 frames a second")


def test_names_of_another_kind_take_the_subject_of_the_column(tmp_path):
    row = replace(fake.small_rows(1)[0], name="clip17")
    (clip,) = dfme.read(written(tmp_path, [row]))
    assert clip.key == "dfme/sub0003/clip17"


def test_an_interval_beyond_the_files_is_clamped(small):
    row = fake.small_rows(1)[0]
    (fake.folder_of(small, row) / "00104.png").unlink()
    found = dfme.survey(small)
    assert found.clips[0].offset == 103
    assert levels(found, "warning") == [f"{row.key}: annotated 96 to 104, files 96 to 103; 96 to 103 is used"]


def test_a_missing_clip_a_repeated_row_and_a_folder_of_no_row(small):
    rows = fake.small_rows(1)
    shutil.rmtree(fake.folder_of(small, rows[2]))
    pictures.linked(small / "DFME_train" / "sub0009_01", ["00000.png"], small / ".empty")
    fake.table(small, [*rows, rows[0]])
    with pytest.raises(BadInput, match=rf"{rows[2].key}: no folder of this name.*damaged=skip"):
        dfme.read(small)
    with pytest.warns(UserWarning, match=rows[2].key):
        assert len(dfme.read(small, damaged="skip")) == 2
    found = dfme.survey(small)
    assert "for the second time" in " ".join(levels(found, "warning"))
    assert "sub0009_01: no row of the table" in " ".join(levels(found, "note"))


def test_other_names_of_tables_and_folders(tmp_path):
    written(tmp_path, fake.small_rows(1), "testA")
    (tmp_path / "testA_full_with_AU.xlsx").rename(tmp_path / "DFME_test_A_full_with_AU.xlsx")
    (tmp_path / "DFME_testA").rename(tmp_path / "DFME_test_a")
    assert len(dfme.read(tmp_path, split="testA")) == 3


def test_two_tables_of_a_set_are_refused(small):
    fake.table(small, fake.small_rows(1), name="training.xlsx")
    with pytest.raises(BadInput, match=r"one table of train in .*training\.xlsx, training_full_with_au\.xlsx"):
        dfme.read(small)


def test_a_set_that_is_not_there_is_told(small):
    with pytest.raises(BadInput, match=r"DFME_testB in .*DFME_train only; name what is there: split=train"):
        dfme.read(small, split="testB")
    with pytest.raises(BadInput, match="DFME_testA in"):
        dfme.read(small, split="all")


def test_a_missing_table_is_told(small):
    (small / fake.TABLES["train"]).unlink()
    with pytest.raises(BadInput, match=r"the table training_full_with_AU\.xlsx"):
        dfme.read(small)


def test_settings_are_checked(small):
    with pytest.raises(BadInput, match="split of dfme to be one of train, testA, testB, all"):
        dfme.read(small, split="test")


def test_rendered_frames_are_read(tmp_path):
    clip = dfme.read(fake.small(tmp_path, subjects=1))[0]
    onset, apex = (clip.frames.read(number) for number in (clip.onset, clip.apex))
    assert onset.shape == apex.shape == (480, 640, 3)
    assert (onset != apex).any()
