"""CAS(ME)^2: three trees, micro- and macro-expressions, a table without a header, and its oddities."""

import shutil
from dataclasses import replace

import numpy as np
import openpyxl
import pytest

from microexpr import datasets
from microexpr.datasets import _recordings, casme_sq, doctor
from microexpr.errors import BadInput
from microexpr.evaluation import protocols
from tests.fake import casme_sq as fake
from tests.fake import pictures
from tests.replicas import shared

ROW = fake.FakeRow(1, "disgust1_1", 96, 100, 104, "4+7", "negative", "micro")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return shared(tmp_path_factory, fake.full)


@pytest.fixture(scope="module")
def found(root):
    return casme_sq.survey(root, kind="all")


def few(root, rows, tree="rawpic", numbers=range(1, 140)):
    """A copy of a few rows."""
    fake.table(root, rows)
    source = pictures.empty(root)
    for folder in {fake.folder_of(root, row, tree) for row in rows}:
        pictures.linked(folder, (f"img{number:03d}.jpg" for number in numbers), source)
    return root


def noted(survey, what, level="note"):
    """The one finding that says something."""
    fitting = [finding for finding in survey.of_level(level) if what in finding.what]
    assert len(fitting) == 1, [str(finding) for finding in survey.findings]
    return fitting[0]


@pytest.mark.parametrize(("kind", "clips"), [("micro", 57), ("macro", 300), ("all", 357)])
def test_counts_are_the_published_ones(root, kind, clips):
    checked = doctor.check("casme-sq", root, kind=kind)
    assert checked.healthy
    assert checked.counts["clips"] == (clips, clips)
    assert checked.counts["subjects"][1] == 22
    assert checked.chosen == {"kind": kind, "tree": "rawpic", "release": "final"}


def test_micro_expressions_are_the_usual_kind(root):
    clips = casme_sq.read(root)
    assert {clip.kind for clip in clips} == {"micro"}
    assert np.bincount(protocols.label(clips, protocols.megc()).labels).tolist() == [21, 8, 9]


def test_a_clip_is_as_its_row(found):
    row = fake.full_rows()[1]
    clip = found.clips[1]
    assert (clip.key, clip.subject, clip.dataset) == (row.key, f"casme-sq/s{row.folder}", "casme-sq")
    assert (clip.onset, clip.apex, clip.offset, clip.fps) == (row.onset, row.apex, row.offset, 30.0)
    assert clip.action_units == ("12",)
    assert clip.kind == row.kind
    assert clip.emotion == row.emotion


def test_subjects_and_videos_are_joined_over_the_two_sheets(found):
    for row, clip in zip(fake.full_rows(), found.clips, strict=True):
        assert clip.key == row.key
        assert clip.frames.folder.name == f"{row.folder}_{row.code}{fake.WORDS[row.code]}"


def test_codes_that_a_program_saved_as_numbers_are_padded(tmp_path):
    few(tmp_path, [ROW])
    book = openpyxl.load_workbook(tmp_path / fake.TABLE)
    book["naming rule2"]["A1"] = 101
    book.save(tmp_path / fake.TABLE)
    assert len(casme_sq.read(tmp_path)) == 1


def test_one_video_lies_with_another_subject(found):
    clips = [clip for clip in found.clips if clip.frames.folder.name == "23_0502funnyerrors"]
    assert clips
    assert {clip.subject for clip in clips} == {"casme-sq/s23"}
    assert {clip.frames.folder.parent.name for clip in clips} == {"s19"}
    assert noted(found, "by its name a video of s23").done == "it is read as a video of s23"


def test_the_video_where_it_should_be_counts_more(tmp_path):
    row = next(row for row in fake.full_rows() if row.key.startswith("casme-sq/s23/happy1"))
    few(tmp_path, [replace(row, kind="micro")])
    shutil.copytree(tmp_path / "rawpic" / "s19", tmp_path / "rawpic" / "s23")
    survey = casme_sq.survey(tmp_path)
    assert survey.clips[0].frames.folder.parent.name == "s23"
    assert "s23 has this video, too" in noted(survey, "by its name").done


