"""The face of the embedded data set: one portrait, its landmarks, what action units do to it, and its subjects.

The portrait is `skimage.data.astronaut` (NASA, public domain; the file lies inside the scikit-image wheel).

Three coordinate systems, pixel centers at whole numbers in each: the 512x512 portrait, where the facial feature points
were located by hand; the 640x480 frame, `MAGNIFICATION` frame pixels to a portrait pixel; and the `View`, what is
rendered: the frame itself or a fixed square face crop of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

FRAME_WIDTH, FRAME_HEIGHT = 640, 480
MAGNIFICATION = 2.5  # makes the face about 215 frame pixels wide
PORTRAIT_LEFT, PORTRAIT_TOP = 97.0, 0.0  # the frame's corner in the portrait; the frame's middle is the face's midline
PIVOT = (319.5, 440.0)  # what the head rolls about: the neck, frame pixels
OVERSAMPLING = 3  # cv2.remap knows 32 positions a pixel; on a three times finer picture that is 1/96 of a frame pixel
PADDING = 24  # view pixels kept around the neutral picture, for motion over the border
FADE = 12.0  # portrait pixels over which the masks go from one to zero
GRAIN = 1.1  # standard deviation of the skin grain, grey levels
# Numbers 1..6 in front of a seed keep the random streams apart: traits, tone and grain here, noise, head motion and
# light in `_render`.

# Facial feature points, portrait pixels (x, y): on the left and on the right of the picture.
# fmt: off
FEATURES = {
    "forehead": ((211.0, 83.0), (239.0, 84.5)), "inner brow": ((212.0, 92.0), (238.0, 94.0)),
    "middle brow": ((200.0, 88.5), (249.0, 92.0)), "outer brow": ((190.0, 91.0), (262.0, 95.0)),
    "upper lid": ((203.0, 97.5), (246.0, 99.5)), "lower lid": ((203.0, 106.0), (246.0, 107.5)),
    "outer eye": ((186.0, 104.0), (264.0, 106.0)), "cheek": ((195.0, 122.0), (255.0, 124.0)),
    "nostril": ((212.0, 127.0), (234.0, 128.0)), "upper lip": ((213.0, 138.5), (236.0, 138.5)),
    "mouth corner": ((203.0, 140.0), (246.5, 140.0)), "lower lip": ((216.0, 153.0), (232.0, 153.0)),
    "chin": ((215.0, 167.0), (234.0, 167.0)),
}
FACE = ((180, 74), (180, 130), (185, 150), (197, 168), (211, 178), (225, 181), (240, 178), (253, 168), (263, 150),
        (270, 130), (272, 74))
HEAD = ((148, 60), (165, 26), (210, 13), (260, 18), (295, 45), (306, 75), (304, 110), (285, 138), (266, 150),
        (258, 172), (244, 183), (206, 183), (188, 170), (180, 145), (160, 130), (148, 100))
# fmt: on


class Pull(NamedTuple):
    """Smooth movement of the skin around one pair of feature points.

    Attributes:
        feature: a key of `FEATURES`.
        out, up: movement away from the face's midline and upward, relative to the other pulls of the same action.
        width, height: standard deviations of the bell that carries it, portrait pixels.
    """

    feature: str
    out: float
    up: float
    width: float
    height: float


ACTION_UNITS: dict[str, tuple[Pull, ...]] = {
    "1": (Pull("inner brow", 0.05, 1.0, 9, 6), Pull("forehead", 0.0, 0.3, 12, 6)),
    "2": (Pull("outer brow", 0.05, 0.8, 9, 6), Pull("middle brow", 0.0, 0.4, 9, 6)),
    "4": (Pull("inner brow", -0.45, -0.9, 9, 6), Pull("middle brow", -0.25, -0.4, 9, 6)),
    "5": (Pull("upper lid", 0.0, 0.3, 9, 3),),
    "6": (Pull("cheek", 0.1, 0.5, 11, 9), Pull("lower lid", 0.0, 0.25, 9, 4), Pull("outer eye", -0.2, 0.0, 6, 6)),
    "7": (Pull("lower lid", -0.1, 0.4, 9, 3.5), Pull("upper lid", 0.0, -0.25, 9, 3)),
    "9": (Pull("nostril", 0.1, 0.8, 7, 9), Pull("inner brow", -0.2, -0.4, 8, 6), Pull("lower lid", -0.1, 0.2, 8, 4)),
    "10": (Pull("upper lip", 0.1, 0.7, 9, 7), Pull("cheek", 0.0, 0.3, 10, 9)),
    "12": (Pull("mouth corner", 0.7, 0.75, 10, 9), Pull("cheek", 0.15, 0.3, 11, 10)),
    "14": (Pull("mouth corner", -0.8, 0.1, 9, 8), Pull("lower lip", -0.1, 0.15, 9, 6)),
    "15": (Pull("mouth corner", 0.1, -0.9, 9, 9), Pull("cheek", 0.0, -0.15, 10, 9)),
    "17": (Pull("chin", 0.0, 0.45, 11, 7), Pull("lower lip", 0.0, 0.3, 10, 6)),
    "20": (Pull("mouth corner", 0.95, -0.2, 10, 9), Pull("lower lip", 0.3, -0.1, 9, 7)),
}

# The portrait smiles; a resting face smiles less. Portrait pixels.
REST = (Pull("mouth corner", -0.8, -1.5, 11, 9), Pull("cheek", -0.2, -0.8, 12, 10), Pull("lower lip", 0.0, 1.2, 11, 6),
        Pull("chin", 0.0, 0.6, 12, 8), Pull("lower lid", 0.0, -0.4, 9, 4))  # fmt: skip

# How subjects differ: mirror-symmetric pulls on the resting face, and the largest weight of each, portrait pixels.
TRAITS: tuple[tuple[float, tuple[Pull, ...]], ...] = (
    (2.0, (Pull("cheek", 1.0, 0.0, 22, 26),)),  # face width
    (2.2, (Pull("chin", 0.0, -0.7, 24, 14),)),  # chin length
    (1.4, (Pull("inner brow", 0.0, 1.0, 12, 9), Pull("outer brow", 0.0, 1.0, 12, 9))),  # brow height
    (1.4, (Pull("upper lid", 1.0, 0.0, 12, 9), Pull("lower lid", 0.5, 0.0, 12, 9))),  # eye distance
    (1.3, (Pull("nostril", 1.0, 0.3, 8, 10),)),  # nose width
    (1.6, (Pull("mouth corner", 1.0, 0.0, 11, 10),)),  # mouth width
)


@dataclass(frozen=True)
class View:
    """What is rendered of the 640x480 frame: a box with its corner at (left, top), frame pixels, drawn `magnification`
    times as large, on `width` x `height` pixels of its own."""

    left: float
    top: float
    magnification: float
    width: int
    height: int

    def frame_points(self, padding: int = 0) -> Float[np.ndarray, "2 h w"]:
        """Frame coordinates (x, y) of every pixel, with a border of view pixels where asked for."""
        axes = []
        for corner, size in ((self.left, self.width), (self.top, self.height)):
            axes.append(corner - 0.5 + (np.arange(-padding, size + padding) + 0.5) / self.magnification)
        return np.stack(np.meshgrid(*axes)).astype(np.float32)


FRAME = View(0.0, 0.0, 1.0, FRAME_WIDTH, FRAME_HEIGHT)
CROP = View(190.0, 198.0, 224 / 260, 224, 224)  # hairline to chin, like the cropped releases of the real data sets


@dataclass(frozen=True)
class Identity:
    """One subject: the numbers its mild mirror-symmetric warp, tone and skin grain are drawn from; left-right mirrored
    or not. Equal identities are equal faces."""

    seed: tuple[int, ...] = (0,)
    mirrored: bool = False

    @property
    def traits(self) -> tuple[tuple[float, Pull], ...]:
        """Weighted pulls, portrait pixels, that make this subject's resting face of the portrait."""
        weights = np.random.default_rng([1, *self.seed]).uniform(-1, 1, len(TRAITS))
        own = [(float(w) * most, pull) for w, (most, pulls) in zip(weights, TRAITS, strict=True) for pull in pulls]
        return (*own, *((1.0, pull) for pull in REST))

    @property
    def tone(self) -> Float[np.ndarray, "tone=4"]:
        """Gamma, contrast, saturation and warmth of the light; (1, 1, 1, 0) would be the portrait's own."""
        return np.random.default_rng([2, *self.seed]).uniform([0.85, 0.88, 0.75, -0.03], [1.35, 1.0, 1.05, 0.04])

    def unwarped(self, points: Float[np.ndarray, "2 h w"]) -> Float[np.ndarray, "2 h w"]:
        """Frame points (x, y) as points of the portrait, which is mirrored where asked for but not warped."""
        x = FRAME_WIDTH - 1 - points[0] if self.mirrored else points[0]
        corner = np.array([PORTRAIT_LEFT, PORTRAIT_TOP])[:, None, None]
        return (corner - 0.5 + (np.stack([x, points[1]]) + 0.5) / MAGNIFICATION).astype(np.float32)

    def portrait_points(self, points: Float[np.ndarray, "2 h w"]) -> Float[np.ndarray, "2 h w"]:
        """Where in the portrait (x, y) the resting face shows at frame points (x, y)."""
        place = self.unwarped(points)
        return place - _bells(place, self.traits)  # to show a feature further out, look further in


