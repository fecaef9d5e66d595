"""Folds trained together give what folds trained alone give."""

import dataclasses

import numpy as np
import pytest
import torch

from microexpr import api, methods
from microexpr.errors import BadInput, FoldFailed
from microexpr.evaluation import results
from microexpr.methods import _stacked
from microexpr.types import Dataset
from tests.clips import flow_clips
from tests.test_methods import QUICK_FOR

CLIPS = flow_clips(4, 3)
LABELS = np.arange(12) % 3
# Folds of other sizes have other numbers of batches: each goes at its own pace.
TRAIN = [np.arange(3, 12), np.array([0, 1, 2, 6, 7, 8, 9]), np.arange(0, 9), np.array([0, 4, 8, 11])]
WATCH = [np.arange(3), np.array([3, 4, 5, 10, 11]), np.arange(9, 12), np.array([1])]
SEEDS = [0, 0, 7, 1]
STACKABLE = [name for name in methods.names() if hasattr(methods.kind_of(name), "fit_folds")]
SLOW = ("alexnet", "dual-inception", "mjfn", "mjfn-avg", "mjfn-bbn")  # two folds tell enough of them
# the smallest settings that still use everything; float32, because bfloat16 rounds too much to compare
SMALL = {"epochs": 3, "batch_size": 4}


def small(name, **settings):
    fields = {field.name for field in dataclasses.fields(methods.kind_of(name))}
    wanted = {**QUICK_FOR.get(name, {}), **SMALL, "precision": "float32", **settings}
    return methods.create(name, **{key: value for key, value in wanted.items() if key in fields})


def traces(method, folds_at_once=None, folds=4):
    x = np.stack([method.represent(clip) for clip in CLIPS])
    sets = TRAIN[:folds], WATCH[:folds], SEEDS[:folds]
    found = dict(_stacked.fit_folds(method, x, LABELS, *sets, folds_at_once))
    alone = {
        fold: dataclasses.replace(method, seed=seed).trace(x[train], LABELS[train], [""] * len(train), x[watch])
        for fold, (train, watch, seed) in enumerate(zip(*sets, strict=True))
    }
    return found, alone


@pytest.mark.parametrize("name", STACKABLE)
def test_stacked_folds_are_those_trained_alone(name):
    """With dropout, too: the masks are those that the fold draws alone."""
    check_equal(*traces(small(name), folds=2 if name in SLOW else 4))


@pytest.mark.parametrize("name", ["mjfn", "off-apexnet"])
def test_stacked_folds_in_bfloat16(name):
    """Rounding is coarse there, and differs where sums are taken in another order."""
    found, alone = traces(small(name, precision="bfloat16", epochs=2), folds=2)
    for fold, trace in alone.items():
        np.testing.assert_allclose(found[fold], trace, atol=4e-3)


def test_stacked_folds_without_dropout():
    check_equal(*traces(small("ststnet", dropout=0.0)))


def check_equal(found, alone):
    assert sorted(found) == sorted(alone)
    for fold, trace in alone.items():
        assert found[fold].shape == trace.shape
        np.testing.assert_allclose(found[fold], trace, atol=2e-4)
        assert np.abs(trace[0] - trace[-1]).max() > 1e-3  # it did learn: three epochs are not one


def test_augmented_and_balanced_folds_too():
    settings = {"augmentation": "mirror-shift", "class_weights": "balanced", "taps": (4,), "representation": "uvs"}
    settings["learning_rate"] = 5e-4
    check_equal(*traces(small("mjfn", **settings), folds=2))


def test_chunks_change_nothing():
    method = small("ststnet")
    whole, _ = traces(method)
    parts, _ = traces(method, folds_at_once=2)
    assert sorted(parts) == sorted(whole)
    for fold, trace in whole.items():
        np.testing.assert_allclose(parts[fold], trace, atol=1e-5)


