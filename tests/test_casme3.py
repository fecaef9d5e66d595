"""CAS(ME)^3: parts A and C, both trees of part A, and every oddity of its tables."""

import shutil
from dataclasses import replace

import numpy as np
import openpyxl
import pytest

from microexpr import datasets
from microexpr.datasets import _recordings, casme3, doctor
from microexpr.datasets._survey import Interval, Survey
from microexpr.errors import BadInput
from microexpr.evaluation import protocols
from tests.fake import casme3 as fake
from tests.fake import pictures
from tests.replicas import shared


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return shared(tmp_path_factory, fake.full)


@pytest.fixture(scope="module")
def found(root):
    return casme3.survey(root)


def few(root, rows, first=90, last=140):
    """A copy of a few rows; their recordings have the pictures `first` to `last`."""
    fake.table(root, rows)
    source = pictures.empty(root)
    for folder in {fake.folder_of(root, row) for row in rows}:
        pictures.linked(folder, (f"{number}.jpg" for number in range(first, last + 1)), source)
    return root


ROW = fake.FakeRow(1, "a", 96, 100, 104, "4", "I", "disgust", 96, 104)


def noted(survey, what, level="note"):
    """The one finding that says something."""
    fitting = [finding for finding in survey.of_level(level) if what in finding.what]
    assert len(fitting) == 1, [str(finding) for finding in survey.findings if what in finding.what]
    return fitting[0]


def test_counts_of_part_a_are_the_published_ones(root):
    checked = doctor.check("casme3", root)
    assert all(published == counted for published, counted in checked.counts.values())
    assert checked.counts["clips"] == (860, 860)
    assert checked.counts["subjects"] == (94, 94)
    assert checked.counts["others"] == (161, 161)  # three of them written Others
    assert checked.healthy
    assert checked.chosen == {"section": "A", "tree": "recordings", "release": "v2"}


def test_three_classes_leave_699_clips_as_published_work_counts(found):
    labelled = protocols.label(found.clips, protocols.megc())
    assert np.bincount(labelled.labels).tolist() == [457, 55, 187]


def test_a_clip_is_as_its_row(found):
    row = fake.full_rows()[2]
    clip = found.clips[2]
    assert (clip.key, clip.subject, clip.dataset) == (row.key, f"casme3/spNO.{row.subject}", "casme3")
    assert (clip.onset, clip.apex, clip.offset, clip.fps) == (row.onset, row.apex, row.offset, 30.0)
    assert clip.action_units == ("1", "2")
    assert clip.objective_class == 3  # III
    assert clip.kind == "micro"


def test_a_recording_with_several_expressions_gives_a_key_to_each_and_shares_its_pictures(found):
    assert len({clip.key for clip in found.clips}) == 860
    together = [clip for clip in found.clips if clip.key.startswith("casme3/spNO.1/a/")]
    assert len(together) == 2
    assert together[0].frames is together[1].frames
    assert together[0].frames.numbers[0] == 7


def test_each_folder_is_listed_once_and_no_picture_is_opened(root, monkeypatch):
    listed = []
    real = _recordings.frames_in
    monkeypatch.setattr(_recordings, "frames_in", lambda folder, *rest: listed.append(folder) or real(folder, *rest))
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("a picture was opened"))
    clips = casme3.read(root)
    assert len(clips) == 860
    assert len(listed) == len(set(listed)) == 470


def test_numbers_stored_as_text_are_read_and_noted(found):
    assert "860 rows" in noted(found, "numbers stored as text").what


def test_upper_and_lower_case_of_recordings_emotions_and_folders_are_the_same(found):
    assert any(clip.key.startswith("casme3/spNO.") and "/j/" in clip.key for clip in found.clips)
    assert not any("J" in clip.key for clip in found.clips)
    assert "1 row" in noted(found, "is written J").what
    assert "3 rows" in noted(found, "is written Others").what
    assert {clip.emotion for clip in found.clips} == set(casme3.EMOTIONS)
    assert "94 folders" in noted(found, "written spNo").what


