"""MMEW: 300 micro-expressions by their table, 900 stills by their folders, every oddity."""

import shutil
from dataclasses import replace

import pytest

from microexpr.datasets import doctor, mmew
from microexpr.errors import BadInput
from tests.fake import mmew as fake
from tests.fake import pictures
from tests.replicas import shared


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    return shared(tmp_path_factory, fake.full, folder="MMEW_Final")


@pytest.fixture(scope="module")
def found(replica):
    return mmew.survey(replica)


@pytest.fixture
def small(tmp_path):
    """Three clips of empty pictures, and their table."""
    return written(tmp_path, fake.small_rows(1))


def written(root, rows):
    fake.table(root, rows)
    source = pictures.empty(root)
    for row in rows:
        pictures.linked(fake.folder_of(root, row), fake.names_of(row), source)
    return root


def levels(survey, level):
    return [str(finding) for finding in survey.of_level(level)]


def test_300_clips_of_30_subjects(replica):
    found = doctor.check("mmew", replica)
    assert found.healthy
    assert found.counts["clips"] == (300, 300)
    assert found.counts["subjects"] == (30, 30)
    assert found.chosen == {"kind": "micro", "release": "v1"}


def test_indexing_opens_no_picture(found):
    clip = found.clips[0]  # every picture is empty: opening one would fail
    with pytest.raises(BadInput, match="can't be decoded"):
        clip.frames.read(clip.onset)


def test_clips_are_as_annotated_and_numbered_within_themselves(found):
    rows = {row.key: row for at, row in enumerate(fake.full_rows()) if at not in fake.UNUSABLE}
    clips = {clip.key: clip for clip in found.clips}
    for key, row in rows.items():
        clip = clips[key]
        assert (clip.onset, clip.apex, clip.offset) == (1, row.apex, row.offset)
        assert (clip.emotion, clip.fps, clip.kind) == (row.emotion, 90, "micro")
        assert clip.subject == f"mmew/S{row.subject:02d}"
        assert clip.frames.numbers == tuple(range(1, row.files + 1))
        assert clip.frames.shows == "crop"
        assert clip.action_units == (() if row.units is None else tuple(str(row.units).split("+")))


def test_rows_without_an_apex_or_an_offset_keep_their_clip(found):
    rows = fake.full_rows()
    clips = {clip.key: clip for clip in found.clips}
    for number, at in enumerate(fake.UNUSABLE):
        clip = clips[rows[at].key]
        assert (clip.onset, clip.offset) == (1, rows[at].files)
        assert clip.apex == (rows[at].apex if number % 4 == 2 else None)


def test_what_was_done_with_them_is_told(found):
    rows = fake.full_rows()
    told = [*levels(found, "note"), *levels(found, "warning")]
    for at in fake.UNUSABLE:
        assert any(line.startswith(f"{rows[at].key}: ") for line in told)
    assert levels(found, "error") == []
    assert "apex '/'; taken as not annotated" in " ".join(told)
    assert "annotated 1 to 1; the last file, 9, is taken as the offset" in " ".join(told)
    assert "S01-01-099" in " ".join(told)


def test_folders_of_subjects_and_repression_are_read_to_the_same_clips(replica, tmp_path):
    found = mmew.survey(fake.full(tmp_path, by_subject=True))
    assert found.clips == mmew.read(replica)
    assert any("42 clips that the table calls others lie in folders called repression" in line for line in
               levels(found, "note"))  # fmt: skip


def test_a_folder_that_contradicts_the_table_is_told(small):
    row = fake.small_rows(1)[0]
    other = small / "Micro_Expression" / "fear"
    other.mkdir()
    shutil.move(fake.folder_of(small, row), other)
    found = mmew.survey(small)
    assert found.clips[0].emotion == "happiness"
    told = f"{row.key}: happiness in the table, its folder is fear; the table's label is used"
    assert levels(found, "warning") == [told]


def test_a_subject_that_contradicts_the_name_is_told(tmp_path):
    row = fake.small_rows(1)[0]
    written(tmp_path, [row])
    fake.table(tmp_path, [replace(row, subject=7)])
    found = mmew.survey(tmp_path)
    assert found.clips[0].subject == "mmew/S01"
    told = f"{row.key}: subject 7 in the table; the subject in the clip's name is used"
    assert levels(found, "warning") == [told]


def test_numbers_of_the_recording_are_moved_onto_the_clip(tmp_path):
    row = replace(fake.small_rows(1)[0], onset=801, apex=805, offset=809)
    found = mmew.survey(written(tmp_path, [row]))
    assert (found.clips[0].onset, found.clips[0].apex, found.clips[0].offset) == (1, 5, 9)
    (told,) = levels(found, "warning")
    assert told == f"{row.key}: annotated 801 to 809, files 1 to 9; as long as the files are: moved to 1 to 9"


