"""CASME: 189 and 193 rows, two trees, two apex columns, five rows that contradict their folders."""

import shutil
from dataclasses import replace

import pytest

from microexpr.datasets import casme, doctor
from microexpr.errors import BadInput
from tests.fake import casme as fake
from tests.fake import casme2 as fake_casme2
from tests.fake import pictures
from tests.replicas import shared


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    return shared(tmp_path_factory, fake.full)


@pytest.fixture(scope="module")
def found(replica):
    return casme.survey(replica)


@pytest.fixture
def small(tmp_path):
    """Three clips of empty pictures, and their table."""
    return written(tmp_path, fake.small_rows(1))


def written(root, rows, tree="raw-selected"):
    fake.table(root, rows)
    source = pictures.empty(root)
    for row in rows:
        pictures.linked(fake.folder_of(root, row, tree), fake.names_of(row, tree), source)
    return root


def levels(survey, level):
    return [str(finding) for finding in survey.of_level(level)]


def test_189_clips(replica):
    found = doctor.check("casme", replica)
    assert found.healthy
    assert found.counts["clips"] == (189, 189)
    assert found.chosen == {"tree": "raw-selected", "release": "undated"}
    assert len({clip.key for clip in casme.read(replica)}) == 189


def test_the_release_of_2019_has_193(tmp_path):
    found = doctor.check("casme", fake.full(tmp_path, tree="cropped", release="2019"))
    assert found.healthy
    assert found.counts["clips"] == (193, 193)
    assert found.chosen == {"tree": "cropped", "release": "2019"}


def test_indexing_opens_no_picture(found):
    clip = found.clips[0]  # every picture is empty: opening one would fail
    with pytest.raises(BadInput, match="can't be decoded"):
        clip.frames.read(clip.onset)


def test_clips_are_as_annotated_whatever_the_width_of_their_numbers(found):
    odd = {*fake.BESIDE, *fake.SHORT, 60}
    clips = {clip.key: clip for clip in found.clips}
    widths = set()
    for at, row in enumerate(fake.full_rows()):
        clip = clips[row.key]
        assert (clip.emotion, clip.fps, clip.kind) == (row.emotion, 60, "micro")
        assert clip.subject == f"casme/sub{row.subject:02d}"
        assert clip.frames.numbers == tuple(range(row.files[0], row.files[1] + 1))
        assert clip.action_units == tuple(str(row.units).split("+"))
        widths.update(len(name.rpartition("-")[2]) for name in clip.frames.names)
        if at not in odd:
            assert (clip.onset, clip.apex, clip.offset) == (row.onset, row.apex, row.offset)
    assert widths == {5, 6, 7}  # 7.jpg, 12.jpg, 112.jpg and 007.jpg


def test_rows_beside_their_folder_take_its_first_and_last_file(found):
    clips = {clip.key: clip for clip in found.clips}
    warnings = levels(found, "warning")
    for at in fake.BESIDE:
        row = fake.full_rows()[at]
        clip = clips[row.key]
        assert (clip.onset, clip.apex, clip.offset) == (row.files[0], None, row.files[1])
        (told,) = [line for line in warnings if line.startswith(row.key)]
        assert "the files count, and the apex as not annotated" in told


def test_rows_that_run_past_their_folder_end_with_it(found):
    clips = {clip.key: clip for clip in found.clips}
    for at in fake.SHORT:
        row = fake.full_rows()[at]
        clip = clips[row.key]
        assert (clip.onset, clip.apex, clip.offset) == (row.onset, row.apex, row.files[1])


def test_the_first_frame_of_the_apex_phase_is_the_apex(found):
    told = "63 rows with an apex phase, ApexF1 to ApexF2; its first frame is the apex"
    assert any(line.endswith(told) for line in levels(found, "note"))


