"""4DME: 267 clips, joined emotions, kept action units, headers with apostrophes, two exchanged rows."""

import shutil
from dataclasses import replace

import openpyxl
import pytest

from microexpr.datasets import doctor, fourdme
from microexpr.errors import BadInput
from microexpr.evaluation import protocols
from tests.fake import fourdme as fake
from tests.fake import pictures
from tests.replicas import shared


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    return shared(tmp_path_factory, fake.full)


@pytest.fixture(scope="module")
def found(replica):
    return fourdme.survey(replica)


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


def change(root, edit):
    book = openpyxl.load_workbook(root / fake.TABLE)
    edit(book.active)
    book.save(root / fake.TABLE)


def levels(survey, level):
    return [str(finding) for finding in survey.of_level(level)]


def moving(units):
    """What is left of an invented row's action units, written out by hand."""
    return {
        "12": ("12",),
        "AU4(k)+L7": ("L7",),
        "AUR2+12(k)+45": ("R2", "45"),
        "6+12": ("6", "12"),
        "AU14": ("14",),
        "1+2+5": ("1", "2", "5"),
        "4": ("4",),
        "L10+4 (k)": ("L10",),
    }[units]


def test_267_clips(replica):
    found = doctor.check("4dme", replica)
    assert found.healthy
    assert found.counts["clips"] == (267, 267)
    assert found.chosen == {"tree": "gray_micro", "release": "v1"}


def test_indexing_opens_no_picture(found):
    clip = found.clips[0]  # every picture is empty: opening one would fail
    with pytest.raises(BadInput, match="can't be decoded"):
        clip.frames.read(clip.onset)


def test_clips_are_as_annotated_also_those_of_exchanged_rows(found):
    clips = {clip.key: clip for clip in found.clips}
    for row in fake.full_rows():
        clip = clips[row.key]
        assert (clip.onset, clip.apex, clip.offset) == (row.onset, row.apex, row.offset)
        assert (clip.emotion, clip.fps, clip.kind) == (row.emotion.lower(), 60, "micro")
        assert clip.subject == f"4dme/{row.subject}"
        assert clip.action_units == moving(row.units)
        assert clip.frames.shows == "frame"


def test_headers_that_end_in_an_apostrophe_give_the_same_clips(replica, tmp_path):
    assert fourdme.read(fake.full(tmp_path, apostrophes=True)) == fourdme.read(replica)


def test_the_exchange_is_told_and_touches_the_whole_table_only(replica, tmp_path):
    first, second = levels(fourdme.survey(replica), "warning")
    assert "row 146: action units 'AU4(k)+L7', which belong to row 147; '12' is used" in first
    assert "row 147: action units '12', which belong to row 146; 'AU4(k)+L7' is used" in second
    rows = fake.full_rows()[:200]  # another table than the one that is known
    found = fourdme.survey(written(tmp_path, rows))
    assert levels(found, "warning") == []
    assert found.clips[144].action_units == moving(rows[145].units)


def test_joined_emotions_are_one_label_that_maps_of_single_emotions_leave_out(found):
    joined = [clip for clip in found.clips if "+" in clip.emotion]
    assert {clip.emotion for clip in joined} == {"surprise+positive", "negative+repression"}
    assert len(joined) == 76
    assert any("76 clips with two emotions" in line for line in levels(found, "note"))
    assert {protocols.class_of(clip, protocols.megc()) for clip in joined} == {None}
    own = protocols.make("own", clips=found.clips)
    assert {protocols.class_of(clip, own) for clip in joined} == {clip.emotion for clip in joined}


def test_kept_action_units_are_counted(found):
    assert any("101 clips with action units marked (k)" in line for line in levels(found, "note"))


