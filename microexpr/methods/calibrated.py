"""Probabilities that can be taken at their word: a temperature, and a threshold under which nothing is answered.

Both are fitted on answers for people that the model did not see in training. A temperature has to earn its place: it is
used only where it `helps` people that it was not fitted on either. numpy only.

References:
    Temperature: Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017, Sec. 4.2.
    Threshold: Chow, On Optimum Recognition Error and Reject Tradeoff, IEEE Trans. Information Theory 16(1), 1970.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int

from microexpr.errors import BadInput

SMALLEST = 1e-6  # a probability of 0 counts as this: its logarithm is asked for
COLDEST, HOTTEST = 0.05, 20.0  # the temperatures that are searched


def temper(probabilities: Float[np.ndarray, "*clip class"], temperature: float) -> Float[np.ndarray, "*clip class"]:
    """p^(1/T), normalized: softer than `probabilities` above T = 1, sharper below it; the order of classes stays.

    Args:
        probabilities: of every class; the last axis has the sum 1. Less than 1e-6 counts as 1e-6.
        temperature: T, above 0; 1 changes nothing.

    Raises:
        BadInput: the temperature is not a finite number above 0.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise BadInput("a temperature above 0", repr(temperature), "1 changes nothing")
    if temperature == 1:
        return probabilities
    scaled = np.log(np.maximum(probabilities, SMALLEST)) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def best_temperature(truth: Int[np.ndarray, " clip"], probabilities: Float[np.ndarray, "clip class"]) -> float:
    """The temperature from 0.05 to 20 with the smallest mean negative log likelihood of the true classes.

    The loss is convex in 1/T, so its slope has one zero, which bisection finds.

    Raises:
        BadInput: no clips, or not one row of probabilities for each.
    """
    _check(truth, probabilities)
    logits = np.log(np.maximum(probabilities, SMALLEST)).astype(np.float64)
    given = logits[np.arange(len(truth)), truth]

    def slope(inverse: float) -> float:
        """Of the mean loss in 1/T: the logit that the model expects less the one of the true class."""
        powers = np.exp(inverse * (logits - logits.max(axis=1, keepdims=True)))
        expected = (powers * logits).sum(axis=1) / powers.sum(axis=1)
        return float((expected - given).mean())

    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)


def best_threshold(
    truth: Int[np.ndarray, " clip"], probabilities: Float[np.ndarray, "clip class"], share: float = 0.75
) -> float:
    """The smallest top probability from which on at least `share` of the answers are right.

    A clip is answered where its top probability is not under the threshold.

    Returns:
        One of the top probabilities; 0 where all clips can be answered; infinity where none can.

    Raises:
        BadInput: no clips, not one row of probabilities for each, or a share out of 0..1.
    """
    _check(truth, probabilities)
    if not 0 <= share <= 1:
        raise BadInput("a share from 0 to 1", repr(share), "e.g. 0.75")
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    levels, first = np.unique(-top, return_index=False, return_inverse=True)  # the surest clips first
    counts = np.bincount(first).cumsum()
    accuracy = np.bincount(first, right).cumsum() / counts
    enough = np.flatnonzero(accuracy >= share)
    if not len(enough):
        return math.inf
    return 0.0 if enough[-1] == len(levels) - 1 else float(-levels[enough[-1]])


def fit(
    truth: Int[np.ndarray, " clip"], probabilities: Float[np.ndarray, "clip class"], tempered: bool
) -> tuple[float, float]:
    """Temperature, and the threshold of the probabilities that it makes; the temperature is 1 unless `tempered`.

    Raises:
        BadInput: no clips, or not one row of probabilities for each.
    """
    temperature = best_temperature(truth, probabilities) if tempered else 1.0
    return temperature, best_threshold(truth, temper(probabilities, temperature))


def left_out(
    truth: Int[np.ndarray, " clip"],
    probabilities: Float[np.ndarray, "clip class"],
    fold: Int[np.ndarray, " clip"],
    tempered: bool,
) -> tuple[Float[np.ndarray, "clip class"], Bool[np.ndarray, " clip"]]:
    """Every fold with the temperature and threshold that `fit` finds on the others.

    Args:
        truth: class numbers.
        probabilities: from a model that was not trained on the clip's fold.
        fold: number of every clip's fold; two folds or more.
        tempered: whether there is a temperature.

    Returns:
        The probabilities, and which clips are answered.

    Raises:
        BadInput: a single fold, no clips, or not one row of probabilities for each.
    """
    given, answered = np.empty_like(probabilities), np.empty(len(probabilities), dtype=bool)
    for number in np.unique(fold):
        here = fold == number
        temperature, threshold = fit(truth[~here], probabilities[~here], tempered)
        given[here] = temper(probabilities[here], temperature)
        answered[here] = given[here].max(axis=1) >= threshold
    return given, answered


def helps(
    truth: Int[np.ndarray, " clip"], probabilities: Float[np.ndarray, "clip class"], fold: Int[np.ndarray, " clip"]
) -> bool:
    """Whether a temperature lowers the mean negative log likelihood of folds that it was not fitted on.

    Arguments and errors as in `left_out`.
    """
    given, _ = left_out(truth, probabilities, fold, tempered=True)
    return _loss(truth, given) < _loss(truth, probabilities)


def _loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], SMALLEST)).mean())


def _check(truth: np.ndarray, probabilities: np.ndarray) -> None:
    if len(truth) == 0 or len(truth) != len(probabilities):
        raise BadInput(
            "clips, with one row of probabilities each", f"{len(probabilities)} for {len(truth)}", "pass both alike"
        )
