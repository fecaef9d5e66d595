"""Motion from onset to apex: optical flow, its magnitude, direction and strain, and the published form of it.

A flow field is float32 "2 h w" in pixels, u to the right and v down: first(x) = second(x + flow(x)).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Shaped, UInt8

from microexpr.errors import BadInput, MicroexprError, UnknownName
from microexpr.kernels import tvl1
from microexpr.motion.cache import cached
from microexpr.types import Clip, FlowMap

MODES = (*tvl1.MODES, "opencv")
PRESETS = ("micro", "general")
CENTERS = ("median", "mode")
SMALLEST = tvl1.SMALLEST  # pixels; under it a pyramid has no level left that could see a motion
CACHE_FORMAT = "clip-flow-2"  # raise it when the same pictures and mode give another field


def flow_between(
    first: np.ndarray,
    second: np.ndarray,
    *,
    mode: str = "clg",
    preset: str | None = None,
    scale: float | None = None,
) -> Float32[np.ndarray, "2 h w"]:
    """Optical flow from one picture to another: first(x) = second(x + flow(x)).

    Modes: ``"clg"``, combined local-global flow, the most accurate on small motion and the fastest; ``"tvl1"``, TV-L1
    with the data term of Zach, Pock and Bischof 2007 (doi:10.1007/978-3-540-74936-3_22), both by our solver
    (`kernels.tvl1`); ``"opencv"``, OpenCV's TV-L1 with its published defaults, for comparison: a hundred times slower
    or more, and below half a pixel it finds too little of a motion (about 0.8 of a shift by 0.1 pixel).

    Args:
        first, second: pictures of one size, at least 16x16, RGB "h w 3" or gray "h w", uint8 or float.
        mode: one of `MODES`.
        preset: ``"micro"`` (default) for motion up to about two pixels, ``"general"`` for several; ``"opencv"`` has
            none.
        scale: of float pictures, what 1 is in gray levels 0..255: 255 for pictures in 0..1, 1 for pictures in 0..255.

    Returns:
        u (right) and v (down) in pixels.

    Raises:
        BadInput: the pictures are of different sizes, too small, not RGB or gray, not finite, or float without `scale`.
        UnknownName: no such mode or preset.
    """
    check_mode(mode, preset)
    one, other = _gray(first, scale), _gray(second, scale)
    if one.shape != other.shape:
        sizes = " and ".join(f"{width}x{height}" for height, width in (one.shape, other.shape))
        raise BadInput("two pictures of one size", sizes, "crop or resize both to the same face box")
    if min(one.shape) < SMALLEST:
        height, width = one.shape
        raise BadInput(
            f"pictures of at least {SMALLEST}x{SMALLEST}", f"{width}x{height}", "use a larger crop of the face"
        )
    if np.array_equal(one, other):  # no rounding error that a color picture would stretch to full saturation
        return np.zeros((2, *one.shape), np.float32)
    if mode == "opencv":
        return _opencv_tvl1(*(np.rint(gray).clip(0, 255).astype(np.uint8) for gray in (one, other)))
    return tvl1.flow(one, other, mode=mode, preset=preset or "micro")


def _scaled(picture: np.ndarray, scale: float) -> np.ndarray:
    """A float picture in gray levels 0..255; a scale that can't be right is refused rather than believed."""
    if not (np.isfinite(scale) and scale > 0):
        raise BadInput("a scale above 0", str(scale), "pass 255 for pictures in 0..1, 1 for pictures in 0..255")
    low, high = float(picture.min()) * scale, float(picture.max()) * scale
    if low < -1 or high > 256 or (scale == 1 and 0 < high <= 1):
        raise BadInput(
            "pictures that scale= brings to gray levels 0..255",
            f"{low:.3g}..{high:.3g} with scale={scale:g}",
            "pass 255 for pictures in 0..1, 1 for pictures in 0..255",
        )
    return picture.astype(np.float32) * np.float32(scale)


def check_mode(mode: str, preset: str | None = None) -> None:
    """Raises UnknownName or BadInput where `flow_between` has no such mode or preset."""
    if mode not in MODES:
        raise UnknownName("flow mode", mode, MODES)
    if preset is not None and preset not in PRESETS:
        raise UnknownName("flow preset", preset, PRESETS)
    if mode == "opencv" and preset is not None:
        raise BadInput("no preset for mode opencv, which has OpenCV's defaults", repr(preset), "leave it out")