def test_folders_spelt_as_in_the_table_need_no_note(tmp_path):
    few(tmp_path, [ROW])
    tree = tmp_path / "part_A" / "data" / "part_A"
    (tree / "spNo.1").rename(tree / "spNO.1")
    (tree / "spNO.1" / "a").rename(tree / "spNO.1" / "A")
    survey = casme3.survey(tmp_path)
    assert [clip.key for clip in survey.clips] == ["casme3/spNO.1/a/96"]
    assert not [finding for finding in survey.findings if "written" in finding.what]


def test_an_offset_of_zero_means_that_the_apex_is_the_end(found):
    row = fake.full_rows()[796]
    clip = next(clip for clip in found.clips if clip.key == row.key)
    assert (clip.apex, clip.offset) == (row.apex, row.apex)
    assert "2 rows" in noted(found, "offset 0").what


def test_an_onset_behind_the_end_is_mended_by_one_digit(found):
    row = fake.full_rows()[749]
    clip = next(clip for clip in found.clips if clip.key == row.key)
    assert row.onset > row.offset
    assert (clip.onset, clip.apex, clip.offset) == (row.first, row.apex, row.offset)
    told = noted(found, "lies behind", "warning")
    assert (f"the onset {row.onset}" in told.what, told.done) == (True, f"{row.first} is used, one digit away")


@pytest.mark.parametrize(
    ("given", "onset"),
    [
        ((3647, 2668, 2694), 2647),  # thousands
        ((193, 120, 130), 113),  # tens; 103 would fit, too, and hundreds 093
        ((97, 90, 94), 87),  # 90 would be the apex
        ((96, 100, 104), 96),  # as it should be
        ((96, 90, 104), 96),  # the apex alone is wrong
        ((99, 5, 8), 99),  # no single digit helps
        ((96, None, 90), 96),
        ((96, 100, 0), 96),
    ],
)
def test_one_digit_away(given, onset):
    survey = Survey()
    mended = casme3._mended(survey, "clip", Interval(*given))
    assert mended == Interval(onset, *given[1:])
    assert len(survey.findings) == (onset != given[0])


def test_an_apex_before_the_onset_or_on_it_counts_as_not_annotated(found):
    before = fake.full_rows()[128]
    assert next(clip for clip in found.clips if clip.key == before.key).apex is None
    assert noted(found, "lies outside", "warning").where == before.key
    on_it = [finding for finding in found.of_level("warning") if "is the onset" in finding.what]
    assert len(on_it) == fake.MOTIONLESS
    assert sum(clip.apex is None for clip in found.clips) == fake.MOTIONLESS + 1


def test_missing_pictures_are_counted_and_the_one_before_is_shown(found):
    row = fake.full_rows()[1]
    clip = next(clip for clip in found.clips if clip.key == row.key)
    assert clip.frames.file(row.onset + 1).name == f"{row.onset}.jpg"
    assert "1 row" in noted(found, "pictures are missing within").what


def test_a_clip_none_of_whose_pictures_are_there_is_an_error(tmp_path):
    few(tmp_path, [ROW, replace(ROW, onset=120, apex=124, offset=128)])
    for number in range(119, 130):
        (fake.folder_of(tmp_path, ROW) / f"{number}.jpg").unlink()
    survey = casme3.survey(tmp_path)
    assert noted(survey, "0 of the 9 pictures", "error").where == "casme3/spNO.1/a/120"
    with pytest.raises(BadInput, match="0 of the 9 pictures"):
        casme3.read(tmp_path)
    with pytest.warns(UserWarning, match="left out"):
        assert len(casme3.read(tmp_path, damaged="skip")) == 1


def test_a_missing_recording_is_an_error(tmp_path):
    few(tmp_path, [ROW, replace(ROW, subject=2)])
    shutil.rmtree(fake.folder_of(tmp_path, replace(ROW, subject=2)).parent)
    assert noted(casme3.survey(tmp_path), "no pictures of spNO.2, recording a", "error")