def remap(picture: np.ndarray, x: np.ndarray, y: np.ndarray, *, cubic: bool = False) -> np.ndarray:
    """The picture "h w ..." at points (x, y); mirrored over its borders."""
    import cv2

    kind = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    return cv2.remap(picture, x, y, kind, borderMode=cv2.BORDER_REFLECT_101)


def _bells(
    points: Float[np.ndarray, "2 h w"], pulls: tuple[tuple[float, Pull], ...], asymmetry: float = 0.0
) -> Float[np.ndarray, "2 h w"]:
    """The sum of weighted pulls at portrait points: displacement (right, down), in the unit of the weights."""
    field = np.zeros_like(points)
    for weight, pull in pulls:
        for side, (x, y) in zip((-1.0, 1.0), FEATURES[pull.feature], strict=True):
            strength = weight * (1.0 - side * asymmetry)
            bell = np.exp(-0.5 * (((points[0] - x) / pull.width) ** 2 + ((points[1] - y) / pull.height) ** 2))
            field[0] += side * strength * pull.out * bell
            field[1] -= strength * pull.up * bell
    return field


@lru_cache(maxsize=2)
def mask_picture(outline: tuple[tuple[int, int], ...], inward: bool) -> Float[np.ndarray, "512 512"]:
    """A portrait mask: one inside an outline, zero outside, a smooth step of `FADE` pixels inward or outward of it."""
    import cv2

    inside = cv2.fillPoly(np.zeros((512, 512), np.uint8), [np.array(outline, np.int32)], 1)
    distance = cv2.distanceTransform(inside if inward else 1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # A distance has ridges, which would show as kinks in the motion: blur it, then make sure that the ends are reached.
    step = np.clip(cv2.GaussianBlur(np.minimum(distance, FADE), (0, 0), 2.0) / FADE * 1.3 - 0.15, 0, 1)
    step = step * step * (3 - 2 * step)
    return step if inward else 1 - step


@lru_cache(maxsize=4)
def neutral(identity: Identity, view: View) -> Float[np.ndarray, "h w 3"]:
    """The face at rest, `OVERSAMPLING` times finer than the view and with `PADDING` view pixels around it; 0..255."""
    import cv2
    from skimage import data

    def finer(points: Float[np.ndarray, "2 h w"]) -> list[Float[np.ndarray, "H W"]]:
        return [cv2.resize(axis, None, fx=OVERSAMPLING, fy=OVERSAMPLING) for axis in points]

    gamma, contrast, saturation, warmth = (float(value) for value in identity.tone)
    portrait = 0.5 + contrast * ((data.astronaut().astype(np.float32) / 255) ** gamma - 0.5)
    grey = portrait.mean(axis=2, keepdims=True)
    portrait = (grey + saturation * (portrait - grey)) * (255 + 255 * warmth * np.array([1, 0, -1], np.float32))
    points = view.frame_points(PADDING)
    picture = remap(portrait, *finer(identity.portrait_points(points)), cubic=True)
    # Fine grain, fixed to the skin: the enlarged portrait has none, and real skin gives optical flow something to hold.
    white = np.random.default_rng([3, *identity.seed]).standard_normal((FRAME_HEIGHT, FRAME_WIDTH), dtype=np.float32)
    grain = cv2.GaussianBlur(white, (0, 0), 1.0)
    picture += remap(grain * (GRAIN / grain.std()), *finer(points), cubic=True)[..., None]
    return np.clip(picture, 0, 255, out=picture)


@lru_cache(maxsize=16)
def action_field(
    identity: Identity, view: View, action_units: tuple[str, ...], asymmetry: float
) -> Float[np.ndarray, "h w 2"]:
    """Where resting skin goes (right, down), view pixels; scaled so that the largest movement is one frame pixel."""
    pulls = tuple((1.0, pull) for unit in action_units for pull in ACTION_UNITS[unit])
    sided = -asymmetry if identity.mirrored else asymmetry

    def field(place: Float[np.ndarray, "2 h w"]) -> Float[np.ndarray, "2 h w"]:
        return _bells(place, pulls, sided) * remap(mask_picture(FACE, True), *place)

    whole_face = np.stack(np.meshgrid(np.arange(176, 276, 0.5), np.arange(70, 184, 0.5))).astype(np.float32)
    largest = float(np.hypot(*field(whole_face)).max())
    here = field(identity.portrait_points(view.frame_points())) * (view.magnification / largest)
    if identity.mirrored:
        here[0] *= -1
    return np.ascontiguousarray(np.moveaxis(here, 0, 2))


@lru_cache(maxsize=4)
def head_fields(identity: Identity, view: View) -> Float[np.ndarray, "3 h w"]:
    """The soft head mask, and the offset (x, y) from the pivot in view pixels times that mask."""
    points = view.frame_points()
    mask = remap(mask_picture(HEAD, False), *identity.portrait_points(points))
    return np.stack([mask, *((points - np.array(PIVOT, np.float32)[:, None, None]) * view.magnification * mask)])
