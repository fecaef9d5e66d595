"""The composite set of MEGC 2019 by its rules, on full replicas of the three member sets."""

import re
from collections import Counter

import pytest

from microexpr import datasets
from microexpr.datasets import casme2, composite, doctor
from microexpr.errors import BadInput, DatasetNotFound
from tests.fake import casme2 as fake_casme2
from tests.fake import samm as fake_samm
from tests.fake import smic as fake_smic
from tests.replicas import shared

CLASSES = {
    **{"happiness": 1, "disgust": 0, "repression": 0, "surprise": 2},
    **{"Happiness": 1, "Surprise": 2},
    **dict.fromkeys(("Anger", "Contempt", "Disgust", "Fear", "Sadness"), 0),
    **{"ne": 0, "po": 1, "sur": 2},
}
MISSING = "samm,32,032_3_1"  # from the earlier of the two official lists


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Full replicas that no test changes."""
    made = {"casme2": fake_casme2.full, "smic": fake_smic.full, "samm": fake_samm.full}
    return {name: shared(tmp_path_factory, full) for name, full in made.items()}


@pytest.fixture(scope="module")
def clips(roots):
    return datasets.load("3db", roots).clips


def official_rows():
    """The list of MEGC 2019 for the replicas, from their rows and by no code of the package."""
    casme = [
        (f"sub{row.subject:02d}", row.name, CLASSES[row.emotion])
        for row in fake_casme2.full_rows()
        if row.emotion in CLASSES and row.apex not in ("/", row.onset)
    ]
    smic = [(f"s{clip.subject:02d}", clip.name, CLASSES[clip.code]) for clip in fake_smic.full_clips()]
    samm = [(row.subject, row.name, CLASSES[row.emotion]) for row in fake_samm.full_rows() if row.emotion != "Other"]
    return [
        f"{member},{subject},{name},{label}"
        for member, rows in (("casme2", casme), ("smic", smic), ("samm", samm))
        for subject, name, label in sorted(rows)
    ]


def listed(file, rows):
    """As distributed: no header, lines end as those of Windows."""
    file.write_bytes("".join(f"{row}\r\n" for row in rows).encode())
    return file


# The rules


def test_the_counts_of_table_2_come_out_by_rule(roots, clips):
    assert len(clips) == 442
    assert len({clip.key for clip in clips}) == 442
    assert {name: len({c.subject for c in clips if c.dataset == name}) for name in roots} == {
        **{"casme2": 24, "smic": 16, "samm": 28}
    }
    labels = Counter((clip.dataset, composite.CLASSES[clip.dataset][clip.emotion]) for clip in clips)
    assert [labels["casme2", label] for label in composite.LABELS] == [88, 32, 25]
    assert [labels["smic", label] for label in composite.LABELS] == [70, 51, 43]
    assert [labels["samm", label] for label in composite.LABELS] == [92, 26, 15]
    checkup = doctor.check("3db", roots)
    assert checkup.healthy
    assert checkup.counts["casme2 negative"] == (88, 88)
    assert checkup.chosen["casme2.release"] == "2014"
    assert checkup.chosen["smic.camera"] == "HS"


def test_the_clips_stand_in_the_official_order(clips):
    rows = [",".join(composite._official_row(clip)) for clip in clips]
    assert rows == [row.rpartition(",")[0] for row in official_rows()]


def test_keys_are_those_of_the_published_maps(clips):
    forms = {
        "casme2": r"casme2/sub\d\d/EP\d\d_\w+",
        "smic": r"smic/(s\d\d)/\1_(ne|po|sur)_\d\d",
        "samm": r"samm/(\d{3})/\1_\d_\d+",
    }
    for clip in clips:
        assert re.fullmatch(forms[clip.dataset], clip.key)
        assert clip.key.startswith(f"{clip.subject}/")


def test_what_the_rules_leave_out(roots, clips):
    kept = {clip.key for clip in clips}
    rows = fake_casme2.full_rows()
    motionless = [row.key for row in rows if row.apex in ("/", row.onset)]
    assert len(motionless) == 2
    assert not kept & set(motionless)
    assert set(motionless) <= {clip.key for clip in casme2.read(roots["casme2"])}
    assert {"fear", "sadness", "others", "other"}.isdisjoint({c.emotion for c in clips if c.dataset == "casme2"})
    subjects = {clip.subject for clip in clips}
    assert not subjects & {"casme2/sub10", "casme2/sub18", "samm/025"}
    # Clips whose apex lies outside them are in: they lose the apex, not their place.
    assert {"samm/028/028_4_1", "samm/032/032_3_1"} <= kept


def test_one_member_can_be_asked_for(roots):
    data = datasets.load("3db", roots, part="samm")
    assert (data.part, len(data.clips)) == ("samm", 133)


def test_a_part_needs_the_folder_of_its_own_set_only(roots, later):
    """Who holds a license for one set alone gets the paper's clips of it."""
    (whole,) = [tuple(c for c in datasets.load("3db", roots).clips if c.dataset == "casme2")]
    alone = datasets.load("3db", {"casme2": roots["casme2"]}, part="casme2")
    assert alone.clips == whole
    assert len(alone.clips) == 145
    assert alone.part == "casme2"
    # Labels of 2019: the message names what can be looked at with this one folder.
    with pytest.warns(UserWarning, match="partial copy of casme2: 148 clips, 145 published; .* check casme2 /"):
        datasets.load("3db", {"casme2": later}, part="casme2", **{"casme2.release": "2019"})
    with pytest.raises(BadInput, match=r"a part of 3db \(casme2, smic, samm\), got 'casme3'"):
        datasets.load("3db", roots, part="casme3")
    with pytest.raises(DatasetNotFound, match="MICROEXPR_SMIC"):
        datasets.load("3db", {"casme2": roots["casme2"]})


