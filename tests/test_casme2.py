"""CASME II: published counts by rule, three trees, two releases, every oddity."""

import shutil
import time

import openpyxl
import pytest

from microexpr.datasets import casme2, doctor
from microexpr.errors import BadInput
from tests.fake import casme2 as fake
from tests.fake import pictures
from tests.replicas import shared


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    return shared(tmp_path_factory, fake.full, nested=True)


@pytest.fixture
def small(tmp_path):
    """Six clips of empty pictures, and their table."""
    rows = fake.small_rows(2)
    fake.table(tmp_path, rows)
    source = pictures.empty(tmp_path)
    for row in rows:
        pictures.linked(fake.folder_of(tmp_path, row), fake.names_of(row), source)
    return tmp_path


def change(root, edit, name=fake.TABLE):
    book = openpyxl.load_workbook(root / name)
    edit(book["Sheet1"])
    book.save(root / name)


def levels(survey, level):
    return [str(finding) for finding in survey.of_level(level)]


def test_255_clips_with_the_published_counts(replica):
    found = casme2.survey(replica)
    assert found.chosen == {"tree": "raw-selected", "release": "2014"}
    assert dict(found.published) == {"clips": 255, "subjects": 26, **fake.COUNTS}
    assert doctor.check("casme2", replica).healthy
    assert len({clip.key for clip in found.clips}) == 255
    assert len(casme2.read(replica)) == 255


def test_indexing_is_quick_and_opens_no_picture(replica):
    began = time.process_time()
    clips = casme2.read(replica)  # every picture is empty: opening one would fail
    assert time.process_time() - began < 2
    with pytest.raises(BadInput, match="can't be decoded"):
        clips[0].frames.read(clips[0].onset)


def test_clips_are_as_annotated(replica):
    rows = {row.key: row for row in fake.full_rows()}
    for clip in casme2.read(replica):
        row = rows[clip.key]
        assert (clip.onset, clip.offset, clip.emotion, clip.fps) == (row.onset, row.offset, row.emotion, 200)
        assert clip.subject == f"casme2/sub{row.subject:02d}"
        assert clip.frames.numbers == tuple(range(row.onset, row.offset + 1))
        assert clip.action_units == (() if row.units == "?" else tuple(str(row.units).split("+")))
        usual = isinstance(row.apex, int) and row.apex != row.onset
        assert clip.apex == (row.apex if usual else None)


def test_the_f_tells_two_clips_apart(replica):
    keys = {clip.key for clip in casme2.read(replica)}
    assert {"casme2/sub17/EP05_03", "casme2/sub17/EP05_03f"} <= keys


def test_objective_classes_join_by_name_not_by_place(replica):
    rows = fake.full_rows()
    expected = {row.key: 1 + at % 7 for at, row in enumerate(reversed(rows))}
    assert {clip.key: clip.objective_class for clip in casme2.read(replica)} == expected


def test_oddities_of_the_release_are_told(replica):
    found = casme2.survey(replica)
    assert levels(found, "error") == []
    assert len(levels(found, "warning")) == 1
    notes = " ".join(levels(found, "note"))
    for odd in ("apex '/'", "action units '?'", "EP02_02f", "EP02_07", "Desktop - Shortcut.lnk"):
        assert odd in notes
    assert len(found.motionless) == 2


def test_the_later_release_relabels_three_clips(tmp_path_factory):
    root = shared(tmp_path_factory, fake.full, release="2019")
    found = casme2.survey(root)
    assert found.chosen["release"] == "2019"
    assert found.published["surprise"] == 28
    assert doctor.check("casme2", root).healthy


def test_two_releases_must_be_told_apart(small):
    fake.table(small, fake.small_rows(2), fake.LATER)
    with pytest.raises(BadInput, match=r"say which: release=2014 or release=2019"):
        casme2.read(small)
    assert len(casme2.read(small, release="2014")) == 6


@pytest.mark.parametrize("tree", ["cropped", "raw"])
def test_other_trees(tmp_path, tree):
    rows = fake.small_rows(2)
    fake.table(tmp_path, rows)
    source = pictures.empty(tmp_path)
    for row in rows:
        pictures.linked(fake.folder_of(tmp_path, row, tree), fake.names_of(row, tree), source)
    clips = casme2.read(tmp_path)
    assert {clip.frames.shows for clip in clips} == {"crop" if tree == "cropped" else "frame"}
    assert clips[0].frames.numbers[0] == (1 if tree == "raw" else 96)
    with pytest.raises(BadInput, match="CASME2_RAW_selected in"):
        casme2.read(tmp_path, tree="raw-selected")