def _gray(picture: np.ndarray, scale: float | None = None) -> np.ndarray:
    """A picture as gray levels 0..255 "h w" (0.299 R + 0.587 G + 0.114 B), uint8 or float32; gray stays as it is."""
    import cv2

    if picture.dtype.kind != "f" and scale is not None:
        raise BadInput("scale= for float pictures only", f"{picture.dtype} values", "leave scale out")
    if picture.dtype.kind == "f":
        if scale is None:
            low, high = float(np.min(picture, initial=np.inf)), float(np.max(picture, initial=-np.inf))
            raise BadInput(
                "scale= for float pictures",
                f"{picture.dtype} values from {low:.3g} to {high:.3g} without it",
                "pass scale=255 for pictures in 0..1, scale=1 for pictures in 0..255",
            )
        if not np.isfinite(picture).all():
            raise BadInput("finite pictures", "NaN or infinite values", "fill or mask them first")
        picture = _scaled(picture, scale)
    elif picture.dtype != np.uint8:
        raise BadInput("a uint8 or float picture", f"{picture.dtype} values", "convert it to uint8 0..255")
    if picture.ndim == 2:
        return picture
    if picture.ndim == 3 and picture.shape[2] == 3:
        return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    raise BadInput(
        'a picture "h w 3" (RGB) or "h w" (gray)', f"an array of shape {picture.shape}", "transpose or cut it"
    )


def _opencv_tvl1(first: UInt8[np.ndarray, "h w"], second: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "2 h w"]:
    import cv2

    if not hasattr(cv2, "optflow"):  # a plain opencv-python beside ours overwrites its files
        raise MicroexprError(
            "this OpenCV has no optflow module, a second OpenCV package hides it; "
            "run: pip uninstall opencv-python opencv-python-headless, then "
            "pip install --force-reinstall opencv-contrib-python-headless"
        )
    # A new object every time: one that has seen a small picture keeps its reduced number of scales.
    solver = cv2.optflow.DualTVL1OpticalFlow_create()  # type: ignore[attr-defined]  # missing in OpenCV's stubs
    field = solver.calc(np.ascontiguousarray(first), np.ascontiguousarray(second), None)
    return np.ascontiguousarray(field.transpose(2, 0, 1))


def magnitude(flow: Float[np.ndarray, "2 h w"]) -> Float32[np.ndarray, "h w"]:
    """Length of each flow vector, in the unit of `flow`."""
    u, v = flow.astype(np.float32)
    return np.hypot(u, v)


def direction(flow: Float[np.ndarray, "2 h w"]) -> Float32[np.ndarray, "h w"]:
    """Direction of each flow vector, atan2(v, u) in radians: 0 is right, pi/2 down (v points down), -pi/2 up."""
    u, v = flow.astype(np.float32)
    return np.arctan2(v, u)


def strain(flow: Float[np.ndarray, "2 h w"]) -> Float32[np.ndarray, "h w"]:
    """Optical strain: how much the skin is stretched and sheared, without unit (pixels per pixel).

    sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2), the Frobenius norm of the symmetric part of the flow's gradient, so a
    shift and a small rotation have none. Eq. 7 of Liong, Gan, See, Khor and Huang, "Shallow triple stream
    three-dimensional CNN (STSTNet) for micro-expression recognition", FG 2019, doi:10.1109/FG.2019.8756567, with its
    shear term, misprinted there, as the published maps have it. Derivatives: central differences, one-sided at the rim.
    """
    if min(flow.shape[1:]) < 2:
        raise BadInput("a flow field of at least 2x2", f"{flow.shape[2]}x{flow.shape[1]}", "strain needs neighbors")
    u, v = flow.astype(np.float32)
    u_y, u_x = np.gradient(u)
    v_y, v_x = np.gradient(v)
    return np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)


def resize_flow(flow: Float[np.ndarray, "2 h w"], height: int, width: int) -> Float32[np.ndarray, "2 {height} {width}"]:
    """A flow field on another grid, its vectors rescaled with the grid: pixels in, pixels of the new grid out.

    An axis that shrinks is averaged over areas, one that grows is interpolated linearly (cubic would overshoot).
    """
    _, old_height, old_width = flow.shape
    u, v = _resample(flow.astype(np.float32).transpose(1, 2, 0), height, width).transpose(2, 0, 1)
    return np.stack([u * np.float32(width / old_width), v * np.float32(height / old_height)])


def _resample(
    picture: Shaped[np.ndarray, "_ _ *c"], height: int, width: int
) -> Shaped[np.ndarray, "{height} {width} *c"]:
    """Shrinks by area averages, then grows linearly; OpenCV's area mode would grow into blocks."""
    import cv2

    if height < 1 or width < 1:
        raise BadInput("a size of at least 1x1", f"{width}x{height}", "ask for a positive size")
    old_height, old_width = picture.shape[:2]
    if height < old_height or width < old_width:
        smaller = (min(width, old_width), min(height, old_height))
        picture = cv2.resize(np.ascontiguousarray(picture), smaller, interpolation=cv2.INTER_AREA)
    if height > old_height or width > old_width:
        picture = cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=cv2.INTER_LINEAR)
    return picture