def test_people_with_one_number_are_told_apart(roots):
    (note,) = [str(one) for one in doctor.check("3db", roots).findings if "numbers of subjects" in one.what]
    casme, smic, samm = (
        {row.subject for row in fake_casme2.full_rows()} - {10, 18},
        set(fake_smic.COUNTS),
        set(fake_samm.PER_SUBJECT) - {25},
    )
    shared = (casme & smic) | (casme & samm) | (smic & samm)
    assert f"{len(shared)} numbers of subjects occur in several sets, the first {min(shared)}" in note


def test_a_member_that_can_not_be_read_is_said_in_words(roots):
    (finding,) = doctor.check("3db", {**roots, "smic": roots["samm"]}).findings
    assert finding.where == "3db"
    assert "SMIC" in finding.what


# Other releases and trees


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """CASME II with the table of 2019 only."""
    return shared(tmp_path_factory, fake_casme2.full, release="2019")


def test_the_later_labels_of_casme2_alone_are_refused(roots, later):
    with pytest.raises(BadInput) as told:
        datasets.load("3db", {**roots, "casme2": later})
    assert str(told.value).startswith(f"expected the table casme2-coding-20140508.xlsx in {later}, got CASME2-")
    assert fake_casme2.LATER in str(told.value)


def test_the_later_labels_give_148_where_they_are_asked_for(roots, later):
    checkup = doctor.check("3db", {**roots, "casme2": later}, **{"casme2.release": "2019"})
    assert not checkup.healthy
    assert checkup.counts["clips"] == (442, 442 - 145 + 148)
    assert checkup.counts["casme2 surprise"] == (25, 28)


def test_both_releases_of_the_table_may_lie_there(roots, tmp_path_factory):
    both = shared(tmp_path_factory, fake_casme2.both_releases)
    assert len(datasets.load("3db", {**roots, "casme2": both}).clips) == 442


def test_smic_e_lacks_three_clips_and_the_check_says_which(roots, tmp_path_factory):
    checkup = doctor.check("3db", {**roots, "smic": shared(tmp_path_factory, fake_smic.full, "extended")})
    assert not checkup.healthy
    assert checkup.counts["clips"] == (442, 439)
    assert checkup.counts["smic negative"] == (70, 68)
    assert checkup.chosen["smic.tree"] == "extended"
    lost = [finding.where for finding in checkup.findings if "lost this recording" in finding.what]
    assert lost == ["smic/s01/s01_ne_02", "smic/s02/s02_sur_05", "smic/s03/s03_ne_20"]


def test_cropped_trees_give_the_same_clips(roots, clips, tmp_path_factory):
    cropped = {
        "casme2": shared(tmp_path_factory, fake_casme2.full, "cropped"),
        "smic": shared(tmp_path_factory, fake_smic.full, "cropped"),
        "samm": roots["samm"],
    }
    options = {"casme2.tree": "cropped", "smic.tree": "cropped"}
    assert datasets.load("3db", cropped, **options).clips == clips


