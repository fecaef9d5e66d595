"""UF1, UAR, accuracy and intervals, against hand calculation, published logs and scikit-learn."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score

from microexpr.errors import BadInput
from microexpr.evaluation import metrics

CLASSES = ("negative", "positive", "surprise")
# The STSTNet authors' own PyTorch log: truth negative, positive, surprise; 442 clips.
STSTNET = np.array([[195, 39, 16], [36, 68, 5], [12, 7, 64]])


def clips(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction that have this confusion matrix."""
    rows, columns = np.indices(matrix.shape)
    count = matrix.ravel()
    return np.repeat(rows.ravel(), count), np.repeat(columns.ravel(), count)


def test_ststnet_golden() -> None:
    got = metrics.scores(*clips(STSTNET), CLASSES)
    assert np.array_equal(got.confusion, STSTNET)
    assert got.uf1 == pytest.approx(0.72095, abs=5e-6)
    assert got.uar == pytest.approx(0.72498, abs=5e-6)
    assert got.accuracy == pytest.approx(327 / 442)
    assert got.recall == pytest.approx([195 / 250, 68 / 109, 64 / 83])
    assert got.absent == ()


def test_by_hand_where_recall_and_precision_differ() -> None:
    # truth a: 8 clips, 6 right, 2 called b; truth b: 2 clips, 1 right, 1 called a
    #   recall    6/8 = .75,  1/2 = .5    -> UAR .625
    #   precision 6/7 = .857, 1/3 = .333  -> .595, what UAR becomes when truth and prediction are swapped
    #   F1 a = 12/(12+1+2) = .8, F1 b = 2/(2+2+1) = .4 -> UF1 .6 (the same either way round)
    matrix = np.array([[6, 2], [1, 1]])
    assert metrics.unweighted_average_recall(matrix) == pytest.approx(0.625)
    assert metrics.unweighted_average_recall(matrix.T) == pytest.approx((6 / 7 + 1 / 3) / 2)
    assert metrics.unweighted_f1(matrix) == pytest.approx(0.6)
    assert metrics.accuracy(matrix) == pytest.approx(0.7)
    truth, predicted = clips(matrix)
    assert metrics.scores(truth, predicted, "ab").uar == pytest.approx(0.625)
    assert metrics.confusion(truth, predicted, "ab")[0, 1] == 2


def test_majority_class_on_the_442_clips() -> None:
    truth = np.repeat([0, 1, 2], [250, 109, 83])
    name, floor = metrics.majority(truth, CLASSES)
    assert name == "negative"
    assert (round(floor.uf1, 3), round(floor.uar, 3)) == (0.241, 0.333)
    assert floor.accuracy == pytest.approx(250 / 442)


labels = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


@given(pairs=labels, order=st.permutations(range(3)))
def test_class_order_does_not_matter(pairs: list[tuple[int, int]], order: list[int]) -> None:
    truth, predicted = np.array(pairs).T
    renamed = np.array(order)
    one = metrics.scores(truth, predicted, CLASSES, absent="skip")
    two = metrics.scores(renamed[truth], renamed[predicted], CLASSES, absent="skip")
    assert (one.uf1, one.uar) == pytest.approx((two.uf1, two.uar))
    assert one.accuracy == two.accuracy


@given(pairs=labels)
def test_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array([*pairs, (0, 0), (1, 0), (2, 2)]).T  # every class present
    got = metrics.scores(truth, predicted, CLASSES)
    assert got.uf1 == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert got.uar == pytest.approx(recall_score(truth, predicted, average="macro"))
    assert got.accuracy == pytest.approx(accuracy_score(truth, predicted))


