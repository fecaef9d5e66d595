"""Reliability, expected calibration error, Brier score and log loss, by hand and against slow definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from microexpr.errors import BadInput
from microexpr.evaluation.calibration import reliability


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
