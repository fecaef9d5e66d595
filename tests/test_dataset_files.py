"""Numbered pictures on a disk, and tables: what every adapter stands on."""

import pickle
import zipfile
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pytest

from microexpr.datasets._files import LAST_NUMBER, NumberedFrames, folders_by_name, frames_in, inner
from microexpr.datasets._survey import ClipFolders, Interval, Survey, fitted, note_table
from microexpr.datasets._survey import pictures as pictures_of
from microexpr.datasets._table import find_table, sheet, table
from microexpr.errors import BadInput
from tests.fake import pictures


@pytest.fixture
def clip(tmp_path):
    """Frames 8, 9, 10 and 12: widths change, one is missing, and there is junk."""
    for number in (8, 9, 10, 12):
        cv2.imwrite(str(tmp_path / f"img{number}.png"), np.full((6, 5, 3), number, np.uint8))
    for junk in ("Thumbs.db", "._img9.png", "Desktop - Shortcut.lnk", "notes.txt"):
        (tmp_path / junk).touch()
    return frames_in(tmp_path)


def test_numbers_are_parsed_and_sorted(clip):
    assert clip.numbers == (8, 9, 10, 12)
    assert len(clip) == 4
    for number in clip.numbers:
        assert (clip.read(number) == number).all()
    assert pickle.loads(pickle.dumps(clip)) == clip


def test_a_gap_gives_the_frame_before(clip):
    np.testing.assert_array_equal(clip.read(11), clip.read(10))


@pytest.mark.parametrize("number", [7, 13])
def test_a_number_outside_is_refused(clip, number):
    with pytest.raises(BadInput, match=rf"frame {number} in .*frames 8 to 12"):
        clip.read(number)


def test_each_frame_is_decoded_once(clip, monkeypatch):
    decoded = []
    real = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *given: decoded.append(1) or real(*given))
    for number in clip.numbers:
        clip.read(number)
    assert len(decoded) == len(clip)


def test_gray_and_color_come_as_rgb(tmp_path):
    cv2.imwrite(str(tmp_path / "a1.png"), np.full((4, 4), 7, np.uint8))
    cv2.imwrite(str(tmp_path / "a2.png"), np.full((4, 4, 3), (1, 2, 3), np.uint8))
    frames = frames_in(tmp_path)
    assert (frames.read(1) == 7).all()
    assert frames.read(1).shape == (4, 4, 3)
    assert tuple(frames.read(2)[0, 0]) == (3, 2, 1)  # OpenCV writes blue first


def test_a_damaged_picture_is_named(clip):
    clip.file(9).write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"img9\.png, which can't be decoded"):
        clip.read(9)


def test_two_files_of_one_number_are_refused(tmp_path):
    for name in ("img7.jpg", "img007.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(BadInput, match="one picture for each frame number"):
        frames_in(tmp_path)


def test_no_folder_and_no_picture(tmp_path):
    assert frames_in(tmp_path / "none") is None
    assert frames_in(tmp_path) is None


def test_folders_are_found_in_any_case_and_nested(tmp_path):
    (tmp_path / "CASME2_RAW_Selected" / "CASME2_RAW_selected" / "sub01").mkdir(parents=True)
    (tmp_path / "__MACOSX").mkdir()
    found = inner(tmp_path, "casme2_raw_selected")
    assert found == tmp_path / "CASME2_RAW_Selected" / "CASME2_RAW_selected"
    assert list(folders_by_name(tmp_path)) == ["casme2_raw_selected"]
    assert inner(tmp_path, "other", "CASME2_RAW_selected/sub01") == found / "sub01"
    assert inner(tmp_path, "other") is None


def test_finding_folders_does_not_ask_of_every_file_what_it_is(tmp_path, monkeypatch):
    """A recording of thousands of pictures is listed; on a disk in the network each further question is a journey."""
    pictures.linked(tmp_path / "color", (f"{number}.jpg" for number in range(50)), pictures.empty(tmp_path))
    (tmp_path / "color" / "inside").mkdir()
    (tmp_path / "color" / "link").symlink_to(tmp_path / "color" / "inside")
    asked = []
    real = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **given: asked.append(path) or real(path, **given))
    assert inner(tmp_path, "color") == tmp_path / "color"
    assert list(folders_by_name(tmp_path / "color")) == ["inside", "link"]
    assert asked == []


def write(file, rows, title="Sheet1"):
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    book.save(file)
    return file


def test_the_header_is_searched_and_cells_stay_as_typed(tmp_path):
    rows = [["a note"], [], ["Subject", None, "filename ", "Apex"], ["01", 3, "x", " 12 "], [2.0, None, "y", "/"], []]
    first, second = table(write(tmp_path / "t.xlsx", rows), ("Subject", "Filename", "Apex"))
    assert (first.number, first.text("Subject"), first.whole("Subject"), first.whole("Apex")) == (4, "01", 1, 12)
    assert (second.text("Subject"), second.whole("Apex"), second.text("Apex")) == ("2", None, "/")
    assert "t.xlsx, row 5" in second.place


def test_fractions_are_no_whole_numbers(tmp_path):
    (row,) = table(write(tmp_path / "t.xlsx", [["A"], [566.4]]), ("A",))
    assert row.whole("A") is None
    assert row.number_in("A") == 566.4


def test_a_wrong_table_is_told(tmp_path):
    file = write(tmp_path / "t.xlsx", [["Name", "Age"], ["x", 3]])
    with pytest.raises(BadInput, match=r"the columns Subject.*got Name, Age in"):
        table(file, ("Subject",))
    with pytest.raises(BadInput, match="a sheet MICRO_ONLY"):
        table(file, ("Name",), ("MICRO_ONLY",))
    (tmp_path / "bad.xlsx").write_bytes(b"PK no zip")
    with pytest.raises(BadInput, match=r"a workbook \(.xlsx\) at .*bad"):
        sheet(tmp_path / "bad.xlsx")


