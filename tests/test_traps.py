"""Thirteen traps of the real data sets: each is met by a stated policy, and `microexpr check` says so in a line.

What the policy does to a clip is tested in the set's own module; here stands that none of them is passed over in
silence.
"""

import functools

import numpy as np
import openpyxl
import pytest

from microexpr.datasets import composite, doctor
from microexpr.evaluation import metrics, published
from tests.fake import casme2, casme3, casme_sq, megc2019_flow, samm, samm_lv, smic
from tests.replicas import shared


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Full replicas by name; that of CASME II with both releases of its table, and its pictures nested."""
    return {name: shared(tmp_path_factory, made) for name, made in MADE.items()}


MADE = {
    **{
        "casme2": casme2.both_releases,
        "samm": samm.full,
        "smic": smic.full,
        "casme3": casme3.full,
        "casme-sq": casme_sq.full,
    },
    **{"samm-lv": samm_lv.full, "megc2019-flow": megc2019_flow.by_list},
    "smic-cropped": smic.cropped_but_one,
}
# Trap, data set, its settings, level of the finding, what it says.
LINES = [
    (1, "casme2", {"release": "2014"}, "note", "apex '/'; taken as not annotated"),
    (1, "casme2", {"release": "2014"}, "note", "action units '?'"),
    (2, "casme2", {"release": "2014"}, "note", "3 clips have another emotion in the release of 2019"),
    (2, "casme2", {"release": "2019"}, "note", "MEGC 2019, and with it 3db, counts by the labels of 2014"),
    (3, "samm", {}, "note", "the header stands in row 14"),
    (3, "samm", {}, "warning", "samm/028/028_4_1: the apex"),
    (3, "samm", {}, "warning", "samm/032/032_3_1: the apex"),
    (4, "samm", {}, "note", "4 digits in 104 clips, 5 digits in 55 clips; folders are listed"),
    (5, "smic", {}, "note", "clips are called s1_ne_01 here, s01_ne_01 by MEGC 2019"),
    (6, "smic", {}, "note", "no apex is annotated"),
    (6, "smic", {}, "note", "no table; of each clip the first file is the onset, the last the offset"),
    (6, "smic", {}, "note", "smic/s03/s03_po_08: 2 frames without a file"),
    (6, "smic-cropped", {"tree": "cropped"}, "error", "no s18_sur_03"),
    (7, "casme3", {}, "note", "numbers stored as text: 860 rows"),
    (7, "casme3", {}, "note", "the emotion others is written Others: 3 rows"),
    (7, "casme3", {}, "note", "the recording j is written J: 1 row"),
    (7, "casme3", {}, "note", "folders are written spNo."),
    (7, "casme3", {}, "note", "the onset tells them apart"),
    (7, "casme3", {}, "note", "offset 0: 2 rows"),
    (7, "casme3", {}, "warning", "one digit away"),
    (7, "casme3", {}, "warning", "is the onset; taken as not annotated"),
    (8, "casme-sq", {"kind": "all"}, "note", "no header in the sheet CASFEcode_final (sic)"),
    (8, "casme-sq", {"kind": "all"}, "note", "offset 0: 44 rows"),
    (8, "casme-sq", {"kind": "all"}, "note", "apex 0: 1 row"),
    (8, "casme-sq", {"kind": "all"}, "note", "s19/23_0502funnyerrors: by its name a video of s23"),
    (9, "samm-lv", {"kind": "all"}, "note", "the header stands in row 10"),
    (9, "samm-lv", {"kind": "all"}, "note", "frame numbers with a fraction: 143 rows"),
    (9, "samm-lv", {"kind": "all"}, "note", "apex -1: 6 rows"),
    (9, "samm-lv", {"kind": "all"}, "note", "onset 0: the recording begins within the movement: 10 rows"),
    (10, "3db", {}, "note", "numbers of subjects occur in several sets"),
    (11, "casme2", {"release": "2014"}, "note", "files of no clip: Desktop - Shortcut.lnk"),
    (11, "casme2", {"release": "2014"}, "note", "sub24/EP02_07: no row of the table names this folder"),
    (12, "megc2019-flow", {}, "note", "442 of 442 with each channel stretched to 0..255: no gray value means rest"),
]


@pytest.fixture(scope="module")
def checked(roots):
    """What the doctor says of a replica, asked once."""

    @functools.cache
    def check(name, settings):
        place = {member: roots[member] for member in composite.MEMBERS} if name == "3db" else roots[name]
        return doctor.check(name.partition("-cropped")[0], place, **dict(settings)).findings

    return lambda name, options: check(name, tuple(options.items()))


@pytest.mark.parametrize(("trap", "name", "options", "level", "text"), LINES)
def test_the_doctor_says_what_is_done(checked, trap, name, options, level, text):
    found = checked(name, options)
    assert any(text in str(finding) for finding in found if finding.level == level), trap


def test_nested_archives_are_told(roots, checked):
    (nested,) = [finding for finding in checked("casme2", {"release": "2014"}) if "of the same name" in finding.what]
    assert nested.where == str(roots["casme2"] / "CASME2_RAW_selected")


def test_numbers_as_text_are_told(tmp_path):
    rows = casme2.small_rows(1)
    file = casme2.table(tmp_path, rows)
    book = openpyxl.load_workbook(file)
    book["Sheet1"]["D2"] = "96"
    book.save(file)
    for row in rows:
        casme2.folder_of(tmp_path, row).mkdir(parents=True)
    found = doctor.check("casme2", tmp_path)
    assert any("numbers stored as text in 1 of 3 rows, the first row 2" in str(one) for one in found.findings)


def test_the_13th_trap_is_a_figure_of_others():
    """A published UAR that is average precision: ours is recall, and the note beside the printed figure says so."""
    truth, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 1, 2])
    found = metrics.scores(truth, predicted, ("a", "b", "c"))
    assert found.uar == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert found.uar != pytest.approx((1 + 1 / 2 + 1) / 3)  # precision
    note = published.published("ststnet", "3db").note
    assert "precision" in note