def clip_flow(clip: Clip, *, size: int = 224, mode: str = "clg") -> Float32[np.ndarray, "2 {size} {size}"]:
    """Flow from the onset to the apex of a clip.

    With pictures: both gray frames are resized to `size`, then the flow is computed, once: it is cached under the
    content of the two pictures, the mode and OpenCV's version. Pixels of the resized frames.
    With only a published map: `centered(clip.flow)` resized. A map has lost its scale, so its unit is its own
    (a fraction of its range) and nothing is rescaled.

    Args:
        clip: read for exactly two frames.
        size: height and width of the result.
        mode: one of `MODES`; without meaning for a published map.

    Raises:
        BadInput: neither frames nor a map; or frames without an annotated onset or apex.
    """
    check_mode(mode)
    if clip.frames is None:
        if clip.flow is None:
            raise BadInput(
                "a clip with frames or a flow map", f"{clip.key} with neither", "load its data set with frames"
            )
        components = centered(clip.flow).transpose(1, 2, 0)
        return np.ascontiguousarray(_resample(components, size, size).transpose(2, 0, 1))
    if clip.onset is None or clip.apex is None:
        missing = "apex" if clip.onset is not None else "onset"
        raise BadInput(
            "a clip with an onset and an apex",
            f"{clip.key} without an {missing}",
            f"find it (spotting has rules for the apex) and use dataclasses.replace(clip, {missing}=number)",
        )
    onset, apex = (_resample(_gray(clip.frames.read(number)), size, size) for number in (clip.onset, clip.apex))
    return _cached_flow(onset, apex, mode)


def _cached_flow(
    onset: UInt8[np.ndarray, "h w"], apex: UInt8[np.ndarray, "h w"], mode: str
) -> Float32[np.ndarray, "2 h w"]:
    import cv2

    solver = cv2.__version__ if mode == "opencv" else repr(tvl1.PRESETS[mode, "micro"])
    parts: list[bytes | str] = [CACHE_FORMAT, mode, solver, f"{onset.shape}", onset.tobytes(), apex.tobytes()]
    return cached(parts, lambda: flow_between(onset, apex, mode=mode))


def centered(flow_map: FlowMap, *, center: str = "median") -> Float32[np.ndarray, "2 h w"]:
    """u and v of a published map, with zero motion at zero again, as fractions of the map's range (-1..1).

    Min-max normalization moved the gray value of zero motion, differently in every map and channel. Most of a face
    keeps still in a micro-expression, so the values pile up there.

    Args:
        flow_map: a published map, or one by `published_map`.
        center: ``"median"``, or ``"mode"``: the most frequent gray value, the smallest of several.
    """
    # Why the median. Reference in the 442 MEGC 2019 maps: the median over the tenth of the pixels with the least
    # strain, where the skin neither moves against its surroundings nor stretches. Mean distance to it in gray levels,
    # u / v: median 5.8 / 6.2, mode 7.3 / 6.1, mean 9.0 / 12.8, the fixed value 127.5 33.9 / 54.8. To the median of the
    # border pixels: median 7.6 / 7.2, mode 11.8 / 11.3. In a typical map the mode lies closer in v (2.0 against 4.0),
    # but it fails by over 32 levels in 2.9 % of the channels (median 0.9 %), and it is noisy: computed from two random
    # halves of the pixels it differs by 8.2 levels on average, the median by 1.7.
    if center not in CENTERS:
        raise UnknownName("center", center, CENTERS)
    levels = flow_map.channels[:2]
    if center == "median":
        zero = np.median(levels, axis=(1, 2))
    else:
        zero = np.array([np.bincount(channel.ravel(), minlength=256).argmax() for channel in levels])
    return (levels.astype(np.float32) - zero.astype(np.float32)[:, None, None]) / np.float32(255)


def published_map(flow: Float[np.ndarray, "2 h w"], size: int = 28) -> FlowMap:
    """The normalization of the published MEGC 2019 maps: u, v and optical strain, each stretched to 0..255.

    u and v are resized first and the strain is taken of the resized field; every channel is then min-max normalized
    over the picture and rounded. A channel that is constant becomes 0. The same function makes the maps that a model
    is trained on and those it is applied to.

    Raises:
        BadInput: a vector is not finite, or `size` is under 2.
    """
    if not np.isfinite(flow).all():
        raise BadInput("a finite flow field", "vectors that are not", "mask or fill them first")
    small = resize_flow(flow, size, size)
    channels = np.concatenate([small, strain(small)[None]])
    lowest = channels.min(axis=(1, 2), keepdims=True)
    spread = channels.max(axis=(1, 2), keepdims=True) - lowest
    # Resizing a constant field leaves differences in its last float32 digits, which must not be stretched to 0..255.
    rounding = np.float32(1e-5) * np.abs(small).max()
    stretched = np.where(spread > rounding, (channels - lowest) / np.maximum(spread, np.finfo(np.float32).tiny), 0)
    return FlowMap(np.rint(255 * stretched).astype(np.uint8))


def map_channels(clip: Clip, *, mode: str = "clg") -> UInt8[np.ndarray, "3 h w"]:
    """u, v and strain of a clip as 0..255: its published channels, or `published_map` of the flow of its frames."""
    if clip.flow is not None:
        return clip.flow.channels
    return published_map(clip_flow(clip, mode=mode)).channels