def test_a_member_with_a_missing_clip_stops_or_goes_without_it(roots, tmp_path_factory):
    damaged = {**roots, "smic": shared(tmp_path_factory, fake_smic.cropped_but_one)}
    with pytest.raises(BadInput, match="no s18_sur_03"):
        datasets.load("3db", damaged)
    with pytest.warns(UserWarning, match="no s18_sur_03"):
        assert len(datasets.load("3db", damaged, damaged="skip").clips) == 441


# The official list


def test_the_official_list_agrees(roots, clips, tmp_path):
    file = listed(tmp_path / "combined_3class_gt.csv", official_rows())
    assert composite.check_list(file, clips) == []
    assert doctor.check("3db", roots, official=file).healthy


def test_the_earlier_list_lacks_one_clip(clips, tmp_path):
    rows = [row for row in official_rows() if not row.startswith(MISSING)]
    assert len(rows) == 441
    between = [line for row in rows for line in (row, ",,,")]
    [finding] = composite.check_list(listed(tmp_path / "combined_3class_gt-2.csv", between), clips)
    assert (finding.level, finding.where) == ("error", "samm/032/032_3_1")
    assert str(finding) == "samm/032/032_3_1: not in combined_3class_gt-2.csv; the rule of MEGC 2019 has it"


def test_each_difference_to_a_list_is_named(clips, tmp_path):
    rows = official_rows()
    rows[0] = rows[0][:-1] + str((int(rows[0][-1]) + 1) % 3)
    rows[200] = "smic,s21,s21_ne_01,0"
    found = composite.check_list(listed(tmp_path / "list.csv", rows), clips)
    where = {finding.where: finding.what for finding in found}
    assert len(found) == 3
    assert "by the rule" in where[clips[0].key]
    assert where[clips[200].key] == "not in list.csv"
    assert where["smic/s21/s21_ne_01"] == "in list.csv, not among the clips"


def test_another_order_is_a_warning(clips, tmp_path):
    rows = official_rows()
    [finding] = composite.check_list(listed(tmp_path / "list.csv", [*rows[1:], rows[0]]), clips)
    assert finding.level == "warning"
    assert "another order" in finding.what


@pytest.mark.parametrize(
    "content",
    [b"dataset,sub,clip,label\r\n", b"casme2,sub01,EP02_01f\r\n", b"casme2,sub01,EP02_01f,3\r\n", b"\xff\xfe\x00"],
)
def test_what_is_no_official_list_is_refused(clips, tmp_path, content):
    file = tmp_path / "list.csv"
    file.write_bytes(content)
    with pytest.raises(BadInput, match="give combined_3class_gt"):
        composite.check_list(file, clips)
    with pytest.raises(BadInput, match=r"none\.csv"):
        composite.check_list(tmp_path / "none.csv", clips)


# Folders and settings


def test_a_member_without_a_folder_is_named(roots):
    with pytest.raises(DatasetNotFound, match="MICROEXPR_SAMM"):
        datasets.load("3db", {"casme2": roots["casme2"], "smic": roots["smic"]})
    with pytest.raises(BadInput, match="--root casme2=DIR --root smic=DIR --root samm=DIR"):
        datasets.load("3db", roots["casme2"])
    with pytest.raises(BadInput, match="got casme3"):
        datasets.load("3db", {**roots, "casme3": roots["samm"]})


def test_a_folder_can_come_from_the_environment(roots, monkeypatch):
    monkeypatch.setenv("MICROEXPR_SAMM", str(roots["samm"]))
    assert len(datasets.load("3db", {"casme2": roots["casme2"], "smic": roots["smic"]}).clips) == 442


def test_folders_given_to_the_wrong_members_are_recognized(roots):
    with pytest.raises(BadInput, match="this is SAMM: name the data set samm, or give "):
        datasets.load("3db", {**roots, "casme2": roots["samm"]})
    with pytest.raises(BadInput, match="this is CASME II: name the data set casme2, or give "):
        datasets.load("3db", {**roots, "smic": roots["casme2"]})
    with pytest.raises(BadInput, match="this is SMIC: name the data set smic, or give "):
        datasets.load("3db", {**roots, "samm": roots["smic"]})


@pytest.mark.parametrize("option", ["release", "casme3.tree", "casme2"])
def test_settings_name_their_member(roots, option):
    with pytest.raises(BadInput, match="a setting of a member of 3db"):
        datasets.load("3db", roots, **{option: "2014"})
    with pytest.raises(BadInput, match="release of casme2"):
        datasets.load("3db", roots, **{"casme2.release": "2016"})