def test_the_second_apex_stands_in_for_a_first_that_cannot_be_used(found):
    row = fake.full_rows()[60]  # ApexF1 is the onset
    clip = next(clip for clip in found.clips if clip.key == row.key)
    assert clip.apex == row.last_apex
    told = f"{row.key}: ApexF1 '{row.apex}' can't be used; ApexF2, {row.last_apex}, is taken as the apex"
    assert told in levels(found, "warning")


@pytest.mark.parametrize("last", [None, "\\", 3000])
def test_without_a_usable_apex_it_counts_as_not_annotated(tmp_path, last):
    row = replace(fake.small_rows(1)[0], apex="\\", last_apex=last)
    found = casme.survey(written(tmp_path, [row]))
    assert found.clips[0].apex is None
    assert f"{row.key}: apex '\\\\'; taken as not annotated: the apex rule finds one" in levels(found, "note")


def test_folders_and_files_of_no_row_are_noted(found):
    notes = " ".join(levels(found, "note"))
    assert "EP99_1: no row of the table names this folder" in notes
    assert "Thumbs.db" in notes


def test_of_two_trees_the_usual_one_is_read(small):
    for row in fake.small_rows(1):
        pictures.linked(fake.folder_of(small, row, "cropped"), fake.names_of(row, "cropped"), small / ".empty")
    assert casme.survey(small).chosen["tree"] == "raw-selected"
    assert casme.read(small)[0].frames.shows == "frame"
    clip = casme.read(small, tree="cropped")[0]
    assert clip.frames.shows == "crop"
    assert clip.frames.names[0] == f"reg_{fake.small_rows(1)[0].name}-96.jpg"


def test_upper_and_lower_case_of_folders(small):
    (small / "CASME_raw_selected").rename(small / "casme_RAW_selected")
    (small / "casme_RAW_selected" / "sub01").rename(small / "casme_RAW_selected" / "Sub01")
    assert len(casme.read(small)) == 3


def test_a_table_in_the_older_format_says_what_to_do(small):
    (small / fake.TABLE).unlink()
    (small / "CASME-coded-20190721.xls").write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(BadInput, match=r"the table as \.xlsx.*save it as \.xlsx in the same folder"):
        casme.read(small)
    fake.table(small, fake.small_rows(1), fake.LATER)  # what was advised
    assert casme.survey(small).chosen["release"] == "2019"


def test_two_releases_must_be_told_apart(small):
    fake.table(small, fake.small_rows(1), fake.LATER)
    with pytest.raises(BadInput, match="say which: release=undated or release=2019"):
        casme.read(small)
    assert len(casme.read(small, release="2019")) == 3


def test_a_missing_clip_and_a_repeated_row(small):
    rows = fake.small_rows(1)
    shutil.rmtree(fake.folder_of(small, rows[2]))
    fake.table(small, [*rows, rows[0]])
    with pytest.raises(BadInput, match=rf"{rows[2].key}: no folder of this name.*damaged=skip"):
        casme.read(small)
    with pytest.warns(UserWarning, match=rows[2].key):
        assert len(casme.read(small, damaged="skip")) == 2
    assert "for the second time" in " ".join(levels(casme.survey(small), "warning"))


def test_casme2_is_told_apart_though_its_folders_have_the_same_name(tmp_path):
    rows = fake_casme2.small_rows(1)
    fake_casme2.table(tmp_path, rows)
    fake_casme2.folder_of(tmp_path, rows[0], "cropped").mkdir(parents=True)
    with pytest.raises(BadInput, match="this is CASME II: name the data set casme2"):
        casme.read(tmp_path)


def test_settings_are_checked(small):
    with pytest.raises(BadInput, match="tree of casme to be one of '', raw-selected, cropped"):
        casme.read(small, tree="half")


def test_rendered_frames_are_read(tmp_path):
    clip = casme.read(fake.small(tmp_path, "cropped", subjects=1))[0]
    onset, apex = (clip.frames.read(number) for number in (clip.onset, clip.apex))
    assert onset.shape == apex.shape
    assert onset.shape[2] == 3
    assert (onset != apex).any()
