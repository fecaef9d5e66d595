"""Sparse codes that are smooth along a graph, and the dictionary they are written in.

Minimizes, over the codes s of samples x and the words d of a dictionary, none of them longer than 1,

    sum over samples |x_i - sum_k s_ik d_k|^2  +  sparsity sum |s_ik|  +  smoothness sum over edges (i, j) |s_i - s_j|^2

which is GraphSC (Zheng, Bu, Chen, Wang, Zhang, Qiu and Cai, "Graph regularized sparse coding for image
representation", IEEE Transactions on Image Processing 20(5), 2011, doi:10.1109/TIP.2010.2090535): the last sum is
tr(S L S^T) with the Laplacian L of the graph. Each step minimizes it exactly over one number of a code or over one
word, so it never grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Float64, Int64

from microexpr.errors import BadInput
from microexpr.kernels.warp import jit

ROWS = 512  # of a block of similarities


@dataclass(frozen=True)
class Graph:
    """An undirected graph: the neighbors of sample i are ``ends[starts[i] : starts[i + 1]]``, in rising order."""

    starts: Int64[np.ndarray, " start"]
    ends: Int64[np.ndarray, " end"]


def graph_of(near: Int64[np.ndarray, "sample k"]) -> Graph:
    """The graph in which two samples are joined when one of them is among the nearest of the other.

    Args:
        near: numbers of the nearest samples of each; a negative one stands for none.
    """
    count = len(near)
    begins, ends = np.repeat(np.arange(count), near.shape[1]), near.reshape(-1)
    begins, ends = begins[ends >= 0], ends[ends >= 0]
    both = np.unique(np.concatenate([begins * count + ends, ends * count + begins]))
    begins, ends = np.divmod(both, max(count, 1))
    return Graph(np.searchsorted(begins, np.arange(count + 1)).astype(np.int64), ends.astype(np.int64))


def nearest(motions: Float[np.ndarray, "sample number"], k: int) -> Int64[np.ndarray, "sample k"]:
    """The k samples that are most like each one, the most alike first, by |a - b|^2 / (|a|^2 + |b|^2).

    That is 0 for equal samples, 1 for two that have nothing in common and 2 for opposite ones; what is zero in both
    does not count. Samples without any motion are equal to each other. Of equally distant ones the first is taken; -1
    stands where there are not enough samples.
    """
    exact = np.ascontiguousarray(motions, np.float32)
    squares = np.einsum("sn,sn->s", exact, exact)
    found = np.full((len(exact), k), -1, np.int64)
    for first in range(0, len(exact), ROWS):
        _nearest(exact[first : first + ROWS] @ exact.T, squares, first, found)
    return found


@no_type_check
@jit
def _nearest(products, squares, first, found):
    k = found.shape[1]
    values = np.empty(k, np.float32)
    for row in range(products.shape[0]):
        own, kept = first + row, 0
        for other in range(products.shape[1]):
            if other == own:
                continue
            both = squares[own] + squares[other]
            value = products[row, other] / both if both > 0 else np.float32(0.5)
            if kept == k and not value > values[k - 1]:
                continue
            place = min(kept, k - 1)
            while place > 0 and value > values[place - 1]:
                values[place] = values[place - 1]
                found[own, place] = found[own, place - 1]
                place -= 1
            values[place], found[own, place] = value, other
            kept = min(kept + 1, k)


def encode(
    x: Float[np.ndarray, "sample number"],
    dictionary: Float64[np.ndarray, "word number"],
    graph: Graph,
    sparsity: float,
    smoothness: float,
    *,
    start: Float64[np.ndarray, "sample word"] | None = None,
    sweeps: int = 20,
    tolerance: float = 1e-4,
) -> Float64[np.ndarray, "sample word"]:
    """Codes of samples in a given dictionary, by coordinate descent.

    Args:
        x: the samples.
        dictionary: words of length 1 at most.
        graph: of the samples.
        sparsity, smoothness: weights of the objective.
        start: codes to begin with; by default zeros.
        sweeps: rounds over all samples at most.
        tolerance: a round in which no number changes by more than this is the last one.

    Raises:
        BadInput: a weight is negative or not finite.
    """
    if not (np.isfinite([sparsity, smoothness]).all() and min(sparsity, smoothness) >= 0):
        raise BadInput("sparsity and smoothness of at least 0", f"{sparsity} and {smoothness}", "change them")
    codes = np.zeros((len(x), len(dictionary))) if start is None else start.copy()
    correlations = np.asarray(x, np.float64) @ dictionary.T
    gram = dictionary @ dictionary.T
    _descend(correlations, gram, graph.starts, graph.ends, sparsity / 2, smoothness, sweeps, tolerance, codes)
    return codes


@no_type_check
@jit
def _descend(correlations, gram, starts, ends, threshold, smoothness, sweeps, tolerance, codes):
    for _ in range(sweeps):
        if _sweep(correlations, gram, starts, ends, threshold, smoothness, codes) <= tolerance:
            return


@no_type_check
@jit
def _sweep(correlations, gram, starts, ends, threshold, smoothness, codes):
    """One round over all numbers of all codes; returns the largest change."""
    words, largest = codes.shape[1], 0.0
    left = np.empty(words)  # half the negative gradient of what is smooth
    for i in range(codes.shape[0]):
        code, pull = codes[i], smoothness * (starts[i + 1] - starts[i])
        for k in range(words):
            left[k] = correlations[i, k] - pull * code[k]
        for end in range(starts[i], starts[i + 1]):
            other = codes[ends[end]]
            for k in range(words):
                left[k] += smoothness * other[k]
        for word in range(words):
            if code[word] != 0:
                for k in range(words):
                    left[k] -= code[word] * gram[word, k]
        for word in range(words):
            curve = gram[word, word] + pull
            if curve <= 0:
                continue
            target = left[word] + curve * code[word]
            if target > threshold:
                value = (target - threshold) / curve
            elif target < -threshold:
                value = (target + threshold) / curve
            else:
                value = 0.0
            change = value - code[word]
            if change != 0:
                for k in range(words):
                    left[k] -= change * gram[word, k]
                code[word] = value
                largest = max(largest, abs(change))
    return largest


def better_words(
    x: Float64[np.ndarray, "sample number"],
    codes: Float64[np.ndarray, "sample word"],
    dictionary: Float64[np.ndarray, "word number"],
) -> Float64[np.ndarray, "word number"]:
    """The dictionary after one round: each word is the best one of length 1 at most, given codes and other words.

    A word that no code has is replaced by the sample that the codes describe worst.
    """
    words = dictionary.copy()
    products, targets = codes.T @ codes, codes.T @ x
    for word in np.flatnonzero(np.diag(products) > 0):
        better = words[word] + (targets[word] - products[word] @ words) / products[word, word]
        words[word] = better / max(1.0, float(np.linalg.norm(better)))
    unused = np.flatnonzero(np.diag(products) == 0)
    if len(unused):
        errors = ((x - codes @ words) ** 2).sum(axis=1)
        worst = x[np.argsort(-errors, kind="stable")[: len(unused)]]
        lengths = np.linalg.norm(worst, axis=1, keepdims=True)
        words[unused[: len(worst)]] = worst / np.where(lengths > 0, lengths, 1)
    return words


def objective(
    x: Float[np.ndarray, "sample number"],
    dictionary: Float64[np.ndarray, "word number"],
    codes: Float64[np.ndarray, "sample word"],
    graph: Graph,
    sparsity: float,
    smoothness: float,
) -> float:
    """What is minimized."""
    misfit = np.asarray(x, np.float64) - codes @ dictionary
    rough = _roughness(codes, graph.starts, graph.ends)
    return float(np.vdot(misfit, misfit) + sparsity * np.abs(codes).sum() + smoothness * rough)


@no_type_check
@jit
def _roughness(codes, starts, ends):
    """The sum over the edges, each once, of |s_i - s_j|^2."""
    total = 0.0
    for i in range(codes.shape[0]):
        for end in range(starts[i], starts[i + 1]):
            if ends[end] > i:
                for k in range(codes.shape[1]):
                    total += (codes[i, k] - codes[ends[end], k]) ** 2
    return total


def learn(
    x: Float[np.ndarray, "sample number"],
    dictionary: Float64[np.ndarray, "word number"],
    graph: Graph,
    sparsity: float,
    smoothness: float,
    *,
    iterations: int = 30,
    tolerance: float = 1e-3,
) -> tuple[Float64[np.ndarray, "word number"], Float64[np.ndarray, "sample word"], list[float]]:
    """A dictionary and codes, improved in turns.

    Args:
        x: the samples.
        dictionary: to begin with, words of length 1 at most.
        graph, sparsity, smoothness: as for `encode`.
        iterations: rounds over codes and dictionary at most.
        tolerance: ends when a round lowers the objective by less than this part of it.

    Returns:
        the dictionary, the codes, and the objective after each round; it never grows.
    """
    exact = np.asarray(x, np.float64)
    codes = np.zeros((len(x), len(dictionary)))
    objectives: list[float] = []
    for _ in range(iterations):
        codes = encode(exact, dictionary, graph, sparsity, smoothness, start=codes, sweeps=1)
        dictionary = better_words(exact, codes, dictionary)
        objectives.append(objective(exact, dictionary, codes, graph, sparsity, smoothness))
        if len(objectives) > 1 and objectives[-2] - objectives[-1] <= tolerance * objectives[-2]:
            break
    return dictionary, codes, objectives