def test_an_interval_behind_the_last_picture_is_moved_there(tmp_path):
    survey = casme3.survey(few(tmp_path, [ROW], last=102))
    assert survey.clips[0].offset == 102
    assert noted(survey, "files 90 to 102", "warning")


def test_long_expressions_are_kept_and_counted(tmp_path):
    rows = [replace(ROW, offset=156), replace(ROW, onset=97, offset=156)]  # 61 and 60 frames
    survey = casme3.survey(few(tmp_path, rows, last=200))
    assert [clip.offset for clip in survey.clips] == [156, 156]
    assert "1 row, casme3/spNO.1/a/96" in noted(survey, "longer than 60 frames").what


def test_odd_cells_are_told(tmp_path):
    rows = [ROW, ROW, replace(ROW, onset=97, objective="VIII", units="4+smile"), replace(ROW, recording="")]
    survey = casme3.survey(few(tmp_path, rows))
    assert [clip.key for clip in survey.clips] == ["casme3/spNO.1/a/96", "casme3/spNO.1/a/97"]
    assert survey.clips[1].objective_class is None
    assert survey.clips[1].action_units == ("4",)
    assert noted(survey, "for the second time", "warning")
    assert noted(survey, "without subject, recording or onset", "warning")
    assert noted(survey, "'VIII'")
    assert noted(survey, "'smile'")


def test_depth_and_recordings_without_an_expression_are_not_read(found):
    assert noted(found, "depth pictures")
    assert "1 of 471 recordings without a micro-expression" in noted(found, "without a micro").what
    assert all(name.endswith(".jpg") for clip in found.clips for name in clip.frames.names)


def test_the_tree_of_clips_gives_the_same_clips(found, tmp_path):
    clips = casme3.read(fake.full(tmp_path, "clips"))
    assert clips == found.clips
    assert all(len(clip.frames) < 12 for clip in clips)
    assert casme3.survey(tmp_path).chosen["tree"] == "clips"


def test_both_trees_are_there_and_one_is_chosen(tmp_path):
    few(tmp_path, [ROW])
    source = pictures.empty(tmp_path / "other")
    pictures.linked(fake.folder_of(tmp_path, ROW, "clips"), [f"{number}.jpg" for number in range(96, 105)], source)
    assert len(casme3.read(tmp_path)[0].frames) == 51
    assert len(casme3.read(tmp_path, tree="clips")[0].frames) == 9


def test_the_later_release_counts_unless_the_earlier_is_named(tmp_path):
    few(tmp_path, [ROW])
    fake.table(tmp_path, [replace(ROW, emotion="fear")], fake.EARLIER)
    assert casme3.read(tmp_path)[0].emotion == "disgust"
    assert casme3.read(tmp_path, release="v1")[0].emotion == "fear"
    assert casme3.survey(tmp_path, release="v1").published == {"clips": 921}


def test_the_earlier_release_as_distributed_has_to_be_saved_anew(tmp_path):
    file = fake.table(few(tmp_path, [ROW]), [ROW])
    file.with_name(fake.EARLIER.replace(".xlsx", ".xls")).write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(BadInput, match=r"v1\.xls; open it in a spreadsheet program and save it as \.xlsx"):
        casme3.read(tmp_path, release="v1")


@pytest.mark.parametrize("place", ["", "annotation", "part_A/annotation"])
def test_the_table_may_lie_where_copies_keep_it(tmp_path, place):
    file = fake.table(few(tmp_path, [ROW]), [ROW])
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    file.rename(tmp_path / place / file.name)
    assert len(casme3.read(tmp_path)) == 1


def test_no_table(tmp_path):
    fake.table(few(tmp_path, [ROW]), [ROW]).unlink()
    with pytest.raises(BadInput, match=r"the table cas\(me\)3_part_a_me_label_jpgindex_v2.xlsx"):
        casme3.read(tmp_path)