def test_an_offset_of_zero_means_that_the_apex_is_the_end(found):
    odd = [at for at, row in enumerate(fake.full_rows()) if row.offset == 0]
    assert len(odd) == 44
    assert all(found.clips[at].offset == found.clips[at].apex == fake.full_rows()[at].apex for at in odd)
    assert "44 rows" in noted(found, "offset 0").what


def test_an_apex_of_zero_is_not_annotated(found):
    odd = [at for at, row in enumerate(fake.full_rows()) if row.apex == 0]
    assert [at for at, clip in enumerate(found.clips) if clip.apex is None] == odd
    assert len(odd) == 1
    assert "1 row" in noted(found, "apex 0").what


def test_neither_offset_nor_apex_or_no_onset(tmp_path):
    odd = replace(ROW, name="disgust1_2", apex=0, offset=0)
    survey = casme_sq.survey(few(tmp_path, [ROW, odd, replace(ROW, name="disgust1_3", onset="?")]))
    assert [clip.key for clip in survey.clips] == [ROW.key]
    assert noted(survey, "no offset and no apex", "error").where == odd.key
    assert noted(survey, "no onset", "error")


def test_the_videos_of_a_table_are_listed_once_and_no_picture_is_opened(root, monkeypatch):
    listed = []
    real = _recordings.frames_in
    monkeypatch.setattr(_recordings, "frames_in", lambda folder, *rest: listed.append(folder) or real(folder, *rest))
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("a picture was opened"))
    clips = casme_sq.read(root, kind="all")
    assert len(clips) == 357
    assert len(listed) == len(set(listed)) == 88
    assert len({id(clip.frames) for clip in clips}) == 88


def test_numbers_wider_than_three_digits(tmp_path):
    row = replace(ROW, onset=998, apex=1001, offset=1004)
    clip = casme_sq.read(few(tmp_path, [row], numbers=range(990, 1010)))[0]
    assert [clip.frames.file(number).name for number in (999, 1000)] == ["img999.jpg", "img1000.jpg"]
    assert len(clip.frames) == 20


@pytest.mark.parametrize("tree", ["selectedpic", "cropped"])
def test_the_trees_of_clips_give_the_same_clips(found, tmp_path, tree):
    fake.full(tmp_path, tree)
    clips = casme_sq.read(tmp_path, kind="all")
    assert clips == found.clips
    assert {clip.frames.shows for clip in clips} == {"crop" if tree == "cropped" else "frame"}
    assert all(len(clip.frames) < 30 for clip in clips)  # img2977.jpg.jpg, as some are called, among them


def test_a_tree_can_be_named(tmp_path):
    few(tmp_path, [ROW])
    few(tmp_path, [ROW], "selectedpic", range(96, 105))
    assert len(casme_sq.read(tmp_path)[0].frames) == 139
    assert len(casme_sq.read(tmp_path, tree="selectedpic")[0].frames) == 9
    with pytest.raises(BadInput, match="cropped"):
        casme_sq.read(tmp_path, tree="cropped")


@pytest.mark.parametrize("page", ["CASFEcode_final", "CASMEcode_final"])
def test_the_sheet_has_no_header_and_one_of_two_names(tmp_path, page):
    few(tmp_path, [ROW])
    fake.table(tmp_path, [ROW], page=page)
    survey = casme_sq.survey(tmp_path)
    assert len(survey.clips) == 1
    assert noted(survey, "no header")


def test_another_sheet_is_told(tmp_path):
    few(tmp_path, [ROW])
    fake.table(tmp_path, [ROW], page="Sheet1")
    with pytest.raises(BadInput, match=r"a sheet CASFEcode_final or CASMEcode_final in .*got Sheet1"):
        casme_sq.read(tmp_path)