def test_a_sheet_that_is_torn_is_told(tmp_path):
    """The workbook opens; its rows can't be parsed to the end."""
    file = write(tmp_path / "t.xlsx", [["A"], *([number] for number in range(50))])
    with zipfile.ZipFile(file) as saved:
        parts = {name: saved.read(name) for name in saved.namelist()}
    with zipfile.ZipFile(file, "w") as saved:
        for name, content in parts.items():
            saved.writestr(name, content[: len(content) // 2] if "worksheets/" in name else content)
    with pytest.raises(BadInput, match=r"a workbook \(.xlsx\) at .*copy it again"):
        table(file, ("A",))


def test_formulas_without_values_matter_where_they_are_needed(tmp_path):
    file = write(tmp_path / "t.xlsx", [["A", "B"], [1, "=A2+1"]])
    assert table(file, ("A",))[0].whole("A") == 1
    with pytest.raises(BadInput, match=r"row 2, column B: a formula that was never computed; open the"):
        table(file, ("A", "B"))


def test_the_release_of_a_table(tmp_path):
    releases = {"2014": ("old.xlsx",), "2019": ("new.xlsx", "newer.xlsx")}
    with pytest.raises(BadInput, match=r"the table old.xlsx or new.xlsx in .* an empty folder"):
        find_table(tmp_path, releases)
    (tmp_path / "labels").mkdir()
    write(tmp_path / "labels" / "Newer.xlsx", [["A"]])
    assert find_table(tmp_path, releases) == ("2019", tmp_path / "labels" / "Newer.xlsx")
    write(tmp_path / "old.xlsx", [["A"]])
    with pytest.raises(BadInput, match=r"one release .* old.xlsx, Newer.xlsx; say which: release=2014 or"):
        find_table(tmp_path, releases)
    assert find_table(tmp_path, releases, "2014")[0] == "2014"
    with pytest.raises(BadInput, match="a release of the table: 2014, 2019"):
        find_table(tmp_path, releases, "2020")


@pytest.mark.parametrize(
    ("annotated", "used", "level"),
    [
        ((10, 15, 20), (10, 15, 20), None),
        ((10, 20, 20), (10, 20, 20), None),
        ((10, None, 20), (10, None, 20), None),
        ((None, None, None), (10, None, 20), None),
        ((5, 15, 25), (10, 15, 20), "warning"),  # clamped to the files
        ((10, 10, 20), (10, None, 20), "warning"),  # the apex is the onset
        ((10, 25, 20), (10, None, 20), "warning"),
        ((10, 3, 20), (10, None, 20), "warning"),
        ((30, 35, 40), None, "error"),  # no file of it
        ((15, 15, 15), None, "error"),
        ((18, 15, 12), None, "error"),
    ],
)
def test_the_policy_for_odd_intervals(tmp_path, annotated, used, level):
    frames = NumberedFrames(tmp_path, tuple(range(10, 21)), tuple(f"{n}.jpg" for n in range(10, 21)))
    survey = Survey()
    interval = fitted(survey, "clip", Interval(*annotated), frames)
    assert (interval and (interval.onset, interval.apex, interval.offset)) == used
    assert [finding.level for finding in survey.findings] == ([level] if level else [])


def test_what_no_row_asked_for_is_noted(tmp_path):
    source = pictures.empty(tmp_path)
    for name in ("EP01", "EP02"):
        pictures.linked(tmp_path / "sub01" / name, ["img1.jpg"], source)
    (tmp_path / "sub01" / "Desktop.lnk").touch()
    folders = ClipFolders([tmp_path / "sub01"])
    assert folders.take("ep01", "SUB01") == tmp_path / "sub01" / "EP01"
    assert folders.take("EP03", "sub01") is None
    assert folders.take("EP01", "sub02") is None
    survey = Survey()
    folders.note_rest(survey)
    assert [finding.level for finding in survey.findings] == ["note"] * 3
    assert survey.findings[0].what == "upper or lower case is not that of the table in 1 names, the first SUB01/ep01"
    assert "EP02" in survey.findings[1].where
    assert "Desktop.lnk" in survey.findings[2].what


def test_a_clip_with_two_pictures_of_one_number_is_an_error_of_its_own(tmp_path):
    for name in ("img7.jpg", "img7.png"):
        (tmp_path / name).touch()
    survey = Survey()
    assert pictures_of(survey, "clip", tmp_path, tmp_path, LAST_NUMBER) is None
    assert pictures_of(survey, "other", None, tmp_path / "other", LAST_NUMBER) is None
    first, second = survey.of_level("error")
    assert (first.where, first.done) == ("clip", "the clip is left out")
    assert "one picture for each frame number" in first.what
    assert str(second) == f"other: no pictures in {tmp_path / 'other'}; the clip is left out"


def test_what_is_odd_in_a_table_as_a_whole(tmp_path):
    file = write(tmp_path / "t.xlsx", [["a note"], ["Onset", "Name"], ["12", "7"], [13, "x"], ["/", "y"]])
    survey = Survey()
    note_table(survey, file, table(file, ("Onset", "Name")), ("Onset",))
    assert [finding.what for finding in survey.findings] == [
        "the header stands in row 2",
        "numbers stored as text in 1 of 3 rows, the first row 3",
    ]
    plain = Survey()
    note_table(plain, file, table(write(file, [["Onset"], [12]]), ("Onset",)), ("Onset",))
    assert plain.findings == []
