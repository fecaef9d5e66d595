"""Whether probabilities can be taken at their word: reliability, expected calibration error, Brier score, log loss.

A method that says 80 % should be right on 80 % of the clips of which it says so. UF1 and UAR look at the answer only;
these figures look at the probability that was given to it.

References:
    Reliability and expected calibration error: Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural
    Networks, ICML 2017, Eqs. 2 to 5. Brier score: Brier, Verification of Forecasts Expressed in Terms of Probability,
    Monthly Weather Review 78(1), 1950, Eq. 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from microexpr.errors import BadInput

SMALLEST = 1e-6  # the last digit that a fold's file holds: a 0 there may be anything below half of it


@dataclass(frozen=True)
class Reliability:
    """How far confidence and accuracy agree; confidence is the probability of the top class.

    Attributes:
        confidence: mean confidence of the clips of each bin; NaN for a bin without clips.
        accuracy: share of them whose top class is the true one; NaN for a bin without clips.
        count: clips in each bin. Bin k of n holds the confidences above k / n up to and including (k + 1) / n, so a
            confidence of exactly 1 is in the last bin.
        error: expected calibration error, the mean of |accuracy - confidence| over the bins weighted by their clips, in
            [0, 1]; a bin without clips has no weight.
        surplus: mean confidence less accuracy over all clips; above 0 the method is too sure of itself.
        brier: mean over the clips of the sum over **all** classes of (probability - truth)^2, in [0, 2], as Brier
            defined it; for two classes it is twice the figure that weather services print.
        log_loss: mean negative natural logarithm of the probability given to the true class.
        floored: clips whose true class was given less than 1e-6; they count as 1e-6 in `log_loss`, 13.8 each.
    """

    confidence: Float[np.ndarray, " bin"]
    accuracy: Float[np.ndarray, " bin"]
    count: Int[np.ndarray, " bin"]
    error: float
    surplus: float
    brier: float
    log_loss: float
    floored: int


def reliability(
    truth: Int[np.ndarray, " clip"], probabilities: Float[np.ndarray, "clip class"], bins: int = 10
) -> Reliability:
    """Compares how sure a method was with how often it was right.

    Args:
        truth: class numbers.
        probabilities: of every class, each row with the sum 1; of equal top classes the first counts.
        bins: of equal width from 0 to 1.

    Raises:
        BadInput: no clips, a class number out of range, or rows that are no probabilities.
    """
    _check(truth, probabilities, bins)
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    # left: a confidence on an edge belongs to the bin below it
    bin_of = np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")
    count = np.bincount(bin_of, minlength=bins)
    weight = np.where(count > 0, count, np.nan)
    sure = np.bincount(bin_of, confidence, minlength=bins) / weight
    accuracy = np.bincount(bin_of, right, minlength=bins) / weight
    given = probabilities[np.arange(len(truth)), truth]
    # sum over c of (p_c - o_c)^2 with o one-hot at the truth t: sum p_c^2 - 2 p_t + 1
    squared = (probabilities**2).sum(axis=1) - 2 * given + 1
    return Reliability(
        confidence=sure,
        accuracy=accuracy,
        count=count,
        error=float(np.nansum(count * np.abs(accuracy - sure)) / len(truth)),
        surplus=float(confidence.mean() - right.mean()),
        brier=float(squared.mean()),
        log_loss=float(-np.log(np.clip(given, SMALLEST, 1)).mean()),
        floored=int((given < SMALLEST).sum()),
    )


def _check(truth: np.ndarray, probabilities: np.ndarray, bins: int) -> None:
    if len(truth) == 0:
        raise BadInput("at least one clip", "none", "finish at least one fold first")
    if len(truth) != len(probabilities):
        raise BadInput("one row of probabilities per clip", f"{len(probabilities)} for {len(truth)}", "pass both alike")
    if bins < 1:
        raise BadInput("at least one bin", str(bins), "e.g. 10")
    classes = probabilities.shape[1]
    wrong = truth[(truth < 0) | (truth >= classes)]
    if wrong.size:
        raise BadInput(f"class numbers 0 to {classes - 1}", f"{int(wrong[0])} in truth", "check the label map")
    # NaN fails both comparisons
    sound = (probabilities >= -1e-6).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) <= 2e-3)
    if not sound.all():
        row = probabilities[int(np.flatnonzero(~sound)[0])].tolist()
        raise BadInput("probabilities that sum to 1", f"{row}", "turn the scores into probabilities first")