def test_odd_rows_are_told(tmp_path):
    others = (replace(ROW, name=f"disgust1_{number}") for number in (2, 3, 4, 5))
    few(tmp_path, [ROW, ROW, *others])
    book = openpyxl.load_workbook(tmp_path / fake.TABLE)
    book["CASFEcode_final"]["A4"] = 99
    book["CASFEcode_final"]["B5"] = "fear9_1"
    book["CASFEcode_final"]["H6"] = "expression"
    book["CASFEcode_final"].append(("a word of thanks",))
    book.save(tmp_path / fake.TABLE)
    survey = casme_sq.survey(tmp_path)
    assert [clip.key for clip in survey.clips] == [ROW.key, "casme-sq/s15/disgust1_2"]
    assert noted(survey, f"{ROW.name} of subject 1 for the second time", "warning").where.endswith("row 2")
    assert noted(survey, "no subject 99 in naming rule1", "error").where.endswith("row 4")
    assert noted(survey, "no video fear9_1 in naming rule2", "error").where.endswith("row 5")
    left_out = [finding.where[-1] for finding in survey.findings if "without subject, name or kind" in finding.what]
    assert left_out == ["6", "7"]


def test_a_name_for_the_second_time_gets_its_onset(tmp_path):
    few(tmp_path, [ROW, replace(ROW, onset=97)])
    assert [clip.key for clip in casme_sq.read(tmp_path)] == [ROW.key, f"{ROW.key}/97"]


def test_words_among_action_units_and_folders_of_no_video_are_told(tmp_path):
    few(tmp_path, [replace(ROW, units="4+smile")])
    (tmp_path / "rawpic" / "s15" / "notes").mkdir()
    survey = casme_sq.survey(tmp_path)
    assert survey.clips[0].action_units == ("4",)
    assert noted(survey, "'smile'")
    assert noted(survey, "no folder of a video")


def test_keys_do_not_depend_on_the_kind(tmp_path):
    twins = [replace(ROW, kind="macro", onset=90), ROW]
    few(tmp_path, twins)
    assert [clip.key for clip in casme_sq.read(tmp_path, kind="all")] == [ROW.key, f"{ROW.key}/96"]
    assert [clip.key for clip in casme_sq.read(tmp_path)] == [f"{ROW.key}/96"]


def test_a_missing_video_stops_or_is_skipped(tmp_path):
    few(tmp_path, [ROW, replace(ROW, subject=2)])
    shutil.rmtree(tmp_path / "rawpic" / "s16")
    with pytest.raises(BadInput, match="no pictures of s16, disgust1_1"):
        casme_sq.read(tmp_path)
    with pytest.warns(UserWarning, match="left out"):
        assert len(casme_sq.read(tmp_path, damaged="skip")) == 1


def test_two_releases_have_to_be_told_apart(tmp_path):
    few(tmp_path, [ROW])
    fake.table(tmp_path, [replace(ROW, emotion="others")], fake.LATER)
    with pytest.raises(BadInput, match="release=final or release=updated"):
        casme_sq.read(tmp_path)
    assert casme_sq.read(tmp_path, release="updated")[0].emotion == "others"
    assert casme_sq.read(tmp_path, release="final")[0].emotion == "negative"


def test_no_table(tmp_path):
    (few(tmp_path, [ROW]) / fake.TABLE).unlink()
    with pytest.raises(BadInput, match=r"the table cas\(me\)\^2code_final.xlsx"):
        casme_sq.read(tmp_path)


def test_rendered_clips_show_their_movement(tmp_path):
    fake.small(tmp_path, subjects=1)
    data = datasets.load("casme-sq", tmp_path)
    assert protocols.label(data.clips, protocols.megc()).labels.tolist() == [1, 0, 2]
    assert data.clips[1].frames is data.clips[2].frames
    for clip in data.clips:
        onset, apex = (clip.frames.read(number).astype(int) for number in (clip.onset, clip.apex))
        assert np.abs(apex - onset).max() > 20
