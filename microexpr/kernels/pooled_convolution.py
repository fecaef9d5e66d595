"""A 3x3 convolution with 16 filters, ReLU, batch statistics and 3x3 max-pooling of a 3x28x28 picture in one pass.

The first block of STSTNet (`methods.ststnet`): a padding of 2 makes 28x28 to 30x30, pooling with a stride of 3 and a
padding of 1 makes that 10x10. Batch normalization comes before the pooling, but it increases where its weight is
positive and decreases where it is negative: the maximum after it is a maximum or a minimum before it, and nothing of
the 30x30 maps is needed but their sums.

Why it is fast: the nine positions of a pooling window are convolved, summed and pooled in registers, sixteen filters
side by side, and no 30x30 map is ever written. The backward pass computes them again, which costs less than reading
them back would. The vector instructions are written out through numba's `intrinsic`: LLVM's own vectorizer does not
keep nine sums in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Float32, Real, UInt8
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from microexpr.kernels.warp import jit

FILTERS, TAPS, SIZE, MAP, POOLED = 16, 27, 28, 30, 10
# A picture lies in a frame of zeros: position (y, x) of the map sees rows y - 2 to y, and windows reach from -1 to 31.
PITCH = 35
PLANE = PITCH * PITCH

VECTOR = ir.VectorType(ir.FloatType(), FILTERS)
DOUBLES = ir.VectorType(ir.DoubleType(), FILTERS)
BYTES = ir.VectorType(ir.IntType(8), FILTERS)
ZERO, LOWEST = (ir.Constant(VECTOR, [value] * FILTERS) for value in (0.0, float("-inf")))


def forward(
    pictures: Real[np.ndarray, "clip 3 28 28"],
    weights: Float32[np.ndarray, "27 16"],
    bias: Float32[np.ndarray, " 16"],
    sign: Float32[np.ndarray, " 16"],
) -> tuple[Float32[np.ndarray, "clip 10 10 16"], UInt8[np.ndarray, "clip 10 10 16"], Float[np.ndarray, "2 16"]]:
    """r = relu(weights * picture + bias), pooled, and its sums over the whole maps.

    Args:
        pictures: any real numbers; computed in float32.
        weights: of each filter in the order channel, row, column.
        sign: 1 where r is pooled by its maximum, -1 where by its minimum, 0 where the first position is taken.

    Returns:
        The pooled r; its position in the window, 3 row + column, the first of several; the sums of r and of r^2 over
        all clips and the 30x30 positions.
    """
    values = np.empty((len(pictures), POOLED, POOLED, FILTERS), np.float32)
    places = np.empty(values.shape, np.uint8)
    sums = np.zeros((2, FILTERS))
    _forward(
        np.ascontiguousarray(pictures),
        *(weights.ravel(), bias, sign, values.reshape(-1), places.reshape(-1), sums.reshape(-1)),
    )
    return values, places, sums


def backward(
    pictures: Real[np.ndarray, "clip 3 28 28"],
    weights: Float32[np.ndarray, "27 16"],
    bias: Float32[np.ndarray, " 16"],
    places: UInt8[np.ndarray, "clip 10 10 16"],
    gradient: Float32[np.ndarray, "clip 10 10 16"],
    constant: Float32[np.ndarray, " 16"],
    slope: Float32[np.ndarray, " 16"],
) -> Float[np.ndarray, "28 16"]:
    """Gradient at the weights, and in the last row at the bias.

    Args:
        places: what `forward` gave.
        gradient: of the loss at the pooled r.
        constant, slope: constant + slope r is what besides reaches every position of the maps, by way of the mean and
            the variance of the batch.
    """
    total = np.zeros((TAPS + 1, FILTERS))
    _backward(
        np.ascontiguousarray(pictures),
        *(weights.ravel(), bias, constant, slope, places.ravel(), gradient.ravel(), total.reshape(-1)),
    )
    return total


# --- vector instructions ---


class _Window:
    """Writes the instructions of `rows` x `columns` neighboring positions into a function that is being compiled."""

    def __init__(self, builder: Any, rows: int, columns: int) -> None:
        self.builder = builder
        self.positions = [(row, column) for row in range(rows) for column in range(columns)]

    def at(self, array: Any, index: Any, offset: int = 0) -> Any:
        """The address of array[index + offset]."""
        return self.builder.gep(array, [self.builder.add(index, ir.Constant(index.type, offset))])

    def load(self, address: Any, kind: Any = VECTOR) -> Any:
        return self.builder.load(self.builder.bitcast(address, kind.as_pointer()), align=1)

    def store(self, value: Any, address: Any) -> None:
        self.builder.store(value, self.builder.bitcast(address, value.type.as_pointer()), align=1)

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c, rounded once where the processor can."""
        together = ("contract",)
        return self.builder.fadd(self.builder.fmul(a, b, flags=together), c, flags=together)

    def inside(self, top: Any, left: Any) -> list[Any]:
        """Which positions lie in the map, the first of them being (top, left)."""

        def in_map(start: Any, offset: int) -> Any:
            kind = start.type  # without a sign: -1 is a large number
            return self.builder.icmp_unsigned(
                "<", self.builder.add(start, ir.Constant(kind, offset)), ir.Constant(kind, MAP)
            )

        return [self.builder.and_(in_map(top, row), in_map(left, column)) for row, column in self.positions]

    def seen(self, framed: Any, top: Any, left: Any) -> dict[tuple[int, int, int], Any]:
        """What the positions see of a framed picture: channel, row, column -> the number, once for every filter."""
        count, lane = (ir.VectorType(ir.IntType(32), FILTERS), ir.Constant(ir.IntType(32), 0))
        start = self.builder.add(self.builder.mul(top, ir.Constant(top.type, PITCH)), left)
        first = PITCH + 1  # the frame begins three rows and columns before the picture, one before (top, left) = (0, 0)
        numbers = {}
        for tap in range(TAPS):
            for position in self.positions:
                channel, row, column = key = _tap(tap, position)
                if key not in numbers:
                    address = self.at(framed, start, first + channel * PLANE + row * PITCH + column)
                    one = self.builder.insert_element(
                        ir.Constant(VECTOR, ir.Undefined), self.builder.load(address), lane
                    )
                    numbers[key] = self.builder.shuffle_vector(one, one, ir.Constant(count, [0] * FILTERS))
        return numbers

    def rectified(self, seen: dict[tuple[int, int, int], Any], weights: Any, bias: Any) -> list[Any]:
        """relu(weights * picture + bias) at every position."""
        index = ir.Constant(ir.IntType(64), 0)
        sums = [self.load(bias)] * len(self.positions)
        for tap in range(TAPS):
            weight = self.load(self.at(weights, index, tap * FILTERS))
            sums = [
                self.fused(weight, seen[_tap(tap, position)], total)
                for position, total in zip(self.positions, sums, strict=True)
            ]
        # Written so that a NaN stays one.
        return [self.builder.select(self.builder.fcmp_ordered("<", value, ZERO), ZERO, value) for value in sums]


