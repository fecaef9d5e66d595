"""Max-pooling of 2x2 windows, and what it leaves of the gradient of the convolution before it.

Of every window only the winner, the position of its maximum, has a gradient: a quarter of the positions. PyTorch
spreads it over the whole maps and convolves those; here, each winner adds the neighborhood that it saw to the gradient
of the weights, and the weights to the gradient of its neighborhood. As the channels of a pixel lie side by side, each
row of the neighborhood is one piece of memory, and both sums are a few vector instructions.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float32, UInt8
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from microexpr.kernels.warp import jit

LANES = 8  # numbers in a vector instruction


def pool(
    maps: Float32[np.ndarray, "clip filter h w"],
) -> tuple[Float32[np.ndarray, "clip filter h//2 w//2"], UInt8[np.ndarray, "clip filter h//2 w//2"]]:
    """The maxima of windows of 2x2, and their positions, 2 row + column, the first of several.

    An odd last row or column lies in no window. A number that is none wins, as in PyTorch.
    """
    clips, filters, height, width = maps.shape
    values = np.empty((clips, filters, height // 2, width // 2), np.float32)
    places = np.empty(values.shape, np.uint8)
    flat = (clips * filters, height // 2, width // 2)
    _pool(np.ascontiguousarray(maps).reshape(flat[0], height, width), values.reshape(flat), places.reshape(flat))
    return values, places


def gradients(
    x: Float32[np.ndarray, "clip channel h w"],
    weights: Float32[np.ndarray, "filter channel k k"],
    places: UInt8[np.ndarray, "clip filter h//2 w//2"],
    gradient: Float32[np.ndarray, "clip filter h//2 w//2"],
    *,
    at_input: bool,
) -> tuple[
    Float32[np.ndarray, "filter channel k k"],
    Float32[np.ndarray, " filter"],
    Float32[np.ndarray, "clip channel h w"] | None,
]:
    """Gradients of a convolution whose maps, of the size of its input, were pooled.

    Args:
        x: input of the convolution, which has an odd k and a padding of k // 2.
        places: what `pool` gave.
        gradient: of the loss at the pooled numbers.
        at_input: whether the gradient at `x` is wanted.

    Returns:
        The gradients at the weights, at the bias, and at `x`.
    """
    filters, channels, size, _ = weights.shape
    row = -(-size * channels // LANES) * LANES  # of a neighborhood: column by column, channel by channel, filled up
    rows = np.zeros((filters, size, row), np.float32)
    rows[:, :, : size * channels] = weights.transpose(0, 2, 3, 1).reshape(filters, size, -1)
    at_weights, at_bias = np.zeros(rows.size, np.float32), np.zeros(filters, np.float32)
    at_x = np.empty(x.shape if at_input else (0, *x.shape[1:]), np.float32)
    given = (np.ascontiguousarray(array) for array in (x, places, gradient))
    _gradients(*given, rows.reshape(-1), at_weights, at_bias, at_x, size, row)
    found = at_weights.reshape(filters, size, row)[:, :, : size * channels]
    found = np.ascontiguousarray(found.reshape(filters, size, size, channels).transpose(0, 3, 1, 2))
    return found, at_bias, at_x if at_input else None


@intrinsic
@no_type_check
def add_scaled(typing, to, i, scale, source, j):
    """to[i : i + LANES] += scale * source[j : j + LANES], rounded once where the processor can."""
    vector = ir.VectorType(ir.FloatType(), LANES)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def address(argument: int) -> Any:
            array = context.make_array(signature.args[argument])(context, builder, arguments[argument])
            return builder.bitcast(builder.gep(array.data, [arguments[argument + 1]]), vector.as_pointer())

        # the arrays' arguments are 0 and 3, each before its index
        target, given = address(0), address(3)
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[2], ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        product = builder.fmul(
            builder.shuffle_vector(first, first, lanes), builder.load(given, align=4), flags=("contract",)
        )
        builder.store(builder.fadd(product, builder.load(target, align=4), flags=("contract",)), target, align=4)
        return context.get_dummy_value()

    return types.void(to, i, scale, source, j), generate


@jit
@no_type_check
def _pool(maps, values, places):
    for number in range(len(values)):
        for y in range(values.shape[1]):
            upper, lower = maps[number, 2 * y], maps[number, 2 * y + 1]
            pooled, place = values[number, y], places[number, y]
            for x in range(len(pooled)):
                best, at = upper[2 * x], np.uint8(0)
                for position in range(1, 4):
                    value = lower[2 * x + position - 2] if position > 1 else upper[2 * x + 1]
                    if value > best or value != value:  # the second: not a number
                        best, at = value, np.uint8(position)
                pooled[x], place[x] = best, at


@jit
@no_type_check
def _gradients(x, places, gradient, rows, at_weights, at_bias, at_x, size, row):
    clips, channels, height, width = x.shape
    pitch = (width + size - 1) * channels  # of a picture in its frame of zeros, channel by channel
    corner = size // 2 * (pitch + channels)
    framed = np.zeros((height + size - 1) * pitch + row, np.float32)
    back = np.zeros(len(framed), np.float32)
    for clip in range(clips):
        for channel in range(channels):
            for y in range(height):
                start, line = corner + y * pitch + channel, x[clip, channel, y]
                for column in range(width):
                    framed[start + column * channels] = line[column]
        back[:] = 0
        for number in range(gradient.shape[1]):
            total = np.float32(0)
            for y in range(gradient.shape[2]):
                for column in range(gradient.shape[3]):
                    arrived = gradient[clip, number, y, column]
                    if arrived == 0:
                        continue
                    total += arrived
                    place = np.int64(places[clip, number, y, column])
                    at = (2 * y + place // 2) * pitch + (2 * column + place % 2) * channels
                    tap = number * size * row
                    for _ in range(size):
                        for k in range(0, row, LANES):
                            add_scaled(at_weights, tap + k, arrived, framed, at + k)
                            if len(at_x):
                                add_scaled(back, at + k, arrived, rows, tap + k)
                        at += pitch
                        tap += row
            at_bias[number] += total
        if len(at_x):
            for channel in range(channels):
                for y in range(height):
                    start, line = corner + y * pitch + channel, at_x[clip, channel, y]
                    for column in range(width):
                        line[column] = back[start + column * channels]
