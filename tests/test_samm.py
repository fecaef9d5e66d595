"""SAMM on replicas: real names, table and oddities, invented rows, numbers and pictures."""

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import openpyxl
import pytest

from microexpr import datasets
from microexpr.datasets import doctor, samm
from microexpr.errors import BadInput
from tests.fake import pictures
from tests.fake import samm as fake
from tests.replicas import shared

FIRST = fake.full_rows()[0]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A full replica that no test changes."""
    return shared(tmp_path_factory, fake.full)


def told(survey, level):
    return {finding.where: str(finding) for finding in survey.of_level(level)}


def written(folder, rows, **cells):
    """A copy with the clips of some rows, in whose first row cells differ in the table only."""
    file = fake.table(folder, rows)
    book = openpyxl.load_workbook(file)
    for column, value in cells.items():
        at = [str(title).replace(" ", "") for title in fake.HEADER].index(column) + 1
        book.active.cell(fake.PREAMBLE + 2, at).value = value
    book.save(file)
    source = pictures.empty(folder)
    for row in {row.name: row for row in rows}.values():
        pictures.linked(fake.folder_of(folder, row), row.files, source)
    return folder


# Counts and labels


def test_the_published_counts_come_out(root):
    checkup = doctor.check("samm", root)
    assert checkup.healthy
    assert checkup.chosen == {"release": "v2"}
    assert {name: found for name, (_, found) in checkup.counts.items()} == {
        **{"clips": 159, "subjects": 29, "anger": 57, "other": 26, "happiness": 26},
        **{"surprise": 15, "contempt": 12, "disgust": 9, "fear": 8, "sadness": 6},
    }
    clips = samm.read(root)
    assert Counter(clip.objective_class for clip in clips) == {1: 24, 2: 13, 3: 20, 4: 8, 5: 3, 6: 7, 7: 84}
    assert Counter(clip.subject for clip in clips)["samm/011"] == 20


def test_every_row_becomes_its_clip_in_the_order_of_the_table(root):
    rows, clips = fake.full_rows(), samm.read(root)
    assert [clip.key for clip in clips] == [row.key for row in rows]
    for row, clip in zip(rows, clips, strict=True):
        assert (clip.onset, clip.offset, clip.fps) == (row.onset, row.offset, 200.0)
        assert clip.apex == (None if row.name in ("028_4_1", "032_3_1") else row.apex)
        assert (clip.subject, clip.emotion) == (f"samm/{row.subject:03d}", row.emotion.lower())
        assert (clip.objective_class, clip.kind) == (row.objective, "micro")


def test_action_units_are_read_from_free_text(root):
    of_row = dict(zip(fake.full_rows(), samm.read(root), strict=True))
    units = {row.units: clip.action_units for row, clip in of_row.items()}
    assert units == {
        **{4: ("4",), 12: ("12",), 2: ("2",), "(R6 or R12)+R15": ("R6 or R12", "R15"), "7B+ ref(43)": ("7B",)},
        **{"L12 + 61": ("L12", "61"), "10A/B": ("10A/B",), "A/L12": ("A/L12",), "12+15 ": ("12", "15")},
        "R14+17+soft focus": ("R14", "17"),
    }
    notes = [str(note) for note in samm.survey(root).of_level("note")]
    told_of = [note.partition("; ")[0].partition(": ")[2] for note in notes if "no unit is not read as one" in note]
    assert Counter(told_of) == {"action units '7B+ ref(43)'": 16, "action units 'R14+17+soft focus'": 16}


def test_indexing_is_quick_and_opens_no_picture(root):
    start = time.perf_counter()
    samm.read(root)  # the pictures are empty files, which no decoder takes
    assert time.perf_counter() - start < 2


# Names of files and folders


def test_numbers_are_parsed_whatever_their_width(root):
    clips = {clip.key: clip for clip in samm.read(root)}
    five, four = clips["samm/006/006_1_2"], clips["samm/006/006_2_4"]
    assert {len(name) for name in five.frames.names} == {len("006_05562.jpg")}
    crossing = next(clip for clip in clips.values() if clip.onset < 10000 <= clip.offset and clip.subject == "samm/007")
    assert crossing.frames.names[0].startswith("007_99")
    assert crossing.frames.names[-1].startswith("007_100")
    for clip in (five, four, crossing):
        assert clip.frames.numbers == tuple(range(clip.onset, clip.offset + 1))


def test_a_nested_archive_and_the_dated_table_are_found(tmp_path):
    fake.full(tmp_path, nested=True, name=fake.DATED)
    assert len(samm.read(tmp_path)) == 159
    (tmp_path / "SAMM").rename(tmp_path / "samm")
    assert len(samm.read(tmp_path)) == 159


def test_two_tables_of_the_release_are_noted(tmp_path):
    written(tmp_path, [FIRST])
    fake.table(tmp_path, [], fake.DATED)
    assert any(
        "two tables" in text and f"{fake.TABLE} is read" in text
        for text in told(samm.survey(tmp_path), "note").values()
    )


@pytest.mark.parametrize("preamble", [0, 1, 13, 20])
def test_the_header_is_searched_for(tmp_path, preamble):
    written(tmp_path, [FIRST])
    fake.table(tmp_path, [FIRST], preamble=preamble)
    assert [clip.key for clip in samm.read(tmp_path)] == [FIRST.key]


def test_a_subject_that_became_a_number_is_padded_again(tmp_path):
    written(tmp_path, [FIRST], Subject=6)
    assert samm.read(tmp_path)[0].subject == "samm/006"


def test_other_files_and_folders_are_not_read(tmp_path):
    written(tmp_path, [FIRST])
    (tmp_path / "006" / "006_9_9").mkdir()
    (tmp_path / "006" / "Desktop.lnk").touch()
    (tmp_path / "results").mkdir()
    survey = samm.survey(tmp_path)
    assert len(survey.clips) == 1
    assert str(tmp_path / "006" / "006_9_9") in told(survey, "note")
    assert "Desktop.lnk" in told(survey, "note")[str(tmp_path / "006")]


# What is odd in the table


def test_the_two_apexes_outside_their_clips_count_as_not_annotated(root):
    survey = samm.survey(root)
    warned = told(survey, "warning")
    assert set(warned) == {"samm/028/028_4_1", "samm/032/032_3_1"}
    for text in warned.values():
        assert "lies outside" in text
        assert text.endswith("taken as not annotated: the apex rule finds one")


def test_apexes_beside_a_border_are_used_and_noted(root):
    notes = [str(note) for note in samm.survey(root).of_level("note") if "next to" in note.what]
    assert [note.partition(":")[0] for note in notes] == ["samm/026/026_3_3", "samm/032/032_3_2"]
    clips = {clip.key: clip for clip in samm.read(root)}
    assert clips["samm/032/032_3_2"].apex == clips["samm/032/032_3_2"].onset + 1


@pytest.mark.parametrize(
    ("cells", "level", "expected"),
    [
        ({"ApexFrame": "/"}, "warning", "Apex Frame '/'; taken as not annotated"),
        ({"ApexFrame": FIRST.onset}, "warning", "is the onset; taken as not annotated"),
        ({"OnsetFrame": None}, "warning", "Onset Frame ''; taken from the files"),
        ({"OffsetFrame": FIRST.offset + 9}, "warning", "is used"),
        ({"ObjectiveClasses": 8}, "warning", "objective class '8'; none from 1 to 7"),
        ({"ObjectiveClasses": None}, "warning", "objective class ''; none from 1 to 7"),
        ({"EstimatedEmotion": "Surprised"}, "warning", "emotion 'surprised'; none of the release"),
        ({"OnsetFrame": FIRST.offset + 20}, "error", "the clip is left out"),
        ({"Filename": "006_8_8"}, "error", "no pictures in"),
    ],
)
def test_an_odd_cell_is_told(tmp_path, cells, level, expected):
    written(tmp_path, fake.full_rows()[:2], **cells)
    survey = samm.survey(tmp_path)
    assert any(expected in text for text in told(survey, level).values())
    assert len(survey.clips) == (1 if level == "error" else 2)


def test_rows_without_a_name_or_for_the_second_time_are_left_out(tmp_path):
    again = replace(FIRST, apex=FIRST.apex + 3)
    written(tmp_path, [replace(FIRST, name="006_1_9"), FIRST, again], Filename=None)
    survey = samm.survey(tmp_path)
    assert [clip.apex for clip in survey.clips] == [FIRST.apex]
    texts = "".join(told(survey, "warning").values())
    assert "without subject or file name" in texts
    assert f"{FIRST.key} for the second time" in texts


def test_a_duration_that_was_never_computed_does_not_matter_but_a_frame_does(tmp_path):
    written(tmp_path, [FIRST])  # every duration of the replicas is such a formula
    assert samm.read(tmp_path)[0].onset == FIRST.onset
    written(tmp_path / "again", [FIRST], OnsetFrame="=E15-20")
    with pytest.raises(BadInput, match="row 15, column Onset Frame: a formula that was never computed"):
        samm.read(tmp_path / "again")


# Damaged copies and wrong folders


def test_a_frame_that_is_missing_is_a_warning(tmp_path):
    written(tmp_path, [FIRST])
    (fake.folder_of(tmp_path, FIRST) / FIRST.files[4]).unlink()
    survey = samm.survey(tmp_path)
    assert f"1 frame without a file, the first {FIRST.onset + 4}" in told(survey, "warning")[FIRST.key]
    assert survey.clips[0].frames.file(FIRST.onset + 4).name == FIRST.files[3]


def test_clips_without_pictures_stop_the_reading_or_are_left_out(tmp_path):
    rows = fake.full_rows()[:3]
    written(tmp_path, rows)
    for file in fake.folder_of(tmp_path, rows[1]).iterdir():
        file.unlink()
    with pytest.raises(BadInput, match="no pictures in"):
        samm.read(tmp_path)
    with pytest.warns(UserWarning, match=rows[1].key):
        assert [clip.key for clip in samm.read(tmp_path, damaged="skip")] == [rows[0].key, rows[2].key]


def test_a_table_beside_the_folder_names_the_one_to_give(tmp_path):
    folder = written(tmp_path / "SAMM", [FIRST])
    (folder / fake.TABLE).rename(tmp_path / fake.TABLE)
    with pytest.raises(BadInput, match=f"give {tmp_path}, which holds both$"):
        samm.read(folder)
    assert len(samm.read(tmp_path)) == 1


def test_faces_that_users_cut_out_are_not_read(tmp_path):
    (tmp_path / "SAMM_CROP").mkdir()
    with pytest.raises(BadInput, match="faces that users cut out are not read"):
        samm.read(tmp_path)


def test_a_missing_table_and_settings_it_does_not_have_are_refused(tmp_path):
    written(tmp_path, [FIRST])
    with pytest.raises(BadInput, match=r"a setting of samm \(none\)"):
        samm.read(tmp_path, tree="raw")
    (tmp_path / fake.TABLE).unlink()
    with pytest.raises(BadInput, match="the table samm_micro_facs_codes_v2"):
        samm.read(tmp_path)


# Pictures


def test_gray_pictures_have_three_equal_channels(tmp_path):
    row = fake.small_rows()[0]
    fake.table(tmp_path, [row])
    for name in row.files:
        pictures.noise(fake.folder_of(tmp_path, row) / name, (96, 65), gray=True)
    [clip] = samm.read(tmp_path)
    picture = clip.frames.read(clip.onset)
    assert picture.shape == (65, 96, 3)
    assert np.ptp(picture, axis=2).max() == 0
    assert clip.frames.shows == "frame"
    (fake.folder_of(tmp_path, row) / row.files[2]).write_bytes(b"no picture")
    checkup = doctor.check("samm", tmp_path, pictures=True)
    assert checkup.pictures == 5
    assert row.files[2] in next(finding.what for finding in checkup.findings if finding.level == "error")


def test_rendered_clips_show_a_face_that_moves(tmp_path):
    fake.small(tmp_path)
    data = datasets.load("samm", tmp_path)
    assert Counter(clip.emotion for clip in data.clips) == {"happiness": 3, "anger": 3, "surprise": 3}
    clip = data.clips[0]
    onset, apex = (clip.frames.read(number).astype(int) for number in (clip.onset, clip.apex))
    assert onset.shape == (480, 640, 3)
    assert np.abs(onset - apex).max() > 20