def test_stills_are_an_apex_and_nothing_else(replica):
    found = mmew.survey(replica, kind="macro")
    assert dict(found.published) == {"clips": 900}
    assert len(found.clips) == 900
    assert len({clip.subject for clip in found.clips}) == 30
    clip = next(clip for clip in found.clips if clip.key == "mmew/S03/macro_S03-02-004")
    assert (clip.onset, clip.apex, clip.offset) == (None, 4, None)
    assert (clip.emotion, clip.kind, clip.subject) == ("surprise", "macro", "mmew/S03")
    assert clip.frames.file(4).name == "S03-02-004.jpg"


def test_folders_of_frames_are_macro_expressions_with_onset_and_offset(tmp_path):
    folder = tmp_path / "Macro_Expression" / "S02" / "anger"
    pictures.linked(folder / "S02-03-001", [f"{number}.jpg" for number in range(3, 13)], pictures.empty(tmp_path))
    (folder / "S02-03-002").mkdir()
    found = mmew.survey(tmp_path, kind="macro")
    (clip,) = found.clips
    assert (clip.key, clip.emotion, clip.kind) == ("mmew/S02/macro_S02-03-001", "anger", "macro")
    assert (clip.onset, clip.apex, clip.offset) == (3, None, 12)
    (told,) = levels(found, "error")
    assert told.startswith("mmew/S02/macro_S02-03-002: no pictures in ")


def test_both_kinds_have_keys_of_their_own(replica):
    clips = mmew.read(replica, kind="all")
    assert len({clip.key for clip in clips}) == len(clips) == 1200
    assert [clip.kind for clip in clips] == ["micro"] * 300 + ["macro"] * 900


def test_a_kind_that_is_not_there_is_told(small):
    with pytest.raises(BadInput, match="Micro_Expression only; name what is there: kind=micro"):
        mmew.read(small, kind="macro")


def test_a_missing_clip_a_repeated_row_and_a_row_without_name(small):
    rows = fake.small_rows(1)
    shutil.rmtree(fake.folder_of(small, rows[1]))
    fake.table(small, [*rows, rows[0], replace(rows[0], name="")])
    with pytest.raises(BadInput, match=rf"{rows[1].key}: no folder of this name.*damaged=skip"):
        mmew.read(small)
    with pytest.warns(UserWarning, match=rows[1].key):
        assert len(mmew.read(small, damaged="skip")) == 2
    told = " ".join(levels(mmew.survey(small), "warning"))
    assert "for the second time" in told
    assert "row without subject or file name" in told


def test_an_empty_folder_and_two_files_of_one_number_cost_their_clips_only(small):
    rows = fake.small_rows(1)
    for name in fake.names_of(rows[0]):
        (fake.folder_of(small, rows[0]) / name).unlink()
    (fake.folder_of(small, rows[1]) / "01.jpg").touch()
    found = mmew.survey(small)
    assert [clip.key for clip in found.clips] == [rows[2].key]
    first, second = levels(found, "error")
    assert first.startswith(f"{rows[0].key}: no pictures in ")
    assert "one picture for each frame number" in second


def test_a_gap_within_a_clip_is_told(small):
    row = fake.small_rows(1)[0]
    (fake.folder_of(small, row) / "4.jpg").unlink()
    found = mmew.survey(small)
    assert found.clips[0].frames.file(4).name == "3.jpg"
    assert any(line.startswith(f"{row.key}: 1 frame without a file") for line in levels(found, "warning"))


def test_the_folder_above_serves_as_well(replica):
    assert len(mmew.read(replica.parent)) == 300


def test_two_releases_must_be_told_apart(small):
    fake.table(small, fake.small_rows(1), "MMEW_Micro_Exp_v2.xlsx")
    with pytest.raises(BadInput, match="say which: release=v1 or release=v2"):
        mmew.read(small)
    assert mmew.survey(small, release="v2").chosen["release"] == "v2"


def test_a_missing_table_is_told_where_it_is_needed(replica, small):
    (small / fake.TABLE).unlink()
    with pytest.raises(BadInput, match=r"the table mmew_micro_exp\.xlsx"):
        mmew.read(small)
    pictures.linked(small / "Macro_Expression" / "S01" / "fear", ["S01-05-001.jpg"], small / ".empty")
    assert len(mmew.read(small, kind="macro")) == 1


def test_settings_are_checked(small):
    with pytest.raises(BadInput, match="kind of mmew to be one of micro, macro, all"):
        mmew.read(small, kind="tiny")


def test_rendered_crops_are_read(tmp_path):
    clip = mmew.read(fake.small(tmp_path, subjects=1))[0]
    onset, apex = (clip.frames.read(number) for number in (clip.onset, clip.apex))
    assert onset.shape == apex.shape
    assert onset.shape[2] == 3
    assert (onset != apex).any()
