"""SAMM Long Videos: micro- and macro-movements, emotions from the table of SAMM, and the table's oddities."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from microexpr import datasets
from microexpr.datasets import _recordings, doctor, samm_lv
from microexpr.errors import BadInput
from microexpr.evaluation import protocols
from tests.fake import pictures
from tests.fake import samm_lv as fake
from tests.replicas import shared

ROW = fake.FakeRow("006_1", 2, 96, 100, 104, "4", fake.MICRO)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return shared(tmp_path_factory, fake.full)


@pytest.fixture(scope="module")
def found(root):
    return samm_lv.survey(root, kind="all")


def few(root, rows, numbers=range(1, 140)):
    """A copy of a few rows."""
    fake.table(root, rows)
    source = pictures.empty(root)
    for recording in {row.recording for row in rows}:
        pictures.linked(root / "SAMM_longvideos" / recording, fake.names_of(recording, numbers), source)
    return root


def noted(survey, what, level="note"):
    """The one finding that says something."""
    fitting = [finding for finding in survey.of_level(level) if what in finding.what]
    assert len(fitting) == 1, [str(finding) for finding in survey.findings]
    return fitting[0]


@pytest.mark.parametrize(("kind", "clips"), [("micro", 159), ("macro", 343), ("all", 502)])
def test_counts_are_the_published_ones(root, kind, clips):
    checked = doctor.check("samm-lv", root, kind=kind)
    assert checked.healthy
    assert checked.counts["clips"] == (clips, clips)
    assert checked.counts["subjects"][1] == 30
    assert checked.counts["without emotion"] == (None, clips)
    assert checked.chosen == {"kind": kind, "release": "v3", "emotions": "none"}


def test_micro_movements_are_the_usual_kind(root):
    assert {clip.kind for clip in samm_lv.read(root)} == {"micro"}


def test_a_clip_is_as_its_row(found):
    row = fake.full_rows()[4]
    clip = found.clips[4]
    assert (clip.key, clip.subject, clip.dataset) == (row.key, f"samm-lv/{row.recording[:3]}", "samm-lv")
    assert (clip.onset, clip.apex, clip.offset, clip.fps) == (row.onset, row.apex, row.offset, 200.0)
    assert clip.action_units == ("R14",)
    assert clip.emotion == ""
    assert clip.objective_class is None


def test_recordings_are_listed_once_and_no_picture_is_opened(root, monkeypatch):
    listed = []
    real = _recordings.frames_in
    monkeypatch.setattr(_recordings, "frames_in", lambda folder, *rest: listed.append(folder) or real(folder, *rest))
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("a picture was opened"))
    clips = samm_lv.read(root, kind="all")
    assert len(clips) == 502
    assert len(listed) == len(set(listed)) == 147
    assert len({id(clip.frames) for clip in clips}) == 147


def test_widths_of_numbers_differ_between_recordings(found):
    names = {clip.frames.folder.name: clip.frames.file(12).name for clip in found.clips}
    assert names["006_1"] == "006_1_00012.jpg"
    assert names["007_1"] == "007_1_0012.jpg"


def test_fractions_are_rounded_half_up(found):
    rows = fake.full_rows()
    odd = [at for at, row in enumerate(rows) if row.onset % 1]
    assert len(odd) == 143
    for at in odd:
        assert found.clips[at].onset == rows[at].onset - 0.4
        assert found.clips[at].offset == round(rows[at].offset - 0.5999) + 1
    assert "143 rows" in noted(found, "with a fraction").what


@pytest.mark.parametrize(("typed", "read"), [(566.4, 566), (566.5, 567), (567.5, 568), (647.5999, 648), ("566.5", 567)])
def test_one_fraction(tmp_path, typed, read):
    clip = samm_lv.read(few(tmp_path, [replace(ROW, onset=560, apex=typed, offset=700)], range(550, 710)))[0]
    assert clip.apex == read


def test_an_apex_of_minus_one_is_not_annotated(found):
    odd = [at for at, row in enumerate(fake.full_rows()) if row.apex == -1]
    assert len(odd) == 6
    assert [at for at, clip in enumerate(found.clips) if clip.apex is None] == odd
    assert "6 rows" in noted(found, "apex -1").what


def test_an_onset_of_zero_is_the_first_picture(found):
    odd = [at for at, row in enumerate(fake.full_rows()) if row.onset == 0]
    assert len(odd) == 10
    assert {found.clips[at].onset for at in odd} == {1}
    assert "10 rows" in noted(found, "onset 0").what
    assert not found.of_level("warning")


def test_an_offset_behind_the_last_picture_is_moved_there(tmp_path):
    survey = samm_lv.survey(few(tmp_path, [replace(ROW, kind=fake.MACRO, offset=5476)]), kind="macro")
    assert survey.clips[0].offset == 139
    assert noted(survey, "files 1 to 139", "warning")


def test_without_emotions_an_evaluation_by_classes_says_so(found, root):
    assert "put a copy of SAMM's table SAMM_Micro_FACS_Codes_v2.xlsx there" in noted(found, "no emotions").done
    with pytest.raises(BadInput, match=r"none of class negative \(emotions present: none\)"):
        protocols.label(samm_lv.read(root), protocols.megc())
    assert not [finding for finding in samm_lv.survey(root, kind="macro").findings if "emotions" in finding.what]


def test_emotions_come_from_the_table_of_samm(root, tmp_path):
    shutil.copytree(root, tmp_path / "copy", copy_function=lambda source, to: to)  # folders only
    rows = fake.full_rows()
    for recording in fake.recordings():
        names = [path.name for path in (root / "SAMM_longvideos" / recording).glob("*.jpg")]
        pictures.linked(tmp_path / "copy" / "SAMM_longvideos" / recording, names, pictures.empty(tmp_path / "copy"))
    fake.table(tmp_path / "copy", rows)
    fake.emotions(tmp_path / "copy", rows, fake.full_emotions())
    survey = samm_lv.survey(tmp_path / "copy", kind="all")
    assert survey.chosen["emotions"] == fake.EMOTIONS
    counted = samm_lv.counts(survey.clips)
    assert counted["without emotion"] == 343
    assert all(counted[name.lower()] == number for name, number in fake.COUNTS.items())
    labels = protocols.label(survey.clips, protocols.megc()).labels
    assert np.bincount(labels).tolist() == [92, 26, 15]  # SAMM's own in Table 2
    micro = [clip for clip in survey.clips if clip.kind == "micro"]
    assert [clip.objective_class for clip in micro[:8]] == [1, 2, 3, 4, 5, 6, 7, 1]
    assert all(clip.objective_class is None for clip in survey.clips if clip.kind == "macro")


def test_the_type_tells_a_micro_from_a_macro_movement_of_one_name(tmp_path):
    twins = [replace(ROW, kind=fake.MACRO, onset=50, apex=55, offset=80), ROW]
    few(tmp_path, twins)
    fake.emotions(tmp_path, twins, ["Fear"])
    clips = samm_lv.read(tmp_path, kind="all")
    assert [(clip.key, clip.emotion) for clip in clips] == [(ROW.key, ""), (f"{ROW.key}/96", "fear")]
    assert [clip.key for clip in samm_lv.read(tmp_path)] == [f"{ROW.key}/96"]


def test_a_movement_that_is_not_in_the_table_of_samm(tmp_path):
    other = replace(ROW, number=3)
    fake.emotions(few(tmp_path, [ROW, other]), [ROW], ["Fear"])
    survey = samm_lv.survey(tmp_path)
    assert [clip.emotion for clip in survey.clips] == ["fear", ""]
    assert other.key in noted(survey, "no emotion in").what


def test_odd_rows_are_told(tmp_path):
    rows = [ROW, ROW, replace(ROW, onset=97), replace(ROW, recording="thanks"), replace(ROW, number=4, kind="Blink")]
    survey = samm_lv.survey(few(tmp_path, rows))
    assert [clip.key for clip in survey.clips] == [ROW.key, f"{ROW.key}/97"]
    assert noted(survey, "for the second time", "warning")
    assert len([finding for finding in survey.of_level("warning") if "no movement is called" in finding.what]) == 2


def test_fewer_recordings_than_published_are_told(tmp_path):
    assert noted(samm_lv.survey(few(tmp_path, [ROW])), "1 recordings, 147 were published", "warning")


def test_a_missing_recording_stops_or_is_skipped(tmp_path):
    few(tmp_path, [ROW, replace(ROW, recording="007_3")])
    shutil.rmtree(tmp_path / "SAMM_longvideos" / "007_3")
    with pytest.raises(BadInput, match="no pictures of recording 007_3"):
        samm_lv.read(tmp_path)
    with pytest.warns(UserWarning, match="left out"):
        assert len(samm_lv.read(tmp_path, damaged="skip")) == 1


def test_action_units_that_are_none_are_counted(found):
    assert "84 rows" in noted(found, "ref(43)").what
    assert found.clips[3].action_units == ("7B",)


@pytest.mark.parametrize("release", ["V1", "V2"])
def test_releases_of_the_table(tmp_path, release):
    few(tmp_path, [ROW])
    fake.table(tmp_path, [replace(ROW, apex=99)], f"SAMM_LongVideos_{release}_Release.xlsx")
    with pytest.raises(BadInput, match=f"release={release.lower()} or release=v3"):
        samm_lv.read(tmp_path)
    assert samm_lv.read(tmp_path, release=release.lower())[0].apex == 99
    assert samm_lv.read(tmp_path, release="v3")[0].apex == 100


def test_no_table(tmp_path):
    (few(tmp_path, [ROW]) / fake.TABLE).unlink()
    with pytest.raises(BadInput, match=r"the table samm_longvideos_v1_release.xlsx or"):
        samm_lv.read(tmp_path)


def test_rendered_clips_show_their_movement(tmp_path):
    fake.emotions(fake.small(tmp_path, subjects=1), fake.small_rows(1), fake.small_emotions(1))
    data = datasets.load("samm-lv", tmp_path)
    assert protocols.label(data.clips, protocols.megc()).labels.tolist() == [1, 0, 2]
    for clip in data.clips:
        onset, apex = (clip.frames.read(number).astype(int) for number in (clip.onset, clip.apex))
        assert np.abs(apex - onset).max() > 20
        assert np.array_equal(onset[..., 0], onset[..., 2])  # gray
