"""The renderer of the embedded data set: the face of `_face`, moved by action units, with the motion known exactly.

A frame is

    frame_k(x) = neutral(x + d_k(x)) * light_k + noise_k

where ``neutral`` is the resting face of one subject and ``d_k`` the *backward* displacement in pixels: head motion
under a soft head mask first, facial action under a soft face mask second. ``d_k`` is zero outside the head, so the
background stands still. Because ``d_k`` is what is drawn and its inverse is found by iteration, the true flow is the
flow of the pictures, not of a model beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

from microexpr.datasets._blink import Blink, closed, eye_region, lid
from microexpr.datasets._face import (
    ACTION_UNITS,
    CROP,
    FRAME,
    MAGNIFICATION,
    OVERSAMPLING,
    PADDING,
    Identity,
    View,
    action_field,
    head_fields,
    neutral,
    remap,
)
from microexpr.errors import BadInput, UnknownName

SLOPE = 0.06  # largest slope of any action's field at an amplitude of one frame pixel (0.03-0.06, measured)
PRECISION = 0.005  # pixels, of displacements found by iteration; cv2.remap's grid of 1/32 pixel allows no finer one
NOISE = 1.0  # standard deviation of the sensor noise, grey levels
FLICKER = 0.004  # largest relative change of the light
ANYBODY = Identity()  # who is rendered where nobody is named


@dataclass(frozen=True)
class Movement:
    """One facial movement of a rendered video.

    Attributes:
        onset, apex, offset: frame numbers; the face rests at onset and offset and has moved most at the apex.
        action_units: keys of `ACTION_UNITS`.
        amplitude: largest displacement of the skin at the apex, pixels of the 640x480 frame.
        asymmetry: the picture's left side moves (1 + asymmetry) times as much, its right side (1 - asymmetry) times.
    """

    onset: int
    apex: int
    offset: int
    action_units: tuple[str, ...]
    amplitude: float
    asymmetry: float = 0.0

    def __post_init__(self) -> None:
        for unit in self.action_units:
            if unit not in ACTION_UNITS:
                raise UnknownName("rendered action unit", unit, ACTION_UNITS)
        if not self.onset < self.apex < self.offset:
            came = f"{self.onset}, {self.apex}, {self.offset}"
            raise BadInput("onset < apex < offset", came, "give the frame numbers in this order")

    def strength(self, number: int) -> float:
        """The envelope: 0 up to the onset and from the offset on, 1 at the apex, half a cosine on either side."""
        if not self.onset < number < self.offset:
            return 0.0
        rest = self.onset if number <= self.apex else self.offset
        return 0.5 - 0.5 * math.cos(math.pi * (number - rest) / (self.apex - rest))


def _at(field: Float[np.ndarray, "h w 2"], points: Float[np.ndarray, "2 h w"]) -> Float[np.ndarray, "2 h w"]:
    """A displacement field read between its pixels."""
    return np.moveaxis(remap(field, *points), 2, 0)


@lru_cache(maxsize=2)
def _pixels(view: View) -> Float[np.ndarray, "2 h w"]:
    """Every pixel's own place (x, y) in the view."""
    return np.stack(np.meshgrid(np.arange(view.width), np.arange(view.height))).astype(np.float32)