def test_a_formula_that_was_never_computed(tmp_path):
    file = fake.table(few(tmp_path, [ROW]), [ROW])
    book = openpyxl.load_workbook(file)
    book["label"]["D2"] = "=C2+4"
    book.save(file)
    with pytest.raises(BadInput, match="row 2, column Apex: a formula that was never computed"):
        casme3.read(tmp_path)


@pytest.fixture(scope="module")
def part_c(tmp_path_factory):
    return shared(tmp_path_factory, fake.full_c)


def test_counts_of_part_c_are_the_published_ones(part_c):
    checked = doctor.check("casme3", part_c, section="C")
    assert checked.healthy
    assert checked.counts["clips"] == (165, 165)
    assert checked.counts["subjects"] == (30, 30)


def test_part_c_gives_onset_and_offset_and_comma_separated_units(part_c):
    survey = casme3.survey(part_c, section="C")
    rows = fake.rows_c()
    assert [(clip.onset, clip.apex, clip.offset) for clip in survey.clips] == [(row[2], None, row[3]) for row in rows]
    assert [clip.action_units for clip in survey.clips[:3]] == [("4", "7"), ("4", "11"), ("12",)]
    assert survey.clips[0].key == "casme3/C01/1"
    assert survey.clips[0].subject == "casme3/C01"
    assert survey.clips[0].frames is survey.clips[30].frames
    assert "165 rows" in noted(survey, "no apex").what
    assert "1 row" in noted(survey, "full-width comma").what
    assert noted(survey, "depth pictures")
    assert not casme3.read(part_c, section="C")[0].objective_class


def test_part_c_with_pictures_right_in_the_folder_of_the_subject(tmp_path):
    fake.table_c(tmp_path, [fake.rows_c()[0]])
    pictures.linked(tmp_path / "part_C" / "01", [f"{n}.jpg" for n in range(1, 60)], pictures.empty(tmp_path))
    assert len(casme3.read(tmp_path, section="C")) == 1


def test_part_c_repeats_and_gaps_are_told(tmp_path):
    row = fake.rows_c()[0]
    other = (1, 1, row[2] + 5, row[3] + 5, "4", "negative")
    fake.table_c(tmp_path, [row, row, other, (77, 1, 2, 9, "4", "negative"), ("", "", 1, 2, "", "")])
    pictures.linked(
        tmp_path / "part_C" / "01" / "a" / "color", [f"{n}.jpg" for n in range(1, 60)], pictures.empty(tmp_path)
    )
    survey = casme3.survey(tmp_path, section="C")
    assert [clip.key for clip in survey.clips] == ["casme3/C01/1", "casme3/C01/1/25"]
    assert noted(survey, "for the second time", "warning")
    assert noted(survey, "no pictures of subject 77", "error")
    assert noted(survey, "without subject or count", "warning")


@pytest.mark.parametrize(("option", "value"), [("tree", "clips"), ("release", "v1")])
def test_part_c_has_one_tree_and_one_table(part_c, option, value):
    with pytest.raises(BadInput, match=f"{option}.* for section C"):
        casme3.read(part_c, section="C", **{option: value})


def test_the_other_part_is_not_taken_for_this_one(root, part_c):
    with pytest.raises(BadInput, match="part_C"):
        casme3.read(root, section="C")
    with pytest.raises(BadInput, match="part_A"):
        casme3.read(part_c)


def test_rendered_clips_show_their_movement(tmp_path):
    fake.small(tmp_path, subjects=1)
    data = datasets.load("casme3", tmp_path)
    assert protocols.label(data.clips, protocols.megc()).labels.tolist() == [1, 0, 2]
    onset, apex = (data.clips[0].frames.read(number).astype(int) for number in (96, 100))
    assert onset.shape == (480, 640, 3)
    assert np.abs(apex - onset).max() > 20
    data.clips[1].frames.file(98).write_bytes(b"no picture")
    checked = doctor.check("casme3", tmp_path, pictures=True)
    assert [finding.where for finding in checked.findings if finding.level == "error"] == [data.clips[1].key]