def test_the_plan_follows_the_memory(monkeypatch):
    method = small("mjfn")
    inputs = torch.from_numpy(np.stack([method.represent(clip) for clip in CLIPS]))
    needed = _stacked.bytes_of_fold(method, inputs)
    weights = sum(parameter.nbytes for parameter in method.network().parameters())
    first_map = 4 * method.batch_size * 48 * 54 * 54
    assert 4 * weights + 2 * first_map < needed < 4 * weights + 40 * first_map
    for free, folds, at_once in ((100, 68, 34), (1000, 68, 68), (40, 68, 23), (0.1, 5, 1)):
        room = int(free * needed / _stacked.SHARE_OF_FREE_MEMORY) + 1
        monkeypatch.setattr(_stacked, "free_memory", lambda device, room=room: room)
        planned = _stacked.plan(method, inputs, folds)
        assert planned <= max(1, free)
        if free in (1000, 0.1):
            assert planned == at_once
        else:
            assert abs(planned - folds / -(-folds // int(free))) < 1


def test_a_fold_that_diverges_does_not_touch_the_others():
    method = small("off-apexnet")
    x = np.stack([method.represent(clip) for clip in CLIPS])
    x[0] = np.inf  # the first fold alone is not trained on it
    found = dict(_stacked.fit_folds(method, x, LABELS, TRAIN, [rows[rows > 0] for rows in WATCH], SEEDS))
    alone = dataclasses.replace(method, seed=0).trace(x[TRAIN[0]], LABELS[TRAIN[0]], [""] * 9, x[[1, 2]])
    np.testing.assert_allclose(found[0], alone, atol=2e-4)
    for fold in (1, 2, 3):
        assert np.isnan(found[fold][-1]).all()


def test_nothing_to_train_is_nothing():
    assert list(_stacked.fit_folds(small("ststnet"), np.zeros((1, 3, 28, 28), np.uint8), LABELS[:1], [], [], [])) == []


def test_free_memory_is_that_of_the_system():
    assert 2**26 < _stacked.free_memory(torch.device("cpu")) < 2**45


def test_too_little_memory_stacks_fewer(monkeypatch):
    """The plan can be wrong where others use the GPU, too: then half as many are tried."""
    method = small("ststnet")
    x = np.stack([method.represent(clip) for clip in CLIPS])
    train, tried = _stacked._Stack.train, []

    def short_of_memory(stack, seeds):
        tried.append(len(seeds))
        if len(seeds) > most:
            raise torch.OutOfMemoryError("as asked")
        return train(stack, seeds)

    monkeypatch.setattr(_stacked._Stack, "train", short_of_memory)
    most = 2
    found = dict(_stacked.fit_folds(method, x, LABELS, TRAIN, WATCH, SEEDS, 4))
    assert tried == [4, 2, 2]
    assert sorted(found) == [0, 1, 2, 3]
    most = 0
    with pytest.raises(BadInput, match="smaller batch_size"):
        list(_stacked.fit_folds(method, x, LABELS, TRAIN, WATCH, SEEDS, 4))


def test_a_stacked_run_gives_the_folds_of_a_spread_one(tmp_path):
    """Both seeds and all selections, within rounding; and it resumes."""
    data = Dataset("replica", tuple(CLIPS))
    asked = {"epochs": 3, "seeds": 2, "select": "last,inner,oracle", "jobs": 1, "settings": {"learning_rate": 0.01}}
    spread = api.evaluate("ststnet", data, runs=tmp_path, **asked)
    stacked = api.evaluate("ststnet", data, runs=tmp_path, stacked=True, **asked)
    assert [run.info["select"] for run in stacked] == ["last", "inner", "oracle"] * 2
    assert not {run.folder for run in spread} & {run.folder for run in stacked}
    for one, other in zip(spread, stacked, strict=True):
        assert one.clips == other.clips
        assert one.epochs == other.epochs
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=2e-3)
    np.testing.assert_allclose(results.read_trace(stacked[2]), results.read_trace(spread[2]), atol=2e-3)
    lost = results.fold_file(stacked[1].folder, stacked[1].folds[1])
    before = lost.read_text()
    lost.unlink()
    api.evaluate("ststnet", data, runs=tmp_path, stacked=True, **asked)
    again = results.read_run(stacked[1].folder)
    assert again.finished == stacked[1].finished
    assert again.epochs == stacked[1].epochs
    np.testing.assert_allclose(again.probabilities, stacked[1].probabilities, atol=1e-5)
    assert len(lost.read_text()) == len(before)


def test_a_stacked_run_tells_of_a_fold_that_diverges(tmp_path):
    data = Dataset("replica", tuple(CLIPS))
    with pytest.raises(FoldFailed, match=r"4 of 4 folds failed.*diverged"):
        api.evaluate(
            "ststnet", data, runs=tmp_path, stacked=True, epochs=4, settings={"learning_rate": 1e30, "threads": 1}
        )


def test_a_method_without_folds_together_says_so(tmp_path):
    with pytest.raises(BadInput, match=r"train its folds together, got flow-svm; leave --stacked out"):
        api.evaluate("flow-svm", Dataset("replica", tuple(CLIPS)), runs=tmp_path, stacked=True)