@given(pairs=labels)
def test_skip_is_the_mean_over_the_classes_present(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    here = np.unique(truth)
    got = metrics.scores(truth, predicted, CLASSES, absent="skip")
    assert got.uf1 == pytest.approx(f1_score(truth, predicted, labels=here, average="macro", zero_division=0))
    assert got.uar == pytest.approx(recall_score(truth, predicted, labels=here, average="macro"))
    assert got.absent == tuple(name for number, name in enumerate(CLASSES) if number not in here)
    assert np.isnan(got.recall).sum() == len(got.absent)


def test_a_class_that_no_clip_has_is_an_error() -> None:
    truth, predicted = np.array([0, 0, 1]), np.array([0, 2, 1])
    with pytest.raises(BadInput, match="no clip of surprise"):
        metrics.scores(truth, predicted, CLASSES)
    with pytest.raises(BadInput, match="no clip of class 2"):
        metrics.unweighted_f1(np.diag([1, 1, 0]))
    # F1 of negative is 2/(2+1), of positive 1: the clip called surprise still counts against negative
    assert metrics.scores(truth, predicted, CLASSES, absent="skip").uf1 == pytest.approx((2 / 3 + 1) / 2)


def test_errors_say_what_came() -> None:
    one = np.array([0])
    with pytest.raises(BadInput, match="3 in truth"):
        metrics.confusion(np.array([3]), one, CLASSES)
    with pytest.raises(BadInput, match="-1 in predicted"):
        metrics.confusion(one, np.array([-1]), CLASSES)
    with pytest.raises(BadInput, match="at least one clip"):
        metrics.scores(one[:0], one[:0], CLASSES)
    with pytest.raises(BadInput, match="at least one clip"):
        metrics.accuracy(np.zeros((3, 3), int))
    with pytest.raises(BadInput, match="one subject per clip"):
        metrics.bootstrap(one, one, ["a", "b"], CLASSES)
    with pytest.raises(BadInput, match="level"):
        metrics.bootstrap(one, one, ["a"], CLASSES, level=95.0)


def people(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The STSTNet clips dealt out to `count` subjects."""
    truth, predicted = clips(STSTNET)
    dealt = np.random.default_rng(seed).integers(count, size=len(truth))
    return truth, predicted, [f"s{person:03d}" for person in dealt]


def test_bootstrap_contains_the_point_and_repeats_by_seed() -> None:
    truth, predicted, subjects = people(68)
    point = metrics.scores(truth, predicted, CLASSES)
    one = metrics.bootstrap(truth, predicted, subjects, CLASSES, seed=3)
    for name in ("uf1", "uar", "accuracy"):
        low, high = getattr(one, name)
        assert low < getattr(point, name) < high
        assert 0.03 < high - low < 0.2
    assert one == metrics.bootstrap(truth, predicted, subjects, CLASSES, seed=3)
    assert one != metrics.bootstrap(truth, predicted, subjects, CLASSES, seed=4)
    assert one.subjects == 68
    narrow = metrics.bootstrap(truth, predicted, subjects, CLASSES, seed=3, level=0.5)
    assert one.uf1
    assert narrow.uf1
    assert one.uf1[0] < narrow.uf1[0] < narrow.uf1[1] < one.uf1[1]


def test_bootstrap_leaves_the_global_generator_alone() -> None:
    truth, predicted, subjects = people(10)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 -- the global state is what must not move
    metrics.bootstrap(truth, predicted, subjects, CLASSES, resamples=10)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_one_clip_subjects_equal_a_clip_bootstrap() -> None:
    truth, predicted = clips(STSTNET)
    got = metrics.bootstrap(truth, predicted, [str(row) for row in range(442)], CLASSES)
    generator = np.random.default_rng(1)
    plain = []
    for _ in range(1000):  # the definition, clip by clip
        rows = generator.integers(442, size=442)
        plain.append(metrics.scores(truth[rows], predicted[rows], CLASSES).uf1)
    assert got.uf1 == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.01)


def test_clips_of_one_person_widen_the_interval() -> None:
    truth = np.tile([0, 1, 2], 60)
    subjects = [f"s{row // 18}" for row in range(180)]  # ten people
    wrong = np.array([row // 18 % 2 for row in range(180)])  # five people always right, five always wrong
    predicted = (truth + wrong) % 3
    together = metrics.bootstrap(truth, predicted, subjects, CLASSES, resamples=2000).uf1
    alone = metrics.bootstrap(truth, predicted, [str(row) for row in range(180)], CLASSES, resamples=2000).uf1
    assert together
    assert alone
    assert together[1] - together[0] > 3 * (alone[1] - alone[0])


def test_one_subject_has_no_interval() -> None:
    truth, predicted, _ = people(2)
    got = metrics.bootstrap(truth, predicted, ["a"] * 442, CLASSES)
    assert (got.uf1, got.uar, got.accuracy, got.subjects) == (None, None, None, 1)
    assert metrics.paired_difference(truth, predicted, truth, ["a"] * 442, CLASSES).p is None


def test_resamples_without_a_class_are_counted() -> None:
    truth = np.array([0, 1, 0, 1, 2])
    got = metrics.bootstrap(truth, truth, ["a", "a", "b", "b", "c"], CLASSES, resamples=1000)
    # c is missing from (2/3)^3 = 8/27 of the draws, and one more in 27 is c alone: together a third
    assert 0.29 < got.incomplete / 1000 < 0.38
    assert got.uf1 == (1.0, 1.0)


def test_several_seeds_give_the_interval_of_their_mean() -> None:
    truth, predicted, subjects = people(68)
    twice = metrics.bootstrap(truth, np.stack([predicted, predicted]), subjects, CLASSES, resamples=500)
    assert twice == metrics.bootstrap(truth, predicted, subjects, CLASSES, resamples=500)


def test_paired_difference() -> None:
    truth, predicted, subjects = people(68)
    same = metrics.paired_difference(truth, predicted, predicted, subjects, CLASSES, resamples=500)
    assert (same.uf1, same.interval, same.p) == (0.0, (0.0, 0.0), 1.0)
    better = metrics.paired_difference(truth, truth, predicted, subjects, CLASSES, resamples=999)
    assert better.uf1 == pytest.approx(1 - 0.72095, abs=1e-5)
    assert better.interval
    assert better.interval[0] > 0.2
    assert better.p == pytest.approx(2 / 1000)  # no draw on the other side of zero
    worse = metrics.paired_difference(truth, predicted, truth, subjects, CLASSES, resamples=999)
    assert worse.interval == pytest.approx((-better.interval[1], -better.interval[0]))


@settings(max_examples=25)
@given(pairs=labels, folk=st.integers(2, 6))
def test_intervals_are_ordered_fractions(pairs: list[tuple[int, int]], folk: int) -> None:
    truth, predicted = np.array(pairs).T
    subjects = [str(row % folk) for row in range(len(truth))]
    got = metrics.bootstrap(truth, predicted, subjects, CLASSES, resamples=50)
    for bounds in (got.uf1, got.uar, got.accuracy):
        assert bounds is None or 0 <= bounds[0] <= bounds[1] <= 1


def test_ten_thousand_resamples_are_quick() -> None:
    truth, predicted, subjects = people(68)
    start = time.perf_counter()
    metrics.bootstrap(truth, predicted, subjects, CLASSES)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("seeds", [1, 5])
def test_seeds_hardly_cost_time(seeds: int) -> None:
    truth, predicted, subjects = people(68)
    start = time.perf_counter()
    metrics.bootstrap(truth, np.stack([predicted] * seeds), subjects, CLASSES)
    metrics.paired_difference(truth, np.stack([predicted] * seeds), truth, subjects, CLASSES)
    assert time.perf_counter() - start < 2


def test_epoch_curve_is_uf1_epoch_by_epoch() -> None:
    generator = np.random.default_rng(0)
    truth, _ = clips(STSTNET)
    trace = generator.dirichlet([1, 1, 1], (20, 442))
    trace[:, np.arange(442), truth] += np.linspace(0, 1, 20)[:, None]
    curve = metrics.epoch_curve(truth, trace, CLASSES)
    slow = [f1_score(truth, epoch.argmax(axis=1), average="macro") for epoch in trace]
    assert curve == pytest.approx(slow)
    assert curve[-1] == 1
    assert curve[0] < 0.5


def test_epoch_curve_of_800_epochs_is_quick() -> None:
    truth, predicted = clips(STSTNET)
    trace = np.broadcast_to(np.eye(3, dtype=np.float32)[predicted], (800, 442, 3))
    start = time.perf_counter()
    curve = metrics.epoch_curve(truth, trace, CLASSES)
    assert time.perf_counter() - start < 0.5
    assert curve == pytest.approx(np.full(800, 0.72095), abs=5e-6)


def test_epoch_curve_keeps_the_conventions() -> None:
    truth, trace = np.array([0, 0, 1]), np.eye(3)[None, [0, 2, 1]]
    with pytest.raises(BadInput, match="no clip of surprise"):
        metrics.epoch_curve(truth, trace, CLASSES)
    assert metrics.epoch_curve(truth, trace, CLASSES, absent="skip") == pytest.approx([(2 / 3 + 1) / 2])
    with pytest.raises(BadInput, match="2 classes"):
        metrics.epoch_curve(truth, trace, CLASSES[:2])
    with pytest.raises(BadInput, match="at least one epoch"):
        metrics.epoch_curve(truth, trace[:0], CLASSES)
    with pytest.raises(BadInput, match="NaN"):
        metrics.epoch_curve(truth, trace * np.nan, CLASSES)