def test_of_two_trees_the_usual_one_is_read(small):
    source = small / ".empty"
    for row in fake.small_rows(2):
        pictures.linked(fake.folder_of(small, row, "cropped"), fake.names_of(row, "cropped"), source)
    assert casme2.survey(small).chosen["tree"] == "raw-selected"
    assert casme2.read(small, tree="cropped")[0].frames.shows == "crop"


@pytest.mark.parametrize(
    "names", ["Cropped-updated/Cropped", "Cropped_original", "CASME2_preprocessed_Li Xiaobai/Cropped"]
)
def test_names_that_copies_give_the_cropped_tree(tmp_path, names):
    row = fake.small_rows(1)[0]
    fake.table(tmp_path, [row])
    pictures.linked(tmp_path / names / "sub01" / row.name, fake.names_of(row, "cropped"), pictures.empty(tmp_path))
    assert [clip.frames.shows for clip in casme2.read(tmp_path)] == ["crop"]


def test_two_pictures_of_one_number_cost_one_clip(small):
    row = fake.small_rows(2)[1]
    pictures.linked(fake.folder_of(small, row), ["img100.png"], small / ".empty")
    with pytest.raises(BadInput, match=rf"{row.key}: expected one picture for each frame number"):
        casme2.read(small)
    with pytest.warns(UserWarning, match=row.key):
        assert len(casme2.read(small, damaged="skip")) == 5


def test_objective_classes_that_can_not_be_read_are_no_reason_to_stop(small):
    assert any("clips have no objective class" in text for text in levels(casme2.survey(small), "note"))
    (small / fake.OBJECTIVE).write_bytes(b"torn")
    found = casme2.survey(small)
    assert len(found.clips) == 6
    assert any("a file that can't be read" in text for text in levels(found, "warning"))
    fake.objective_classes(small, fake.small_rows(2))
    (small / "labels").mkdir()
    for name in (fake.TABLE, fake.OBJECTIVE):
        (small / name).rename(small / "labels" / name)
    assert casme2.read(small)[0].objective_class is not None


def test_another_release_that_nobody_asked_for_may_be_torn(small):
    (small / fake.LATER).write_bytes(b"torn")
    assert len(casme2.read(small, release="2014")) == 6


def test_names_in_another_case_are_told(small):
    row = fake.small_rows(2)[0]
    fake.folder_of(small, row).rename(fake.folder_of(small, row).with_name(row.name.lower()))
    found = casme2.survey(small)
    assert len(found.clips) == 6
    assert any(f"in 1 names, the first sub01/{row.name}" in text for text in levels(found, "note"))


def test_a_truncated_clip_is_clamped(small):
    row = fake.small_rows(2)[0]
    for number in (103, 104):
        (fake.folder_of(small, row) / f"img{number}.jpg").unlink()
    found = casme2.survey(small)
    assert found.clips[0].offset == 102
    assert levels(found, "warning") == [f"{row.key}: annotated 96 to 104, files 96 to 102; 96 to 102 is used"]


def test_a_missing_frame_is_told(small):
    row = fake.small_rows(2)[0]
    (fake.folder_of(small, row) / "img99.jpg").unlink()
    told = levels(casme2.survey(small), "warning")
    assert told == [f"{row.key}: 1 frame without a file, the first 99; the frame before is read in its place"]


def test_a_missing_clip_stops_or_is_skipped(small):
    row = fake.small_rows(2)[3]
    shutil.rmtree(fake.folder_of(small, row))
    with pytest.raises(BadInput, match=rf"{row.key}: no pictures in .*damaged=skip"):
        casme2.read(small)
    with pytest.warns(UserWarning, match=row.key):
        assert len(casme2.read(small, damaged="skip")) == 5
    found = doctor.check("casme2", small)
    assert not found.healthy
    assert found.counts["clips"] == (255, 5)


def test_text_numbers_and_repeated_rows(small):
    def edit(page):
        page["D2"] = " 96 "
        page["A3"] = 1  # a number instead of '01'
        page.append([cell.value for cell in page[2]])
        page.append([None, "EP99_99"])

    change(small, edit)
    found = casme2.survey(small)
    assert len(found.clips) == 6
    assert found.clips[0].onset == 96
    told = " ".join(levels(found, "warning"))
    assert "for the second time" in told
    assert "row without subject" in told


def test_a_missing_table_is_told(small):
    (small / fake.TABLE).unlink()
    with pytest.raises(BadInput, match=r"the table casme2-coding-20140508\.xlsx"):
        casme2.read(small)


def test_settings_are_checked(small):
    with pytest.raises(BadInput, match="tree of casme2 to be one of"):
        casme2.read(small, tree="half")
    with pytest.raises(BadInput, match=r"a setting of casme2 \(tree, release\)"):
        casme2.read(small, colour="red")
    with pytest.raises(BadInput, match="damaged to be stop or skip"):
        casme2.read(small, damaged="maybe")
