"""The slow twin of microexpr/kernels/lbp.py and of the temporal interpolation model: from the definitions, in floats.

A volume is read as a function of (x, y, t). Codes come from the real bilinear gray level of every neighbor, without
any integers; histograms are counted block by block from whole arrays of codes.
"""

import math
from fractions import Fraction

import numpy as np

SLACK = 2.0**-13  # gray levels under the center that are still "not under" it
DIRECTIONS = {  # of a plane: where the cosine and where the sine of the angle leads, in (x, y, t)
    "XY": ((1, 0, 0), (0, -1, 0)),
    "XT": ((1, 0, 0), (0, 0, -1)),
    "YT": ((0, 1, 0), (0, 0, -1)),
}


def near_whole(value):
    """The value, or the whole number that it misses by rounding alone."""
    return float(round(value)) if abs(value - round(value)) < 1e-8 else value


def level(volume, x, y, t):
    """Gray levels at real places, an array of each coordinate: linear along x, then y, then t."""

    def at(x, y, t):
        return volume[t.astype(int), y.astype(int), x.astype(int)].astype(float)

    def between(read, where):
        low, high = np.floor(where), np.ceil(where)
        return read(low) + (where - low) * (read(high) - read(low))

    return between(lambda w: between(lambda v: between(lambda u: at(u, v, w), x), y), t)


def inside(length, radius):
    return np.arange(math.ceil(radius), length - math.ceil(radius))


def differences(volume, plane, neighbors, radii):
    """For each neighbor its step (x, y, t) and by how much it is above the center, "t y x"."""
    frames, height, width = volume.shape
    t, y, x = np.meshgrid(inside(frames, radii[2]), inside(height, radii[1]), inside(width, radii[0]), indexing="ij")
    for p in range(neighbors):
        angle = 2 * math.pi * p / neighbors
        step = [
            near_whole(radius * (math.cos(angle) * cosine + math.sin(angle) * sine))
            for radius, cosine, sine in zip(radii, *DIRECTIONS[plane], strict=True)
        ]
        yield step, level(volume, x + step[0], y + step[1], t + step[2]) - volume[t, y, x]


def codes(volume, plane, neighbors, radii):
    """The code of every pixel whose three ellipses lie in the volume: "t y x"."""
    return sum(2**p * (above >= -SLACK) for p, (_, above) in enumerate(differences(volume, plane, neighbors, radii)))


def changes(code, neighbors):
    """How often the bits change around the circle."""
    text = format(code, f"0{neighbors}b")
    return sum(text[k] != text[k - 1] for k in range(neighbors))


def bins(neighbors, coding):
    """(number of bins, the bin of each code)."""
    everything = range(2**neighbors)
    if coding == "full":
        return 2**neighbors, list(everything)
    uniform = [code for code in everything if changes(code, neighbors) <= 2]
    if coding == "uniform":
        place = {code: k for k, code in enumerate(uniform)}
        return neighbors * (neighbors - 1) + 3, [place.get(c, neighbors * (neighbors - 1) + 2) for c in everything]
    kept = set(uniform)
    return neighbors + 2, [c.bit_count() if c in kept else neighbors + 1 for c in everything]


def nearest(value):
    """The nearest whole number, the upper one of two."""
    return math.floor(value + Fraction(1, 2))


def blocks_of(length, count, overlap):
    """(begin, end) of every block: neighbors share `overlap` sides of a block without overlap."""
    shared = Fraction(overlap).limit_denominator(1000) * length / count
    side = (length + (count - 1) * shared) / count
    return [(nearest(k * (side - shared)), nearest(k * (side - shared) + side)) for k in range(count)]


def histograms(volume, blocks, overlap, neighbors, radii, coding):
    """ "time row column bin", the planes one after the other."""
    coded = []
    for plane, count in zip(DIRECTIONS, neighbors, strict=True):
        many, numbers = bins(count, coding)
        coded.append((many, np.array(numbers)[codes(volume, plane, count, radii)]))
    lengths = coded[0][1].shape
    times, rows, columns = (blocks_of(s, n, overlap) for s, n in zip(lengths, blocks[::-1], strict=True))

    def of_block(time, row, column):
        parts = [numbers[slice(*time), slice(*row), slice(*column)].ravel() for _, numbers in coded]
        return np.concatenate(
            [np.bincount(part, minlength=many) / part.size for part, (many, _) in zip(parts, coded, strict=True)]
        )

    return np.array([[[of_block(time, row, column) for column in columns] for row in rows] for time in times])


def tim(frames, length):
    """The temporal interpolation model as Zhou, Zhao and Pietikainen 2011 build it: frames "frame pixel" in and out.

    Principal components of the frames, the linear map from them to the eigenvectors of the path's Laplacian, and back.
    """
    count = len(frames)
    mean = frames.mean(0)
    left, values, right = np.linalg.svd((frames - mean).T, full_matrices=False)
    left, components = left[:, : count - 1], values[: count - 1, None] * right[: count - 1]  # component frame
    path = np.diag(np.ones(count - 1), 1)
    adjacent = path + path.T
    _, vectors = np.linalg.eigh(np.diag(adjacent.sum(0)) - adjacent)
    vectors = vectors[:, 1:]
    transform = np.linalg.solve(components @ components.T, components @ vectors)  # component, number of the eigenvector
    numbers = np.arange(1, count)

    def curve(t):
        return np.sin(np.pi * numbers * t + np.pi * (count - numbers) / (2 * count))

    scales = (components[:, 0] @ transform) / curve(1 / count)
    moments = 1 / count + np.arange(length) / (length - 1) * (1 - 1 / count)
    return np.array([left @ np.linalg.solve(transform.T, scales * curve(t)) + mean for t in moments])
