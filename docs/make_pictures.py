"""The pictures docs/images/stage-*.png: one rendered smile on its way from a frame to a prediction.

    python docs/make_pictures.py [--weights FILE] [--out docs/images]

Every picture shows what the recognizer itself had at that stage.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from microexpr.classifier import WeightsClassifier, classifier, published_form
from microexpr.datasets._blink import Blink
from microexpr.datasets._face import Identity
from microexpr.datasets._render import Movement
from microexpr.datasets.rendered_video import Expression, video
from microexpr.faces.align import BROWS, EYES, MOUTH, Registration
from microexpr.faces.detect import Face, choose, detector
from microexpr.faces.regions import EYE_OPENINGS, MAP_CROP, NAMED, NAMES, NEAR_EYES
from microexpr.methods.calibrated import temper
from microexpr.motion.color import flow_to_color
from microexpr.motion.flow import magnitude, strain
from microexpr.types import Event
from microexpr.video import canvas
from microexpr.video.canvas import BLUE, INK, ORANGE, PAPER, RULE, SKY, SOFT, Chart, write
from microexpr.video.draw import _with_wheel, event_plate
from microexpr.video.recognizer import Evidence, Recognizer
from microexpr.video.source import open_source
from microexpr.video.track import Track
from microexpr.video.tracking import Tracked

FPS, SECONDS = 200.0, 1.9
SMILE = Movement(onset=220, apex=252, offset=296, action_units=("6", "12"), amplitude=1.5, asymmetry=0.05)
BLINK = Blink(start=90, length=44)
HEAD = 4.0  # pixels of slow sway
PANEL, LARGE, FRAME, GAP, CAPTION = 224, 448, 320, 16, 30
WIDTH = 5 * GAP + 4 * PANEL
GROUND, BAR, NAMED_BAR = (250, 251, 252), (176, 190, 208), (31, 98, 158)
DIFFERENCE = 8  # times
ARROW = 30  # times
STEPS = {"face": 8, "aligned": 6, "regions": 6, "flow": 6, "map": 4, "plate": 4}  # gray levels; finer is sensor noise


@dataclass(frozen=True)
class Seen:
    """What the recognizer had of the video: every frame with its face, level and threshold; the event."""

    tracked: list[Tracked]
    level: np.ndarray
    threshold: np.ndarray
    event: Event
    evidence: Evidence

    @property
    def seconds(self) -> np.ndarray:
        return np.array([one.frame.seconds for one in self.tracked])

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """How far every region "frame region" and every eye "frame eye" has moved since the first frames, pixels."""
        motion = np.stack([one.motion for one in self.tracked if one.motion is not None])
        eyes = np.stack([one.eyes for one in self.tracked if one.eyes is not None])
        moved = motion - np.median(motion, axis=1, keepdims=True)
        moved, eyes = moved - moved[:20].mean(axis=0), eyes - eyes[:20].mean(axis=0)
        return np.hypot(moved[..., 0], moved[..., 1]), np.abs(eyes)


def recognized(named: WeightsClassifier) -> Seen:
    """Renders the video and recognizes it."""
    smile = Expression("happiness", SMILE)
    frames, _ = video(SECONDS, FPS, [smile], seed=4, identity=Identity((0, 0)), blinks_per_minute=0, head_pixels=HEAD)
    shown = replace(frames, blinks=(BLINK,))
    recognizer = Recognizer(detector("haar"), named, keep=True)
    tracked, level, threshold, events = [], [], [], []
    for frame in open_source([shown.read(number) for number in range(len(shown))], FPS).frames():
        events += recognizer.push(frame)
        assert recognizer.tracked is not None
        tracked.append(recognizer.tracked)
        level.append(recognizer.level)
        threshold.append(recognizer.threshold)
    events += recognizer.flush()
    (event,) = events
    evidence = recognizer.evidence(event)
    assert evidence is not None
    return Seen(tracked, np.array(level), np.array(threshold), event, evidence)


def paper(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)


def put(picture: np.ndarray, content: np.ndarray, left: int, words: str, side: int = PANEL, top: int = GAP) -> None:
    """A square picture with a line below it."""
    kind = cv2.INTER_NEAREST if content.shape[0] < 64 else cv2.INTER_CUBIC  # the pixels of a map should be seen
    colors = np.repeat(content[..., None], 3, axis=2) if content.ndim == 2 else content
    picture[top : top + side, left : left + side] = cv2.resize(colors, (side, side), interpolation=kind)
    canvas.frame(picture, left, top, side, side, RULE)
    write(picture, words, left, top + side + 7, SOFT, 14)


def arrow(picture: np.ndarray, start: Sequence[float], end: Sequence[float], color: tuple[int, int, int]) -> None:
    """Where hardly anything moves, a dot."""
    first, second = (tuple(round(16 * value) for value in point) for point in (start, end))
    length = math.hypot(end[0] - start[0], end[1] - start[1])
    for wide, tone in ((4, PAPER), (2, color)):
        if length < 6:
            cv2.circle(picture, first, 16 * wide // 2 + 8, tone, -1, cv2.LINE_AA, 4)
        else:
            cv2.arrowedLine(picture, first, second, tone, wide, cv2.LINE_AA, 4, min(5 / length, 0.35))


def face_picture(seen: Seen) -> np.ndarray:
    """The frame with the box, and the points that the head is followed by."""
    onset = seen.tracked[seen.event.onset]
    image, box = onset.frame.image, onset.box
    assert box is not None
    shrunk = FRAME / image.shape[0]
    width = round(image.shape[1] * shrunk)
    picture = paper(3 * GAP + width + FRAME, 2 * GAP + FRAME + CAPTION - 8)
    picture[GAP : GAP + FRAME, GAP : GAP + width] = cv2.resize(image, (width, FRAME), interpolation=cv2.INTER_AREA)
    place = (GAP + box.x * shrunk, GAP + box.y * shrunk, box.width * shrunk, box.height * shrunk)
    canvas.frame(picture, place[0] - 1, place[1] - 1, place[2] + 2, place[3] + 2, INK, 4)
    canvas.frame(picture, *place, PAPER, 2)
    write(picture, f"a frame of 640x480; the face box, {box.width:.0f} pixels wide", GAP, GAP + FRAME + 7, SOFT, 14)
    left = 2 * GAP + width
    registration = Registration(image, box)
    face = registration.align(image).image
    put(picture, face, left, "points that the head is followed by", FRAME)
    for part in (BROWS, *EYES, MOUTH):
        x, y, right, bottom = (FRAME * edge for edge in part)
        canvas.fill(picture, left + x, GAP + y, right - x, bottom - y, ORANGE, 0.25)
    for point in _points_on_face(registration, box):
        at = tuple(round(16 * (offset + FRAME * value)) for offset, value in zip((left, GAP), point, strict=True))
        cv2.circle(picture, at, 16 * 4, PAPER, -1, cv2.LINE_AA, 4)
        cv2.circle(picture, at, round(16 * 2.7), BLUE, -1, cv2.LINE_AA, 4)
    return picture


def _points_on_face(registration: Registration, box: Face) -> np.ndarray:
    """The followed points in sides of the face box."""
    left, top, _, _ = registration._region
    return (registration._points / registration._scale + [left - box.x, top - box.y] + 0.5) / [box.width, box.height]


def aligned_picture(seen: Seen) -> np.ndarray:
    """Onset, apex, and what differs without and with the residual alignment."""
    views = [seen.tracked[number].view for number in (seen.event.onset, seen.event.apex)]
    first, second = (view for view in views if view is not None)
    picture = paper(WIDTH, 2 * GAP + PANEL + CAPTION - 8)
    shift = Registration(first.picture, first.face).align(second.picture).shift_px
    later = 1000 * (seen.event.apex_seconds - seen.event.onset_seconds)
    put(picture, seen.evidence.onset, GAP, f"onset, {seen.event.onset_seconds:.3f} s")
    put(picture, seen.evidence.apex, 2 * GAP + PANEL, f"apex, +{later:.0f} ms; head moved {shift:.1f} px")
    for number, (residual, words) in enumerate((("off", "one crop for both"), ("points", "aligned by points")), 2):
        registration = Registration(first.picture, first.face, residual)
        one, other = (registration.align(view.picture).image.astype(float) for view in (first, second))
        change = np.abs(other - one).mean(axis=2)
        left = GAP + number * (PANEL + GAP)
        inverted = np.clip(255 - DIFFERENCE * change, 0, 255).astype(np.uint8)
        put(picture, inverted, left, f"difference x{DIFFERENCE}: {words}")
    return picture


def mean_face() -> np.ndarray:
    """The aligned faces of eight rendered subjects, averaged."""
    find, faces = detector("haar"), []
    for number in range(8):
        frames, _ = video(0.1, 20.0, identity=Identity((0, number), mirrored=number % 2 == 1), blinks_per_minute=0)
        image = frames.read(0)
        faces.append(Registration(image, choose(find(image), 0)[0]).align(image).image.mean(axis=2))
    return np.mean(faces, axis=0).astype(np.uint8)


def regions_picture(seen: Seen) -> np.ndarray:
    """The named regions, and how far they have moved at the apex."""
    picture = paper(3 * GAP + 2 * LARGE, 2 * GAP + LARGE + CAPTION - 8)
    put(picture, mean_face(), GAP, "the regions, and the eye openings, on a mean face", LARGE)
    for box in EYE_OPENINGS:
        x, y, right, bottom = (LARGE * edge for edge in box)
        canvas.fill(picture, GAP + x, GAP + y, right - x, bottom - y, ORANGE, 0.3)
        canvas.frame(picture, GAP + x, GAP + y, right - x, bottom - y, ORANGE, 2)
    for name, box in NAMED.items():
        x, y, right, bottom = (GAP + LARGE * edge for edge in box)
        canvas.fill(picture, x, y, right - x, bottom - y, PAPER, 0.45)
        canvas.frame(picture, x, y, right - x, bottom - y, BLUE, 2)
        lines = canvas.wrapped(name, 11, right - x - 10, most=3)
        for number, line in enumerate(lines):
            write(picture, line, (x + right) / 2, (y + bottom) / 2 + 13 * (number - len(lines) / 2) - 1, INK, 11, 0.5)
    left = 2 * GAP + LARGE
    put(picture, seen.evidence.onset, left, f"their motion at the apex, x{ARROW}; the strongest in blue", LARGE)
    motion = seen.tracked[seen.event.apex].motion
    rest = seen.tracked[seen.event.onset].motion
    assert motion is not None
    assert rest is not None
    moved = motion - rest
    moved = moved - np.median(moved, axis=0)
    for name, vector in zip(NAMES, moved, strict=True):
        x, y, right, bottom = NAMED[name]
        start = left + LARGE * (x + right) / 2, GAP + LARGE * (y + bottom) / 2
        strong = name in seen.event.regions
        arrow(picture, start, (start[0] + ARROW * vector[0], start[1] + ARROW * vector[1]), BLUE if strong else INK)
    return picture


def _chart(picture: np.ndarray, top: int, height: int, seen: Seen, peak: float, title: str) -> Chart:
    """Axes and ground of a trace over the whole video."""
    chart = Chart(56, top, WIDTH - 56 - 2 * GAP, height, 0.0, float(seen.seconds[-1]), peak)
    canvas.fill(picture, chart.left, chart.top, chart.width, chart.height, GROUND)
    canvas.fill(picture, chart.left, top + height, chart.width, 1, SOFT)
    for seconds in canvas.ticks(0.0, chart.end, 10):
        canvas.fill(picture, chart.x(seconds), top + height, 1, 4, SOFT)
        write(picture, f"{seconds:.1f}", chart.x(seconds), top + height + 5, SOFT, 12, align=0.5)
    for value in canvas.ticks(0.0, peak, 4):
        canvas.fill(picture, chart.left - 4, chart.y(value), 4, 1, SOFT)
        write(picture, f"{value:g}", chart.left - 7, chart.y(value) - 9, SOFT, 12, 1.0)
    write(picture, title, GAP, top - 46, INK, 15)
    return chart


def trace_picture(seen: Seen) -> np.ndarray:
    """What moved, and what counts of it: the blink does not."""
    regions, eyes = seen.lengths()
    picture = paper(WIDTH, 470)
    peak = 1.1 * float(max(eyes.max(), regions.max()))
    upper = _chart(picture, 62, 130, seen, peak, "motion since the first frames, pixels")
    near, away = regions[:, list(NEAR_EYES)].max(axis=1), np.delete(regions, list(NEAR_EYES), axis=1).max(axis=1)
    lines = (
        (eyes.max(axis=1), ORANGE, "eyes"),
        (near, SKY, "brows and cheeks"),
        (away, INK, "forehead, nose, mouth, chin"),
    )
    for values, color, _ in lines:
        upper.line(picture, seen.seconds, values, color, 2)
    _legend(picture, upper, lines)
    title = "motion of the region that stands out most, pixels"
    lower = _chart(picture, 300, 120, seen, 1.1 * float(np.nanmax(seen.level)), title)
    event = seen.event
    lower.span(picture, event.onset_seconds, event.offset_seconds, BLUE, 0.16)
    lower.line(picture, seen.seconds, seen.threshold, ORANGE, 2)
    lower.line(picture, seen.seconds, seen.level, INK, 2)
    for word, seconds, align in (
        ("onset ", event.onset_seconds, 1.0),
        ("apex", event.apex_seconds, 0.5),
        (" offset", event.offset_seconds, 0.0),
    ):
        canvas.fill(picture, lower.x(seconds), lower.top - 4, 1, lower.height + 4, BLUE)
        write(picture, word, lower.x(seconds), lower.top - 22, INK, 13, align=align)
    _legend(picture, lower, ((seen.level, INK, "level"), (seen.threshold, ORANGE, "threshold")))
    middle = (BLINK.start + BLINK.length / 2) / FPS
    write(picture, "a blink: not counted", lower.x(middle), lower.top - 22, SOFT, 13, align=0.5)
    write(picture, "seconds", WIDTH - 2 * GAP, lower.top + lower.height + 22, SOFT, 12, align=1.0)
    return picture


def _legend(picture: np.ndarray, chart: Chart, lines: Sequence[tuple[np.ndarray, tuple[int, int, int], str]]) -> None:
    x = float(chart.left + chart.width)
    for _, color, words in reversed(lines):
        write(picture, words, x, chart.top - 46, SOFT, 13, align=1.0)
        x -= canvas.text_size(words, 13)[0] + 24
        canvas.fill(picture, x, chart.top - 37, 18, 3, color)
        x -= 18


def dark(values: np.ndarray) -> np.ndarray:
    """0 white, the largest black."""
    return np.rint(255 * (1 - values / max(float(values.max()), 1e-9))).astype(np.uint8)


def flow_picture(seen: Seen) -> np.ndarray:
    """The flow as colors, as arrows on the face, its length and its strain."""
    flow = seen.evidence.flow
    picture = paper(WIDTH, 2 * GAP + PANEL + CAPTION - 8)
    put(picture, _with_wheel(flow_to_color(flow)), GAP, "flow: hue is direction")
    left = 2 * GAP + PANEL
    put(picture, seen.evidence.onset, left, "the same as arrows, x14")
    for y in range(12, PANEL, 20):
        for x in range(12, PANEL, 20):
            u, v = flow[:, y - 4 : y + 4, x - 4 : x + 4].mean(axis=(1, 2))
            if math.hypot(u, v) > 0.3:
                start = left + x, GAP + y
                arrow(picture, start, (start[0] + 14 * u, start[1] + 14 * v), BLUE)
    length, stretched = magnitude(flow), strain(flow)
    put(picture, dark(length), 3 * GAP + 2 * PANEL, f"length, up to {length.max():.1f} px")
    put(picture, dark(cv2.GaussianBlur(stretched, (0, 0), 1.5)), 4 * GAP + 3 * PANEL, "strain (smoothed to be seen)")
    return picture


def map_picture(seen: Seen) -> np.ndarray:
    """The part of the face that the published maps show, and the map of this movement."""
    picture = paper(WIDTH, 2 * GAP + PANEL + CAPTION - 8)
    put(picture, seen.evidence.onset, GAP, "the part that published maps show")
    left, top, right, bottom = (PANEL * edge for edge in MAP_CROP)
    shade = picture[GAP : GAP + PANEL, GAP : GAP + PANEL].copy()
    canvas.fill(picture, GAP, GAP, PANEL, PANEL, PAPER, 0.55)
    inside = slice(round(top), round(bottom)), slice(round(left), round(right))
    picture[GAP : GAP + PANEL, GAP : GAP + PANEL][inside] = shade[inside]
    canvas.frame(picture, GAP + left, GAP + top, right - left, bottom - top, BLUE, 2)
    names = ("u, 28x28: bright is to the right", "v: bright is down", "strain: bright is stretched")
    channels = published_form(seen.evidence.flow).channels
    for number, (channel, words) in enumerate(zip(channels, names, strict=True), 1):
        put(picture, channel, GAP + number * (PANEL + GAP), words)
    return picture


def decision_picture(seen: Seen, named: WeightsClassifier) -> np.ndarray:
    """What the method says, what the temperature makes of it where there is one, and what is named."""
    x = named.method.represent(named._clip(seen.evidence))
    raw = np.asarray(named.method.predict_proba(x[None])[0], float)
    tempered = temper(raw, named.temperature)
    columns = [("as the method says", raw), (f"with temperature {named.temperature:.2f}", tempered)]
    columns = columns if named.temperature != 1 else columns[:1]
    width = (WIDTH - 4 * GAP) // 3 - GAP
    picture = paper((len(columns) + 1) * (width + 2 * GAP), 236)
    for number, (words, values) in enumerate(columns):
        left = GAP + number * (width + 2 * GAP)
        write(picture, words, left, GAP, INK, 15)
        for row, (name, value) in enumerate(zip(named.classes, values, strict=True)):
            y = GAP + 34 + 52 * row
            best = value == values.max()
            write(picture, name, left, y, INK if best else SOFT, 15)
            write(picture, f"{100 * value:.1f} %", left + width, y, INK, 15, align=1.0)
            canvas.fill(picture, left, y + 24, width, 12, RULE)
            canvas.fill(picture, left, y + 24, round(width * value), 12, NAMED_BAR if best else BAR)
        if number == len(columns) - 1 and 0 < named.threshold < 1:
            canvas.fill(picture, left + width * named.threshold, GAP + 30, 2, 160, ORANGE)
            words = f"threshold {100 * named.threshold:.0f} %"
            write(picture, words, left + width * named.threshold, GAP + 192, INK, 13, align=0.5)
    left = GAP + len(columns) * (width + 2 * GAP)
    write(picture, "the answer", left, GAP, INK, 15)
    emotion = seen.event.emotion
    write(picture, emotion or "none", left, GAP + 50, BLUE if emotion else SOFT, 28)
    reason = f"{100 * tempered.max():.0f} % is not under the threshold, so the class is named"
    for number, line in enumerate(canvas.wrapped(seen.event.abstained or reason, 15, width, most=4)):
        write(picture, line, left, GAP + 98 + 21 * number, SOFT, 15)
    return picture


def plate_picture(seen: Seen, named: WeightsClassifier) -> np.ndarray:
    """What `microexpr recognize` draws of the event."""
    track = Track()
    for one, level, threshold in zip(seen.tracked, seen.level, seen.threshold, strict=True):
        track.add(one.frame.index, one.frame.seconds, None, level, threshold)
    evidence = seen.evidence
    return event_plate(seen.event, evidence.onset, evidence.apex, evidence.flow, track, named.name)


def save(picture: np.ndarray, file: Path, step: int) -> None:
    """A small file: gray levels in steps, without the sensor noise that is between them."""
    levels = np.minimum(step * np.rint(picture / step), 255)
    levels[picture == 255] = 255  # the paper stays white
    Image.fromarray(levels.astype(np.uint8)).save(file, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="trained weights (default: those that come with the package)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images", metavar="DIR")
    options = parser.parse_args()
    named = classifier(options.weights)
    seen = recognized(named)
    pictures = {
        "face": face_picture(seen),
        "aligned": aligned_picture(seen),
        "regions": regions_picture(seen),
        "trace": trace_picture(seen),
        "flow": flow_picture(seen),
        "map": map_picture(seen),
        "decision": decision_picture(seen, named),
        "plate": plate_picture(seen, named),
    }
    for name, picture in pictures.items():
        save(picture, options.out / f"stage-{name}.png", STEPS.get(name, 1))


if __name__ == "__main__":
    main()