@dataclass(frozen=True)
class RenderedFrames:
    """The pictures of one rendered clip or video; every frame is drawn when it is read, and only then.

    The same settings give the same bytes, whatever was read before. Without movements this is a quiet video: head
    motion, flicker and noise only. Frame numbers run from 0.

    Attributes:
        length: number of frames.
        movements: facial movements; where they overlap in time their displacements add up.
        identity: the subject.
        seed: numbers that noise, flicker and head motion are drawn from.
        fps: frames a second.
        head_pixels: bound of the slow head shift, pixels of the 640x480 frame; 0 keeps the head still.
        crop: True for a fixed 224x224 face crop, False for the 640x480 frame.
        blinks: eye blinks. They cover skin and eyes instead of moving them, so they are no part of the true flow.
        flicker: bound of the slow relative change of the light; 0 keeps it steady.
    """

    length: int
    movements: tuple[Movement, ...] = ()
    identity: Identity = ANYBODY
    seed: tuple[int, ...] = (0,)
    fps: float = 200.0
    head_pixels: float = 0.3
    crop: bool = True
    blinks: tuple[Blink, ...] = ()
    flicker: float = FLICKER

    @property
    def view(self) -> View:
        """The part of the 640x480 frame that is rendered."""
        return CROP if self.crop else FRAME

    def __len__(self) -> int:
        return self.length

    def read(self, number: int) -> UInt8[np.ndarray, "h w 3"]:
        """One frame, RGB, with flicker, sensor noise and 8-bit rounding."""
        picture = self.clean(number) * np.float32(self._light(number))
        noise = np.random.default_rng([4, number, *self.seed]).standard_normal(picture.shape, dtype=np.float32)
        noise *= NOISE
        picture += noise
        return np.clip(np.rint(picture, out=picture), 0, 255, out=picture).astype(np.uint8)

    def clean(self, number: int) -> Float[np.ndarray, "h w 3"]:
        """One frame without flicker, noise and rounding, 0..255."""
        place = _pixels(self.view) + self._backward(number)
        picture = self._neutral_at(place)
        if shut := closed(self.blinks, number):
            self._close_eyes(picture, place, shut)
        return picture

    def _neutral_at(self, place: Float[np.ndarray, "2 h w"]) -> Float[np.ndarray, "h w 3"]:
        """The face at rest at points (x, y) of the view."""
        fine = (place + (PADDING + 0.5)) * OVERSAMPLING - 0.5
        return remap(neutral(self.identity, self.view), *fine)

    def _close_eyes(self, picture: Float[np.ndarray, "h w 3"], place: Float[np.ndarray, "2 h w"], shut: float) -> None:
        """Draws the upper lids over the eyes of a picture that shows the face at points (x, y) of the view."""
        corner = np.array([self.view.left, self.view.top], np.float32)[:, None, None]
        points = corner - np.float32(0.5) + (place + np.float32(0.5)) / np.float32(self.view.magnification)
        eyes = eye_region(self.identity.unwarped(points))
        cover, higher = lid(self.identity.portrait_points(points[:, *eyes]), shut)
        source = place[:, *eyes].copy()
        source[1] -= higher * np.float32(MAGNIFICATION * self.view.magnification)
        picture[eyes] += cover[..., None] * (self._neutral_at(source) - picture[eyes])

    def strength(self, number: int) -> float:
        """The envelope at one frame, 0..1: how far the strongest movement has gone."""
        self._check(number)
        return max((movement.strength(number) for movement in self.movements), default=0.0)

    def head_motion(self, number: int) -> Float[np.ndarray, "motion=3"]:
        """Since frame 0: shift right and down, pixels of these frames; clockwise roll about the neck, degrees."""
        self._check(number)
        # A sine less its start is bounded by 2. The roll moves the hair, 400 pixels above the neck, by half the shift.
        bound = self.head_pixels * np.array([self.view.magnification] * 2 + [math.degrees(0.5 / 400)])
        return bound / 2 * self._sway(5, 3, 0.3, 0.9, number)

    def true_flow(self, first: int, second: int) -> Float[np.ndarray, "2 h w"]:
        """The flow w of the pictures, pixels of these frames, u right and v down: first(x) = second(x + w(x)).

        Head motion is part of it. As frame k is drawn from neutral(x + d_k(x)), w solves
        x + w + d_second(x + w) = x + d_first(x).
        """
        start, end = self._backward(first), np.ascontiguousarray(np.moveaxis(self._backward(second), 0, 2))
        flow = start.copy()
        for _ in range(20):
            # Half steps: where skin is squeezed the slope of d exceeds one and whole steps would not converge.
            flow += np.float32(0.5) * (start - _at(end, _pixels(self.view) + flow) - flow)
        return flow

    def _check(self, number: int) -> None:
        if not 0 <= number < self.length:
            raise BadInput(f"a frame number from 0 to {self.length - 1}", str(number), "this clip has no other frames")

    def _sway(self, stream: int, count: int, slowest: float, fastest: float, number: int) -> np.ndarray:
        """`count` sines of random phase and frequency (hertz), less their value at frame 0."""
        random = np.random.default_rng([stream, *self.seed])
        frequency, phase = random.uniform(slowest, fastest, count), random.uniform(0, 2 * math.pi, count)
        return np.sin(phase + 2 * math.pi * frequency * number / self.fps) - np.sin(phase)

    def _light(self, number: int) -> float:
        """Slow light flicker: brightness relative to frame 0."""
        return 1.0 + self.flicker / 4 * float(self._sway(6, 2, 0.5, 4.0, number).sum())

    def _backward(self, number: int) -> Float[np.ndarray, "2 h w"]:
        """d_k: where the neutral picture is looked up, less the pixel's own place; view pixels."""
        right, down, roll = (float(value) for value in self.head_motion(number))
        mask, x, y = head_fields(self.identity, self.view)
        # The inverse of a shift and a roll about the pivot, to first order of the roll, which is below a thousandth.
        head = np.stack([math.radians(roll) * y - right * mask, -math.radians(roll) * x - down * mask])
        skin = np.zeros((*mask.shape, 2), np.float32)
        amplitude = 0.0
        for movement in self.movements:
            if now := movement.amplitude * movement.strength(number):
                skin += np.float32(now) * action_field(
                    self.identity, self.view, movement.action_units, movement.asymmetry
                )
                amplitude += now
        # The fields say where resting skin goes; drawing needs where it comes from: b(x) = skin(x + head(x) - b(x)).
        # Every round shrinks the error by the slope of the field.
        face, slope, error = np.zeros_like(head), min(SLOPE * amplitude, 0.8), amplitude
        while error > PRECISION:
            face, error = _at(skin, _pixels(self.view) + head - face), error * slope
        return head - face