@pytest.mark.parametrize(
    ("emotion", "expected", "told"),
    [
        (None, "positive", "no emotion; positive is used, by the columns of ones"),
        ("Negative", "negative", "emotion negative, by the columns of ones positive; negative is used"),
        (" Surprise + Positive", "surprise+positive", "by the columns of ones positive; surprise+positive is used"),
        ("POSITIVE", "positive", None),
    ],
)
def test_the_emotion_against_the_columns_of_ones(small, emotion, expected, told):
    change(small, lambda page: page.__setitem__("C2", emotion))
    found = fourdme.survey(small)
    assert found.clips[0].emotion == expected
    assert [line for line in levels(found, "warning") if told and told in line] == levels(found, "warning")
    assert bool(levels(found, "warning")) == bool(told)


def test_no_emotion_at_all_is_told(small):
    def edit(page):
        for cell in ("C2", "J2"):
            page[cell] = None

    change(small, edit)
    found = fourdme.survey(small)
    assert found.clips[0].emotion == ""
    assert levels(found, "warning") == [f"{fake.small_rows(1)[0].key}: no emotion; protocols leave the clip out"]


def test_subjects_as_numbers_and_a_column_of_another_name(small):
    def edit(page):
        page["I1"] = "AU"
        page["A2"] = 8

    change(small, edit)
    found = fourdme.survey(small)
    assert [clip.subject for clip in found.clips] == ["4dme/S08"] * 3
    assert [clip.action_units for clip in found.clips] == [moving(row.units) for row in fake.small_rows(1)]


def test_files_that_count_from_one_are_matched_by_their_length(small):
    row = fake.small_rows(1)[0]
    folder = fake.folder_of(small, row)
    for number, name in enumerate(fake.names_of(row), start=1):
        (folder / name).rename(folder / f"Frame_{number:09d}.jpg")
    clip = fourdme.survey(small).clips[0]
    assert (clip.onset, clip.apex, clip.offset) == (1, 5, 9)


def test_a_footer_a_missing_clip_and_an_unread_folder(replica, small):
    rows = fake.small_rows(1)
    change(small, lambda page: page.append([None, None, "total", 3]))
    shutil.rmtree(fake.folder_of(small, rows[1]))
    with pytest.raises(BadInput, match=rf"{rows[1].key}: no folder of this name.*damaged=skip"):
        fourdme.read(small)
    with pytest.warns(UserWarning, match=rows[1].key):
        assert len(fourdme.read(small, damaged="skip")) == 2
    assert "a row without subject or file name" in " ".join(levels(fourdme.survey(small), "warning"))
    assert "S03_1st_001_01_1: no row of the table" in " ".join(levels(fourdme.survey(replica), "note"))


def test_an_apex_that_is_no_number(tmp_path):
    row = replace(fake.small_rows(1)[0], apex="?")
    found = fourdme.survey(written(tmp_path, [row]))
    assert found.clips[0].apex is None
    assert f"{row.key}: apex '?'; taken as not annotated: the apex rule finds one" in levels(found, "note")


def test_the_long_videos_are_told_apart(tmp_path):
    (tmp_path / "long gray video" / "S08").mkdir(parents=True)
    with pytest.raises(BadInput, match="these are the long videos"):
        fourdme.read(tmp_path)


def test_a_table_without_a_column_names_the_columns(small):
    change(small, lambda page: page.__setitem__("B1", "something"))
    with pytest.raises(BadInput, match="the columns sub_ID, fold_name"):
        fourdme.read(small)


def test_there_are_no_settings(small):
    with pytest.raises(BadInput, match=r"a setting of 4dme \(none\)"):
        fourdme.read(small, kind="macro")


def test_rendered_frames_are_read(tmp_path):
    clip = fourdme.read(fake.small(tmp_path, subjects=1))[0]
    onset, apex = (clip.frames.read(number) for number in (clip.onset, clip.apex))
    assert onset.shape == apex.shape == (480, 640, 3)
    assert (onset[..., 0] == onset[..., 2]).all()
    assert (onset != apex).any()
