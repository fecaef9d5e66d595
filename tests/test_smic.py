"""SMIC on replicas of its three trees: real folders, tables and oddities, invented pictures and numbers."""

import time
from collections import Counter

import numpy as np
import openpyxl
import pytest

from microexpr import datasets
from microexpr.datasets import doctor, smic
from microexpr.errors import BadInput
from tests.fake import pictures
from tests.fake import smic as fake
from tests.replicas import shared

TREES = tuple(fake.FOLDERS)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Full replicas that no test changes, by tree."""
    return {tree: shared(tmp_path_factory, fake.full, tree) for tree in TREES}


def told(survey, level):
    return {finding.where: str(finding) for finding in survey.of_level(level)}


# Counts and labels


@pytest.mark.parametrize("tree", ["raw", "cropped"])
def test_the_published_counts_come_out(roots, tree):
    checkup = doctor.check("smic", roots[tree])
    assert checkup.healthy
    assert checkup.counts == {
        **{"clips": (164, 164), "subjects": (16, 16)},
        **{"negative": (70, 70), "positive": (51, 51), "surprise": (43, 43)},
    }
    assert checkup.chosen == {"camera": "HS", "tree": tree}
    per_subject = Counter(clip.subject for clip in smic.read(roots[tree]))
    assert per_subject["smic/s03"] == 39
    assert per_subject["smic/s20"] == 22


@pytest.mark.parametrize("tree", ["raw", "cropped"])
def test_a_clip_runs_from_its_first_file_to_its_last(roots, tree):
    clips = {clip.key: clip for clip in smic.read(roots[tree])}
    assert list(clips) == sorted(clips)
    for given in fake.full_clips():
        clip = clips[given.key]
        assert (clip.onset, clip.apex, clip.offset) == (given.onset, None, given.offset)
        assert clip.frames.numbers == tuple(given.numbers)
        assert (clip.subject, clip.emotion) == (f"smic/s{given.subject:02d}", fake.EMOTIONS[given.code])
    assert {clip.fps for clip in clips.values()} == {100.0}
    assert {clip.frames.shows for clip in clips.values()} == {"crop" if tree == "cropped" else "frame"}


def test_smic_e_has_161_clips_under_the_same_names(roots):
    checkup = doctor.check("smic", roots["extended"])
    assert checkup.healthy
    assert checkup.chosen == {"camera": "HS", "tree": "extended", "release": "first"}
    assert checkup.counts["clips"] == (161, 161)
    assert [checkup.counts[name][1] for name in ("negative", "positive", "surprise")] == [68, 51, 42]
    raw = {clip.key for clip in smic.read(roots["raw"])}
    extended = {clip.key for clip in smic.read(roots["extended"])}
    assert raw - extended == {f"smic/{name[:3]}/{name}" for name in fake.LOST}
    assert not extended - raw


def test_smic_e_gives_the_intervals_of_its_table(roots):
    rows = fake.extended_rows(fake.full_clips())
    clips = smic.read(roots["extended"])
    expected = [(clip.key, clip.onset, None, clip.offset) for clip in fake.extended_clips(rows)]
    assert [(clip.key, clip.onset, clip.apex, clip.offset) for clip in clips] == expected
    clip = next(clip for clip in clips if clip.key == "smic/s20/s20_sur_07")
    assert clip.frames.numbers[0] == clip.onset - 8  # the recording begins before the clip


@pytest.mark.parametrize("camera", ["VIS", "NIR"])
@pytest.mark.parametrize("tree", TREES)
def test_the_slower_cameras_have_their_rate_and_their_count(tmp_path, camera, tree):
    fake.full(tmp_path, tree, camera)
    clips = datasets.load("smic", tmp_path, camera=camera).clips
    assert {clip.fps for clip in clips} == {25.0}
    assert len(clips) == 71
    assert doctor.check("smic", tmp_path, camera=camera).healthy


def test_indexing_is_quick_and_opens_no_picture(roots):
    for tree in TREES:  # their pictures are empty files, which no decoder takes
        start = time.perf_counter()
        smic.read(roots[tree])
        assert time.perf_counter() - start < 2


# Names of files and folders


def test_frames_stand_in_the_order_of_their_numbers_across_widths(roots):
    crossing = next(clip for clip in smic.read(roots["raw"]) if clip.onset == 999990)
    assert crossing.frames.names[0] == "image999990.bmp"
    assert crossing.frames.names[-1].startswith("image10000")
    assert list(crossing.frames.numbers) == sorted(crossing.frames.numbers)
    short = next(clip for clip in smic.read(roots["raw"]) if clip.onset == 34208)
    assert short.frames.names[0] == "image034208.bmp"


def test_the_raw_tree_is_preferred_and_another_can_be_asked_for(tmp_path):
    fake.full(tmp_path, "raw", subjects=[5])
    fake.full(tmp_path / "other", "cropped", subjects=[5])
    (tmp_path / "other" / "SMIC_all_cropped").rename(tmp_path / "SMIC_all_cropped")
    assert smic.survey(tmp_path).chosen["tree"] == "raw"
    assert smic.survey(tmp_path, tree="cropped").clips[0].frames.shows == "crop"


@pytest.mark.parametrize("tree", ["raw", "cropped"])
def test_a_nested_archive_and_other_cases_are_found(tmp_path, tree):
    fake.full(tmp_path, tree, nested=True)
    (tmp_path / fake.FOLDERS[tree]).rename(tmp_path / fake.FOLDERS[tree].upper())
    assert len(smic.read(tmp_path)) == 164


@pytest.mark.parametrize("change", ["underscores", "inner", "outer", "root"])
def test_the_spellings_of_smic_e_are_found(tmp_path, change):
    long = fake.full(tmp_path, "extended", subjects=[5]) / "SMIC-E_raw image" / "HS_long"
    recordings = long / "SMIC-HS-E"
    if change == "underscores":
        recordings.rename(long / "SMIC_HS_E")
    elif change == "inner":
        subjects = list(recordings.iterdir())
        (recordings / "HS").mkdir()
        for subject in subjects:
            subject.rename(recordings / "HS" / subject.name)
    elif change == "outer":
        (long / "HS").mkdir()
        recordings.rename(long / "HS" / "SMIC-HS-E")
    root = long.parent if change == "root" else tmp_path
    assert len(smic.read(root)) == 2


# What the release lacks


def test_each_gap_is_noted_and_filled_by_the_frame_before(roots):
    survey = smic.survey(roots["raw"])
    notes = told(survey, "note")
    assert {where for where in notes if where.startswith("smic/")} == {f"smic/s03/{name}" for name in fake.GAPS}
    assert "2 frames without a file" in notes["smic/s03/s03_po_08"]
    clip = next(clip for clip in survey.clips if clip.key == "smic/s03/s03_po_08")
    missing = [number for number in range(clip.onset, clip.offset + 1) if number not in clip.frames.numbers]
    assert len(missing) == 2
    assert {clip.frames.file(number).name for number in missing} == {f"image{missing[0] - 1:06d}.bmp"}


def test_a_gap_wider_than_any_of_the_release_is_a_warning(tmp_path):
    fake.full(tmp_path, subjects=[20])
    given = next(clip for clip in fake.full_clips() if clip.name == "s20_po_03")
    for number in range(given.onset + 2, given.onset + 5):
        (fake.clip_folder(tmp_path, given) / f"image{number:06d}.bmp").unlink()
    warned = told(smic.survey(tmp_path), "warning")
    assert set(warned) == {"smic/s20/s20_po_03", "smic"}
    assert f"3 frames without a file, the first {given.onset + 2}" in warned["smic/s20/s20_po_03"]


def test_a_gap_of_smic_e_is_said_to_shift_the_offset(roots):
    notes = [str(note) for note in smic.survey(roots["extended"]).of_level("note")]
    assert sum("its offset may be early by" in note for note in notes) == len(fake.GAPS)


def test_the_clip_that_cropped_copies_lack_is_an_error_that_names_it(tmp_path_factory):
    root = shared(tmp_path_factory, fake.cropped_but_one)
    checkup = doctor.check("smic", root)
    assert not checkup.healthy
    assert checkup.counts["surprise"] == (43, 42)
    [error] = [finding for finding in checkup.findings if finding.level == "error"]
    assert (error.where, error.what) == ("smic/s18", "6 clips, 7 published: no s18_sur_03")
    with pytest.raises(BadInput, match="no s18_sur_03"):
        smic.read(root)
    with pytest.warns(UserWarning, match="s18_sur_03"):
        assert len(smic.read(root, damaged="skip")) == 163


def test_a_missing_clip_with_the_last_number_is_counted_too(tmp_path):
    fake.full(tmp_path, subjects=[20], without=["s20_sur_07"])
    assert told(smic.survey(tmp_path), "error")["smic/s20"].startswith("smic/s20: 21 clips, 22 published; ")


def test_absent_subjects_are_told_but_the_others_are_read(tmp_path):
    fake.full(tmp_path, subjects=[subject for subject in fake.COUNTS if subject not in (3, 4)])
    survey = smic.survey(tmp_path)
    assert not survey.of_level("error")
    assert "no clip of 2 of the 16 subjects: s03, s04" in told(survey, "warning")["smic"]
    assert not doctor.check("smic", tmp_path).healthy


def test_a_clip_too_many_is_told(tmp_path):
    source = pictures.empty(fake.full(tmp_path, subjects=[5]))
    extra = fake.FakeClip(5, "ne", 2, 100, 120)
    pictures.linked(fake.clip_folder(tmp_path, extra), fake.file_names(extra.numbers), source)
    survey = smic.survey(tmp_path)
    assert "3 clips, 2 published" in told(survey, "warning")["smic/s05"]
    assert len(survey.clips) == 3


def test_the_lost_recordings_of_smic_e_are_notes(roots):
    survey = smic.survey(roots["extended"])
    lost = [note.where for note in survey.of_level("note") if "lost this recording" in note.what]
    assert lost == [f"smic/{name[:3]}/{name}" for name in fake.LOST]
    assert not survey.of_level("error")


# SMIC-E's table


def edited(root, name, **cells):
    """A copy with the clips of subject 20, and other cells in the row of one of them."""
    long = fake.full(root, "extended", subjects=[20]) / "SMIC-E_raw image" / "HS_long"
    rows = fake.extended_rows([clip for clip in fake.full_clips() if clip.subject == 20])
    file = fake.table(long, rows)
    number = next(at for at, row in enumerate(rows, start=2) if row.clip.name == name)
    book = openpyxl.load_workbook(file, data_only=True)
    for column, value in cells.items():
        book["HS"].cell(number, fake.HEADER.index(column) + 1, value)
    book.save(file)


def test_further_expressions_of_a_row_become_clips(roots):
    survey = smic.survey(roots["extended"])
    notes = [str(note) for note in survey.of_level("note") if "in the row of" in note.what]
    for name, (other, place) in fake.SECOND.items():
        key, row = f"smic/{name[:3]}/{name}", f"smic/{other[:3]}/{other}"
        assert f"{key}: number {place} in the row of {row}; read as a clip of its own" in notes
    clips = {clip.key: clip for clip in survey.clips}
    first, second, third = (clips[f"smic/s04/s04_ne_0{number}"] for number in (4, 5, 6))
    assert first.offset < second.onset < second.offset < third.onset
    assert first.frames == second.frames == third.frames


@pytest.mark.parametrize(
    ("begin", "end"), [(-40, -30), (0, 9), (7, 3), (30, 4000), (None, 30), (30, None), (5.5, 30), ("?", 30)]
)
def test_what_a_dragged_formula_made_is_no_clip(tmp_path, begin, end):
    given = next(clip for clip in fake.full_clips() if clip.name == "s20_sur_07")
    far = [given.onset + number if isinstance(number, int | float) else number for number in (begin, end)]
    edited(tmp_path, given.name, Onset2F=far[0], Offset2F=far[1])
    assert len(smic.survey(tmp_path).clips) == 22


def test_a_further_expression_that_has_a_row_of_its_own_is_not_read_twice(tmp_path):
    given = next(clip for clip in fake.full_clips() if clip.name == "s20_ne_03")
    edited(tmp_path, given.name, Onset2F=given.onset + 2, Offset2F=given.onset + 6)
    survey = smic.survey(tmp_path)
    following = next(clip for clip in fake.full_clips() if clip.name == "s20_ne_04")
    assert len(survey.clips) == 22
    assert next(clip for clip in survey.clips if clip.key == following.key).onset == following.onset
    assert following.key not in told(survey, "note")


def test_text_instead_of_a_first_frame_is_noted(tmp_path):
    edited(tmp_path, "s20_ne_03", FirstF="MISSING <-426679")
    survey = smic.survey(tmp_path)
    assert "FirstF 'MISSING <-426679'" in told(survey, "note")["smic/s20/s20_ne_03"]
    assert len(survey.clips) == 22


def test_a_row_without_onset_is_an_error(tmp_path):
    edited(tmp_path, "s20_ne_03", OnsetF="MISSING")
    survey = smic.survey(tmp_path)
    assert "onset 'MISSING'" in told(survey, "error")["smic/s20/s20_ne_03"]
    assert len(survey.clips) == 21


def test_an_interval_beyond_the_files_is_clamped_with_a_warning(tmp_path):
    given = next(clip for clip in fake.full_clips() if clip.name == "s20_ne_03")
    edited(tmp_path, given.name, OffsetF=given.offset + 50)
    survey = smic.survey(tmp_path)
    assert given.key in told(survey, "warning")
    assert next(clip for clip in survey.clips if clip.key == given.key).offset == given.offset + 8


def test_a_label_that_the_name_contradicts_is_told(tmp_path):
    edited(tmp_path, "s20_ne_03", Emotion="Positive")
    survey = smic.survey(tmp_path)
    assert "'positive' in the table; its name counts: negative" in told(survey, "warning")["smic/s20/s20_ne_03"]
    assert next(clip for clip in survey.clips if clip.key == "smic/s20/s20_ne_03").emotion == "negative"


def test_a_clip_listed_twice_counts_once(tmp_path):
    edited(tmp_path, "s20_ne_03", Filename="s20_ne_02")
    survey = smic.survey(tmp_path)
    assert any("s20_ne_02 for the second time" in text for text in told(survey, "warning").values())
    assert "no s20_ne_03" in told(survey, "error")["smic/s20"]


def test_rows_without_pictures_and_folders_without_a_row_are_told(tmp_path):
    fake.full(tmp_path, "extended", subjects=[20])
    subject = tmp_path / "SMIC-E_raw image" / "HS_long" / "SMIC-HS-E" / "s20"
    (subject / "s20_ne_03").rename(subject / "s20_ne_03_old")
    survey = smic.survey(tmp_path)
    assert "no pictures in" in told(survey, "error")["smic/s20/s20_ne_03"]
    assert any(finding.where.endswith("s20_ne_03_old") for finding in survey.of_level("note"))


def test_text_under_the_rows_is_noted_once(roots):
    notes = [note for note in smic.survey(roots["extended"]).of_level("note") if "name no clip" in note.what]
    assert [note.what for note in notes] == ["2 rows that name no clip"]


def test_a_table_without_the_third_columns_is_read(tmp_path):
    rows = fake.extended_rows([clip for clip in fake.full_clips() if clip.subject == 4])
    long = fake.full(tmp_path, "extended", subjects=[4]) / "SMIC-E_raw image" / "HS_long"
    (long / "SMIC-HS-E_annotation.xlsx").unlink()
    fake.table(long, rows, name="SMIC-HS-E_annotation_orig.xlsx", third=False)
    survey = smic.survey(tmp_path)
    assert survey.chosen["release"] == "orig"
    # The third expression of a row can't stand in this one.
    assert told(survey, "error")["smic/s04"].startswith("smic/s04: 18 clips, 19 published: no s04_ne_06; ")


def test_formulas_without_values_are_refused(tmp_path):
    rows = fake.extended_rows(fake.small_clips())
    fake.full(tmp_path, "extended", subjects=fake.SMALL)
    fake.table(tmp_path / "SMIC-E_raw image" / "HS_long", rows, computed=False)
    with pytest.raises(BadInput, match="row 2, column OffsetF: a formula that was never computed; open the file in a"):
        smic.read(tmp_path)


def test_two_releases_of_the_table_ask_for_a_choice(tmp_path):
    rows = fake.extended_rows([clip for clip in fake.full_clips() if clip.subject == 5])
    fake.full(tmp_path, "extended", subjects=[5])
    fake.table(tmp_path / "SMIC-E_raw image" / "HS_long", rows, name="SMIC-HS-E_annotation_2019.xlsx")
    with pytest.raises(BadInput, match="release=first or release=2019"):
        smic.read(tmp_path)
    assert len(smic.read(tmp_path, release="2019")) == 2


def test_a_missing_table_or_missing_recordings_are_told(tmp_path):
    long = fake.full(tmp_path, "extended", subjects=[5]) / "SMIC-E_raw image" / "HS_long"
    (long / "SMIC-HS-E").rename(long / "elsewhere")
    with pytest.raises(BadInput, match="SMIC-HS-E in "):
        smic.read(tmp_path)
    (long / "elsewhere").rename(long / "SMIC-HS-E")
    (long / "SMIC-HS-E_annotation.xlsx").unlink()
    with pytest.raises(BadInput, match=r"the table smic-hs-e_annotation\.xlsx"):
        smic.read(tmp_path)


# Damaged copies and wrong folders


def test_a_clip_without_pictures_or_with_one_is_an_error(tmp_path):
    fake.full(tmp_path, subjects=[20])
    clips = {clip.name: fake.clip_folder(tmp_path, clip) for clip in fake.full_clips()}
    for file in clips["s20_ne_03"].iterdir():
        file.unlink()
    for file in sorted(clips["s20_po_01"].iterdir())[1:]:
        file.unlink()
    survey = smic.survey(tmp_path)
    errors = told(survey, "error")
    assert set(errors) == {"smic/s20/s20_ne_03", "smic/s20/s20_po_01"}
    assert "no pictures in" in errors["smic/s20/s20_ne_03"]
    assert len(survey.clips) == 20


def test_what_is_no_clip_is_noted_and_what_contradicts_itself_warned_of(tmp_path):
    fake.full(tmp_path, subjects=[5, 19, 20])
    clips = {clip.name: fake.clip_folder(tmp_path, clip) for clip in fake.full_clips()}
    top = tmp_path / "SMIC_all_raw" / "HS"
    (top / "results").mkdir()
    (top / "s5" / "micro" / "negative" / "notes").mkdir()
    clips["s20_ne_03"].rename(clips["s20_po_01"].parent / "s20_ne_03")
    clips["s20_sur_02"].rename(top / "s19" / "micro" / "surprise" / "s20_sur_02")
    survey = smic.survey(tmp_path)
    assert len(survey.clips) == 26
    assert {str(top / "results"), str(top / "s5" / "micro" / "negative" / "notes")} <= set(told(survey, "note"))
    warned = told(survey, "warning")
    assert "lies among positive of s20; its name counts: negative, subject 20" in warned["smic/s20/s20_ne_03"]
    assert "lies among surprise of s19; its name counts: surprise, subject 20" in warned["smic/s20/s20_sur_02"]


def test_a_clip_under_two_spellings_counts_once(tmp_path):
    source = pictures.empty(fake.full(tmp_path, subjects=[5]))
    again = tmp_path / "SMIC_all_raw" / "HS" / "s05" / "micro" / "negative" / "s05_ne_01"
    pictures.linked(again, fake.file_names(range(7, 30)), source)
    survey = smic.survey(tmp_path)
    assert "for the second time" in told(survey, "warning")["smic/s05/s05_ne_01"]
    assert len(survey.clips) == 2


def test_a_subject_without_its_folder_of_clips_is_an_error(tmp_path):
    fake.full(tmp_path, subjects=[5, 19])
    micro = tmp_path / "SMIC_all_raw" / "HS" / "s5" / "micro"
    micro.rename(micro.with_name("clips"))
    assert "no folder micro" in told(smic.survey(tmp_path), "error")["smic/s05"]


@pytest.mark.parametrize("place", ["SMIC_all_raw", "SMIC_all_raw/HS"])
def test_a_folder_within_names_the_one_to_give(roots, place):
    with pytest.raises(BadInput, match=f"give {roots['raw']}$"):
        smic.read(roots["raw"] / place)


def test_the_folder_around_names_the_one_to_give(tmp_path):
    fake.full(tmp_path / "smic_2013", subjects=[5])
    with pytest.raises(BadInput, match=f"give {tmp_path / 'smic_2013'}$"):
        smic.read(tmp_path)


@pytest.mark.parametrize(
    ("file", "advice"),
    [("CASME2-coding-20140508.xlsx", "this is CASME II"), ("SAMM_Micro_FACS_Codes_v2.xlsx", "this is SAMM")],
)
def test_the_folder_of_another_set_is_recognized(tmp_path, file, advice):
    (tmp_path / file).touch()
    with pytest.raises(BadInput, match=advice):
        smic.read(tmp_path)


def test_another_camera_or_tree_that_is_there_is_named(roots):
    with pytest.raises(BadInput, match="set camera=HS tree=raw, which is there"):
        smic.read(roots["raw"], camera="VIS")
    with pytest.raises(BadInput, match=r"expected SMIC_all_cropped/HS in .* set camera=HS tree=raw"):
        smic.read(roots["raw"], tree="cropped")


@pytest.mark.parametrize("options", [{"camera": "RGB"}, {"tree": "long"}, {"release": "2014"}, {"frames": "all"}])
def test_settings_it_does_not_have_are_refused(roots, options):
    with pytest.raises(BadInput, match="smic"):
        smic.read(roots["raw"], **options)


# Pictures


def test_rendered_clips_are_read_as_color_pictures(tmp_path):
    fake.small(tmp_path, "cropped")
    data = datasets.load("smic", tmp_path)
    assert Counter(clip.emotion for clip in data.clips) == {"negative": 3, "positive": 3, "surprise": 2}
    assert {clip.subject for clip in data.clips} == {"smic/s05", "smic/s06", "smic/s19"}
    clip = data.clips[0]
    onset, middle = (clip.frames.read(number) for number in (clip.onset, clip.onset + 2))
    assert onset.shape == (224, 224, 3)
    assert onset.dtype == np.uint8
    assert np.abs(onset.astype(int) - middle).max() > 20  # the face moves


def test_a_damaged_picture_is_named(tmp_path):
    clips = [clip for clip in fake.small_clips() if clip.subject == 5]
    for clip in clips:
        for name in fake.file_names(clip.numbers):
            file = pictures.noise(fake.clip_folder(tmp_path, clip) / name)
    file.write_bytes(b"no picture")
    checkup = doctor.check("smic", tmp_path, pictures=True)
    assert checkup.pictures == 10
    [damage] = [finding for finding in checkup.findings if finding.level == "error"]
    assert file.name in damage.what
