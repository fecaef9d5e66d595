"""The real data sets, where somebody who holds a license says where they lie; without a folder nothing is run.

    MICROEXPR_CASME2=/data/CASME2 MICROEXPR_SMIC=/data/SMIC MICROEXPR_SAMM=/data/SAMM pytest tests/test_real_data.py

Beside these three any recorded set can be named, `MICROEXPR_MEGC2019_FLOW` for the published maps, and
`MICROEXPR_OFFICIAL_LIST` for the list of MEGC 2019. The counts are those of the paper's Table 2 (Li et al. 2021).
"""

import os
import time
import warnings

import numpy as np
import pytest

from microexpr import datasets
from microexpr.datasets import composite, doctor
from microexpr.evaluation import protocols

RECORDED = [name for name in datasets.names() if hasattr(datasets.adapter(name), "survey") and name != "3db"]
# Read before the fixture of all tests takes these variables away.
ROOTS = {name: os.environ.get(datasets.root_variable(name)) for name in (*RECORDED, "megc2019-flow")}
LIST = os.environ.get("MICROEXPR_OFFICIAL_LIST")

# Table 2: positive, negative, surprise, subjects.
TABLE_2 = {"casme2": (32, 88, 25, 24), "smic": (51, 70, 43, 16), "samm": (26, 92, 15, 28)}


def root_of(name):
    if not ROOTS[name]:
        pytest.skip(f"{datasets.root_variable(name)} names no folder")
    return ROOTS[name]


@pytest.fixture(scope="module")
def composed():
    return {name: root_of(name) for name in composite.MEMBERS}


@pytest.fixture(scope="module")
def clips(composed):
    return datasets.load("3db", composed).clips


@pytest.mark.parametrize("name", RECORDED)
def test_a_copy_is_whole(name):
    found = doctor.check(name, root_of(name))
    errors = [str(finding) for finding in found.findings if finding.level == "error"]
    assert errors == []
    assert {what: counts for what, counts in found.counts.items() if counts[0] not in (None, counts[1])} == {}


@pytest.mark.parametrize("name", RECORDED)
def test_pictures_can_be_read_where_clips_begin_and_end(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # test_a_copy_is_whole says what is missing
        read = datasets.load(name, root_of(name), damaged="skip").clips
    for at in np.linspace(0, len(read) - 1, 5).astype(int):
        clip = read[at]
        shapes = {clip.frames.read(number).shape for number in (clip.onset, clip.offset)}
        assert len(shapes) == 1
        assert min(shapes)[0] > 100


@pytest.mark.parametrize("member", TABLE_2)
def test_table_2_comes_out_by_rule(clips, member):
    of_member = [clip for clip in clips if clip.dataset == member]
    labels = protocols.label(of_member, protocols.megc()).labels
    negative, positive, surprise = np.bincount(labels, minlength=3).tolist()
    assert (positive, negative, surprise, len({clip.subject for clip in of_member})) == TABLE_2[member]


def test_the_composite_set_has_442_clips_of_68_subjects(clips):
    assert len(clips) == len({clip.key for clip in clips}) == 442
    assert len({clip.subject for clip in clips}) == 68


def test_the_clips_are_those_of_the_published_maps_in_their_order(clips):
    maps = datasets.load("megc2019-flow", root_of("megc2019-flow")).clips
    assert [clip.key for clip in clips] == [clip.key for clip in maps]
    for clip, published in zip(clips, maps, strict=True):
        assert composite.CLASSES[clip.dataset][clip.emotion] == published.emotion


def test_the_official_list_agrees(composed):
    if not LIST:
        pytest.skip("MICROEXPR_OFFICIAL_LIST names no file")
    assert doctor.check("3db", composed, official=LIST).healthy


def test_indexing_casme2_takes_less_than_2_seconds():
    root = root_of("casme2")
    datasets.load("casme2", root)  # the disk has seen the folders
    start = time.perf_counter()
    datasets.load("casme2", root)
    assert time.perf_counter() - start < 2
