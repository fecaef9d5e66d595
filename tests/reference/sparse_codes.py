"""The slow twin of microexpr/kernels/sparse_codes.py: the same steps, number by number, with the graph as a matrix."""

from __future__ import annotations

import numpy as np


def nearest(motions, k):
    """By the distance's definition, sorted; the first of equals comes first."""
    found = np.full((len(motions), k), -1)
    for i, one in enumerate(motions):
        distances = []
        for j, other in enumerate(motions):
            if j != i:
                both = (one**2).sum() + (other**2).sum()
                distances.append((((one - other) ** 2).sum() / both if both > 0 else 0.0, j))
        for place, (_, j) in enumerate(sorted(distances)[:k]):
            found[i, place] = j
    return found


def adjacency(near):
    """1 where one of two samples is among the nearest of the other."""
    joined = np.zeros((len(near), len(near)))
    for i, others in enumerate(near):
        for j in others:
            if j >= 0:
                joined[i, j] = joined[j, i] = 1
    return joined


def objective(x, dictionary, codes, joined, sparsity, smoothness):
    """With the trace of S L S^T as it is written."""
    laplacian = np.diag(joined.sum(1)) - joined
    misfit = np.linalg.norm(x.T - dictionary.T @ codes.T) ** 2
    return misfit + sparsity * np.abs(codes).sum() + smoothness * np.trace(codes.T @ laplacian @ codes)


def encode(x, dictionary, joined, sparsity, smoothness, sweeps):
    """Coordinate descent; each number is where the derivative of the objective, worked out anew, says."""
    codes = np.zeros((len(x), len(dictionary)))
    for _ in range(sweeps):
        for i in range(len(x)):
            for k in range(len(dictionary)):
                others = codes[i].copy()
                others[k] = 0
                rest = x[i] - others @ dictionary
                curve = (dictionary[k] ** 2).sum() + smoothness * joined[i].sum()
                pull = dictionary[k] @ rest + smoothness * (joined[i] @ codes[:, k])
                if curve > 0:
                    codes[i, k] = np.sign(pull) * max(abs(pull) - sparsity / 2, 0) / curve
    return codes


def better_words(x, codes, dictionary):
    """One round of block coordinate descent, with the residual worked out anew; no word may be unused."""
    words = dictionary.copy()
    for k in range(len(words)):
        others = codes.copy()
        others[:, k] = 0
        rest = x - others @ words
        best = codes[:, k] @ rest / (codes[:, k] ** 2).sum()
        words[k] = best / max(1, np.linalg.norm(best))
    return words
