"""Splits: no subject on both sides, every clip tested once, clear words where a split is impossible."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microexpr.errors import BadInput, UnknownName
from microexpr.evaluation import protocols
from tests.clips import flow_clip, flow_clips


@given(st.lists(st.sampled_from([f"sub{number:02d}" for number in range(9)]), min_size=12, max_size=40))
def test_every_split_is_by_subject_and_tests_every_clip_once(subjects):
    clips = [flow_clip(number, number % 3, subject) for number, subject in enumerate(subjects)]
    count = len(set(subjects))
    for split, folds in (("loso", 2), ("subject-k-fold", 2), ("subject-k-fold", 3)):
        if count < max(folds, 2):
            continue
        made = protocols.folds(clips, protocols.megc(split, folds))
        assert sorted(row for fold in made for row in fold.test) == list(range(len(clips)))
        for fold in made:
            assert sorted(fold.train + fold.test) == list(range(len(clips)))
            assert not {clips[row].subject for row in fold.train} & {clips[row].subject for row in fold.test}
        assert len(made) == (count if split == "loso" else folds)


def test_subjects_of_the_same_name_in_two_databases_are_two_subjects():
    clips = flow_clips(2, 3, "casme2") + flow_clips(2, 3, "samm")
    folds = protocols.folds(clips, protocols.megc())
    assert [fold.name for fold in folds] == ["casme2/sub00", "casme2/sub01", "samm/sub00", "samm/sub01"]


def test_leave_one_dataset_out():
    clips = flow_clips(2, 3, "casme2") + flow_clips(2, 3, "samm")
    folds = protocols.folds(clips, protocols.megc("leave-one-dataset-out"))
    assert [(fold.name, len(fold.test)) for fold in folds] == [("casme2", 6), ("samm", 6)]
    with pytest.raises(BadInput, match="composite"):
        protocols.folds(flow_clips(2, 3), protocols.megc("leave-one-dataset-out"))


def test_one_subject_can_not_be_left_out():
    with pytest.raises(BadInput, match=r"at least 2 subjects .* got 1"):
        protocols.folds(flow_clips(1, 6), protocols.megc())


def test_too_few_subjects_for_k_folds():
    with pytest.raises(BadInput, match="10 folds"):
        protocols.folds(flow_clips(4, 3), protocols.megc("subject-k-fold", 10))
    with pytest.raises(BadInput, match="at least 2 folds, got 1"):
        protocols.folds(flow_clips(4, 3), protocols.megc("subject-k-fold", 1))


def test_an_unknown_protocol_gets_the_nearest_spelling():
    with pytest.raises(UnknownName, match="did you mean 'loso'"):
        protocols.megc("losso")


def test_labels_follow_the_megc_map_and_others_are_dropped():
    emotions = ["Happiness", "disgust", "repression", "surprise", "others", "Anger", "positive"]
    clips = [dataclasses.replace(flow_clip(n, 0, "sub01"), emotion=emotion) for n, emotion in enumerate(emotions)]
    labelled = protocols.label(clips, protocols.megc())
    assert [clip.emotion for clip in labelled.clips] == [emotion for emotion in emotions if emotion != "others"]
    np.testing.assert_array_equal(labelled.labels, [1, 0, 0, 2, 0, 1])


def test_a_class_without_a_clip_is_named():
    clips = [clip for clip in flow_clips(3, 3) if clip.emotion != "surprise"]
    with pytest.raises(BadInput, match="none of class surprise"):
        protocols.label(clips, protocols.megc())


@pytest.mark.parametrize("name", protocols.LABELS)
def test_label_maps_name_their_classes_and_their_source(name):
    chosen = protocols.LABELS[name]
    assert set(chosen.class_of.values()) == set(chosen.classes)
    assert len(set(chosen.classes)) == len(chosen.classes)
    assert chosen.source
    assert chosen.of in ("emotion", "objective_class")


def test_objective_classes_are_labels_too():
    clips = [dataclasses.replace(flow_clip(n, 0, "sub01"), objective_class=1 + n % 7) for n in range(14)]
    labelled = protocols.label(clips, protocols.make("objective-5"))
    np.testing.assert_array_equal(labelled.labels, [0, 1, 2, 3, 4] * 2)
    without = dataclasses.replace(clips[0], objective_class=None)
    assert len(protocols.label([without, *clips[1:]], protocols.make("objective-7")).clips) == 13


def test_own_labels_are_the_emotions_of_the_set():
    clips = [dataclasses.replace(flow_clip(n, 0, "sub01"), emotion=("Fear", "anger")[n % 2]) for n in range(4)]
    made = protocols.make("own", clips=clips)
    assert made.classes == ("anger", "fear")
    np.testing.assert_array_equal(protocols.label(clips, made).labels, [1, 0, 1, 0])
    with pytest.raises(BadInput, match="at least 2 emotions"):
        protocols.make("own", clips=clips[::2])
    with pytest.raises(UnknownName, match="label map"):
        protocols.make("meg")
