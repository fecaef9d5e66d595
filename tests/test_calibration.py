"""Reliability, calibration error, Brier score, log loss, temperatures, thresholds: by hand and by slow definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from microexpr.errors import BadInput
from microexpr.evaluation.calibration import reliability
from microexpr.methods import calibrated

PROBABILITIES = st.lists(st.tuples(*[st.floats(0.01, 1)] * 3), min_size=1, max_size=9).map(
    lambda rows: np.array(rows) / np.sum(rows, axis=1, keepdims=True)
)


def test_four_clips_by_hand() -> None:
    truth = np.array([0, 1, 1, 0])
    probabilities = np.array([[0.9, 0.1], [0.85, 0.15], [0.25, 0.75], [0.55, 0.45]])
    got = reliability(truth, probabilities)
    # confidences .9 (right), .85 (wrong), .75 (right), .55 (right); .9 is the upper edge of the bin above .8
    assert got.count.tolist() == [0, 0, 0, 0, 0, 1, 0, 1, 2, 0]
    assert got.confidence[8] == pytest.approx(0.875)
    assert got.accuracy[8] == 0.5
    assert (got.confidence[7], got.accuracy[7]) == (0.75, 1)
    # (2 |.5 - .875| + |1 - .75| + |1 - .55|) / 4
    assert got.error == pytest.approx((0.75 + 0.25 + 0.45) / 4)
    # mean confidence 3.05 / 4 less 3 right of 4
    assert got.surplus == pytest.approx(3.05 / 4 - 0.75)
    # over both classes: 2 (.1^2 + .85^2 + .25^2 + .45^2) / 4
    assert got.brier == pytest.approx(2 * (0.01 + 0.7225 + 0.0625 + 0.2025) / 4)
    assert got.log_loss == pytest.approx(-math.log(0.9 * 0.15 * 0.75 * 0.55) / 4)
    assert got.floored == 0


def test_bins_without_clips_have_no_figure_and_no_weight() -> None:
    got = reliability(np.array([0, 1]), np.array([[0.7, 0.3], [0.3, 0.7]]))
    assert np.isnan(got.confidence[got.count == 0]).all()
    assert np.isnan(got.accuracy[got.count == 0]).all()
    assert got.count.sum() == 2
    assert got.error == pytest.approx(0.3)


def test_confidence_of_exactly_one_is_in_the_last_bin() -> None:
    got = reliability(np.array([0, 1, 2]), np.eye(3))
    assert got.count.tolist() == [0] * 9 + [3]
    assert (got.confidence[9], got.accuracy[9]) == (1, 1)
    assert (got.error, got.surplus, got.brier, got.log_loss) == (0, 0, 0, 0)


@pytest.mark.parametrize("number", range(4, 10))
def test_edges_belong_to_the_bin_below(number: int) -> None:
    edge = number / 10  # .7 * 10 is above 7 in binary: the bin must not be found by multiplying
    row = np.array([[edge, (1 - edge) / 2, (1 - edge) / 2]])
    assert reliability(np.array([0]), row).count[number - 1] == 1


def test_the_worst_answer_is_finite() -> None:
    got = reliability(np.array([1, 1]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert (got.error, got.surplus, got.brier, got.floored) == (1, 1, 2, 2)
    assert got.log_loss == pytest.approx(-math.log(1e-6))


def test_a_method_that_draws_its_truth_from_its_probabilities_is_calibrated() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet([1, 1, 1], 20_000)
    truth = (generator.random((20_000, 1)) > probabilities.cumsum(1)).sum(1)
    assert reliability(truth, probabilities).error < 0.01
    sharper = probabilities**3 / (probabilities**3).sum(1, keepdims=True)
    got = reliability(truth, sharper)
    assert got.surplus > 0.15
    assert got.error == pytest.approx(got.surplus, abs=0.01)
    assert got.brier > reliability(truth, probabilities).brier  # the score is proper: the true probabilities win
    assert got.log_loss > reliability(truth, probabilities).log_loss


@given(
    weights=st.lists(st.tuples(*[st.floats(0.01, 1)] * 3), min_size=1, max_size=40),
    bins=st.integers(1, 15),
    seed=st.integers(0, 99),
)
def test_agrees_with_the_definitions(weights: list[tuple[float, float, float]], bins: int, seed: int) -> None:
    probabilities = np.array(weights) / np.sum(weights, axis=1, keepdims=True)
    truth = np.random.default_rng(seed).integers(3, size=len(weights))
    got = reliability(truth, probabilities, bins)
    error = brier = 0.0
    for number in range(bins):  # clip by clip, bin by bin
        inside = [
            (max(row), float(np.argmax(row) == label))
            for row, label in zip(probabilities.tolist(), truth.tolist(), strict=True)
            if number / bins < max(row) <= (number + 1) / bins or (number + 1 == bins and max(row) > 1)
        ]
        assert got.count[number] == len(inside)
        error += abs(sum(right for _, right in inside) - sum(sure for sure, _ in inside))
    for row, label in zip(probabilities.tolist(), truth.tolist(), strict=True):
        brier += sum((value - (label == number)) ** 2 for number, value in enumerate(row))
    assert got.error == pytest.approx(error / len(truth))
    assert got.brier == pytest.approx(brier / len(truth))
    assert got.log_loss == pytest.approx(log_loss(truth, probabilities, labels=[0, 1, 2]))
    assert abs(got.surplus) <= got.error + 1e-12


@pytest.mark.parametrize(
    ("truth", "rows", "bins", "reason"),
    [
        ([], np.zeros((0, 3)), 10, "at least one clip"),
        ([0, 1, 3], np.eye(3), 10, "3 in truth"),
        ([0, 1, 2], np.eye(3), 0, "at least one bin"),
        ([0, 1, 2], np.eye(3) * 2, 10, "sum to 1"),
        ([0], np.array([[1.5, -0.5]]), 10, "sum to 1"),
        ([0], np.array([[np.nan, 1.0]]), 10, "sum to 1"),
    ],
)
def test_what_is_no_probability_is_refused(truth: list[int], rows: np.ndarray, bins: int, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        reliability(np.array(truth, dtype=np.int64), rows, bins)


def test_tempering_by_hand() -> None:
    np.testing.assert_allclose(calibrated.temper(np.array([0.8, 0.2]), 2), [2 / 3, 1 / 3])  # sqrt(4) to sqrt(1)
    np.testing.assert_allclose(calibrated.temper(np.array([[0.5, 0.25, 0.25]]), 0.5), [[4 / 6, 1 / 6, 1 / 6]])
    certain = calibrated.temper(np.array([1.0, 0.0, 0.0]), 3)  # 0 counts as 1e-6, whose cube root is 0.01
    np.testing.assert_allclose(certain, np.array([1, 0.01, 0.01]) / 1.02)


@given(PROBABILITIES, st.floats(0.3, 5), st.floats(0.3, 5))
def test_tempering_keeps_order_and_sum(probabilities, first, second) -> None:
    once = calibrated.temper(probabilities, first)
    np.testing.assert_allclose(once.sum(axis=1), 1)
    np.testing.assert_array_equal(once.argmax(axis=1), probabilities.argmax(axis=1))
    if first > 1:
        assert (once.max(axis=1) <= probabilities.max(axis=1) + 1e-12).all()  # softer
    if (once > 1e-5).all():
        np.testing.assert_allclose(
            calibrated.temper(once, second), calibrated.temper(probabilities, first * second), rtol=1e-9
        )


def test_a_temperature_of_1_changes_nothing() -> None:
    probabilities = np.array([[1.0, 0, 0], [0.2, 0.3, 0.5]])
    np.testing.assert_array_equal(calibrated.temper(probabilities, 1), probabilities)


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, np.inf])
def test_no_such_temperature(temperature) -> None:
    with pytest.raises(BadInput, match="a temperature above 0"):
        calibrated.temper(np.array([0.5, 0.5]), temperature)


def drawn_answers(temperature, clips=4000):
    """Answers whose true classes are drawn from their tempered selves."""
    generator = np.random.default_rng(3)
    probabilities = calibrated.temper(generator.dirichlet([1, 1, 1], clips), 0.5)
    true = calibrated.temper(probabilities, temperature).cumsum(axis=1)
    return (generator.random((clips, 1)) > true).sum(axis=1).clip(max=2), probabilities


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_answers_were_drawn_with_is_found(temperature) -> None:
    truth, probabilities = drawn_answers(temperature)
    found = calibrated.best_temperature(truth, probabilities)
    assert found == pytest.approx(temperature, rel=0.08)

    def loss(t):
        return -np.log(calibrated.temper(probabilities, t)[np.arange(len(truth)), truth]).mean()

    grid = np.linspace(0.2, 4, 381)
    assert abs(found - grid[np.argmin([loss(t) for t in grid])]) <= 0.011  # a slow search, step 0.01
    assert loss(found) <= min(loss(t) for t in grid) + 1e-9


def test_temperatures_stay_within_bounds() -> None:
    sure = np.tile([0.6, 0.3, 0.1], (5, 1))
    assert calibrated.best_temperature(np.zeros(5, int), sure) == calibrated.COLDEST  # always right
    assert calibrated.best_temperature(np.full(5, 2), sure) == calibrated.HOTTEST  # always wrong


def test_the_threshold_by_hand() -> None:
    """Tops .9 right, .8 wrong, .7 right, .7 right, .6 wrong, .5 right, .4 wrong."""
    tops = np.array([0.9, 0.8, 0.7, 0.7, 0.6, 0.5, 0.4])
    probabilities = np.stack([tops, (1 - tops) * 0.6, (1 - tops) * 0.4], axis=1)
    truth = np.array([0, 1, 0, 0, 1, 0, 1])
    assert calibrated.best_threshold(truth, probabilities, 0.75) == 0.7  # 3 of 4, equals together; lower 3/5, 4/6, 4/7
    assert calibrated.best_threshold(truth, probabilities, 0.65) == 0.5  # 4 of 6, though 3 of 5 are too few
    assert calibrated.best_threshold(truth, probabilities, 4 / 7) == 0.0  # all are answered
    assert calibrated.best_threshold(1 - truth, probabilities, 0.9) == np.inf  # the surest is wrong
    with pytest.raises(BadInput, match="share"):
        calibrated.best_threshold(truth, probabilities, 75)
    with pytest.raises(BadInput, match="0 for 0"):
        calibrated.best_threshold(truth[:0], probabilities[:0])


def folds_drawn_with(*temperatures, clips=4000):
    """A fold for each temperature: its clips are answered as tempered with it drew them."""
    drawn = [drawn_answers(temperature, clips) for temperature in temperatures]
    truth, probabilities = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    return truth, probabilities, np.repeat(np.arange(len(drawn)), clips)


def test_what_is_fitted_is_a_threshold_of_the_probabilities_that_are_used() -> None:
    truth, probabilities = drawn_answers(2.5)
    temperature, threshold = calibrated.fit(truth, probabilities, tempered=True)
    assert temperature == calibrated.best_temperature(truth, probabilities)
    assert threshold == calibrated.best_threshold(truth, calibrated.temper(probabilities, temperature))
    plain = calibrated.fit(truth, probabilities, tempered=False)
    assert plain == (1, calibrated.best_threshold(truth, probabilities))
    assert plain[1] > threshold > 0  # too sure before


@pytest.mark.parametrize("tempered", [True, False])
def test_a_fold_knows_nothing_of_itself(tempered) -> None:
    truth, probabilities, fold = folds_drawn_with(1.0, 2.5, 1.5, clips=300)
    given, answered = calibrated.left_out(truth, probabilities, fold, tempered)
    here = fold == 1
    temperature, threshold = calibrated.fit(truth[~here], probabilities[~here], tempered)
    expected = calibrated.temper(probabilities[here], temperature)
    np.testing.assert_array_equal(given[here], expected)
    np.testing.assert_array_equal(answered[here], expected.max(axis=1) >= threshold)
    assert 0 < answered[here].mean() < 1
    other = (truth + here) % 3  # other classes in this fold only
    again, still = calibrated.left_out(other, probabilities, fold, tempered)
    np.testing.assert_array_equal(again[here], given[here])
    np.testing.assert_array_equal(still[here], answered[here])
    assert np.array_equal(again[~here], given[~here]) != tempered


@pytest.mark.parametrize(
    ("temperatures", "helps"),
    [
        ((2.0, 2.2), True),  # too sure everywhere
        ((0.5, 0.6, 0.5), True),  # not sure enough everywhere
        ((0.4, 2.5), False),  # each is made worse by the other's, though one T for both together fits better than 1
    ],
)
def test_a_temperature_helps_where_folds_agree(temperatures, helps) -> None:
    truth, probabilities, fold = folds_drawn_with(*temperatures)
    assert calibrated.helps(truth, probabilities, fold) == helps
    assert calibrated.best_temperature(truth, probabilities) != pytest.approx(1, abs=0.1)


def test_a_single_fold_has_no_others() -> None:
    truth, probabilities = drawn_answers(1.0, clips=5)
    with pytest.raises(BadInput, match="0 for 0"):
        calibrated.helps(truth, probabilities, np.zeros(5, int))