def _tap(tap: int, position: tuple[int, int]) -> tuple[int, int, int]:
    """Channel, row and column, from the window's first, of what a tap of the kernel sees from a position."""
    return tap // 9, position[0] + tap % 9 // 3, position[1] + tap % 3


def _addresses(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arguments of an intrinsic, of arrays the address of their first number."""
    return [
        context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


def _pool(rows: int, columns: int) -> Callable[..., Any]:
    @intrinsic
    @no_type_check
    def pool(typing, framed, top, left, weights, bias, sign, values, places, to, sums):
        """Adds r and r^2 of the window to the sums; of a window of 3x3, writes the pooled r and its place."""

        @no_type_check
        def generate(context, builder, signature, arguments):
            framed, top, left, weights, bias, sign, values, places, to, sums = _addresses(
                context, builder, signature, arguments
            )
            window = _Window(builder, rows, columns)
            maps = window.rectified(window.seen(framed, top, left), weights, bias)
            inside = window.inside(top, left)
            total = squares = ZERO
            for valid, r in zip(inside, maps, strict=True):
                counted = builder.select(valid, r, ZERO)
                total = builder.fadd(total, counted)
                squares = window.fused(counted, counted, squares)
            for offset, added in ((0, total), (FILTERS, squares)):
                address = window.at(sums, ir.Constant(to.type, offset))
                window.store(builder.fadd(window.load(address, DOUBLES), builder.fpext(added, DOUBLES)), address)
            if len(maps) == 9:
                direction = window.load(sign)
                best, value, place = LOWEST, ZERO, ir.Constant(BYTES, [0] * FILTERS)
                for number, (valid, r) in enumerate(zip(inside, maps, strict=True)):
                    score = builder.select(valid, builder.fmul(direction, r), LOWEST)
                    better = builder.fcmp_ordered(">", score, best)  # of equals the first, as PyTorch has it
                    best = builder.select(better, score, best)
                    value = builder.select(better, r, value)
                    place = builder.select(better, ir.Constant(BYTES, [number] * FILTERS), place)
                window.store(value, window.at(values, to))
                window.store(place, window.at(places, to))
            return context.get_dummy_value()

        return types.void(framed, top, left, weights, bias, sign, values, places, to, sums), generate

    return pool


def _spread(rows: int, columns: int) -> Callable[..., Any]:
    @intrinsic
    @no_type_check
    def spread(typing, framed, top, left, weights, bias, constant, slope, places, gradient, at, sums):
        """Adds the window's part of the gradient to the sums of weights and bias; only 3x3 positions are pooled."""

        @no_type_check
        def generate(context, builder, signature, arguments):
            framed, top, left, weights, bias, constant, slope, places, gradient, at, sums = _addresses(
                context, builder, signature, arguments
            )
            window = _Window(builder, rows, columns)
            seen = window.seen(framed, top, left)
            maps = window.rectified(seen, weights, bias)
            pooled = len(maps) == 9
            if pooled:
                arrived, place = window.load(window.at(gradient, at)), window.load(window.at(places, at), BYTES)
            constant, slope = window.load(constant), window.load(slope)
            here = []  # the gradient before the ReLU, position by position
            for number, (valid, r) in enumerate(zip(window.inside(top, left), maps, strict=True)):
                value = window.fused(slope, r, constant)
                if pooled:
                    chosen = builder.icmp_unsigned("==", place, ir.Constant(BYTES, [number] * FILTERS))
                    value = builder.fadd(value, builder.select(chosen, arrived, ZERO))
                value = builder.select(builder.fcmp_ordered(">", r, ZERO), value, ZERO)
                here.append(builder.select(valid, value, ZERO))
            for tap in range(TAPS + 1):
                address = window.at(sums, ir.Constant(at.type, tap * FILTERS))
                total = window.load(address)
                for position, value in zip(window.positions, here, strict=True):
                    is_bias = tap == TAPS
                    total = (
                        builder.fadd(total, value) if is_bias else window.fused(value, seen[_tap(tap, position)], total)
                    )
                window.store(total, address)
            return context.get_dummy_value()

        return (
            types.void(framed, top, left, weights, bias, constant, slope, places, gradient, at, sums),
            generate,
        )

    return spread


# The last row and column of the map, 29, lie in no window that is pooled; they are seen three positions at a time.
pool_window, pool_row, pool_column = _pool(3, 3), _pool(1, 3), _pool(3, 1)
spread_window, spread_row, spread_column = _spread(3, 3), _spread(1, 3), _spread(3, 1)


# --- loops ---


@jit
@no_type_check
def enclose(picture, framed):
    """Copies a picture into its frame of zeros."""
    for channel in range(3):
        for y in range(SIZE):
            to = channel * PLANE + (y + 3) * PITCH + 3
            row, target = picture[channel, y], framed[to : to + SIZE]
            for x in range(SIZE):
                target[x] = row[x]


@jit
@no_type_check
def _forward(pictures, weights, bias, sign, values, places, sums):
    framed = np.zeros(3 * PLANE, np.float32)
    for clip in range(len(pictures)):
        enclose(pictures[clip], framed)
        to = clip * POOLED * POOLED * FILTERS
        for top in range(-1, MAP - 1, 3):
            for left in range(-1, MAP - 1, 3):
                pool_window(framed, top, left, weights, bias, sign, values, places, to, sums)
                to += FILTERS
        for start in range(-1, MAP, 3):
            pool_row(framed, MAP - 1, start, weights, bias, sign, values, places, 0, sums)
            if start < MAP - 1:  # the corner belongs to the row
                pool_column(framed, start, MAP - 1, weights, bias, sign, values, places, 0, sums)


@jit
@no_type_check
def _backward(pictures, weights, bias, constant, slope, places, gradient, total):
    framed = np.zeros(3 * PLANE, np.float32)
    sums = np.empty(len(total), np.float32)
    for clip in range(len(pictures)):
        enclose(pictures[clip], framed)
        sums[:] = 0
        at = clip * POOLED * POOLED * FILTERS
        for top in range(-1, MAP - 1, 3):
            for left in range(-1, MAP - 1, 3):
                spread_window(framed, top, left, weights, bias, constant, slope, places, gradient, at, sums)
                at += FILTERS
        for start in range(-1, MAP, 3):
            spread_row(framed, MAP - 1, start, weights, bias, constant, slope, places, gradient, 0, sums)
            if start < MAP - 1:
                spread_column(framed, start, MAP - 1, weights, bias, constant, slope, places, gradient, 0, sums)
        for k in range(len(total)):
            total[k] += sums[k]
