"""The embedded default: rendered clips of one public-domain portrait, with known motion, apex and label.

Nothing to download and nothing licensed: it makes the package work out of the box, and it is the only set whose true
flow is known. All subjects share one texture, so it shows that the plumbing works and how exact the flow is; a
recognition accuracy measured on it is **no evidence** of accuracy on real faces.
"""

from __future__ import annotations

import csv
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from microexpr.datasets._face import CROP, Identity
from microexpr.datasets._render import Movement, RenderedFrames
from microexpr.errors import BadInput, DatasetNotFound
from microexpr.types import Clip

NAME = "synthetic"
WHAT = "rendered clips of one portrait with known motion; shows that things work, no evidence of accuracy"
CARRIES = ("frames", "flow")
CLIPS = None  # as many as asked for
SUBJECTS = None
CITATION = (
    "Portrait: NASA, Great Images in NASA (Eileen Collins), as shipped by scikit-image: van der Walt et al., "
    "scikit-image: image processing in Python, PeerJ 2:e453, 2014, doi:10.7717/peerj.453"
)
LICENCE = "the portrait is in the public domain (NASA); what is rendered from it comes without conditions"
HOW_TO_GET = "no root is needed, clips are rendered on demand; `microexpr synthesize OUT` writes them to a folder"
EXPECTED_TREE = """
    ROOT/clips.csv
    ROOT/frames/s01/c01_happiness/0000.png ...
    ROOT/truth/s01/c01_happiness/flow.npy
    ROOT/truth/s01/c01_happiness/head_motion.csv
"""

# Emotion -> the sets of action units that show it; a clip draws one of them.
EMOTIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "happiness": (("6", "12"), ("12",)),
    "surprise": (("1", "2"), ("1", "2", "5")),
    "disgust": (("9", "10"), ("4", "9", "10")),
    "anger": (("4", "7"), ("4",)),
    "sadness": (("15", "17"), ("15",)),
    "contempt": (("14",),),
    "fear": (("5", "20"), ("20",)),
}
NEGATIVE = ("disgust", "anger", "sadness", "contempt", "fear")
COLUMNS = ("key", "subject", "emotion", "action_units", "onset", "apex", "offset", "fps", "peak", "frames")
LARGEST_PEAK = 10.0  # pixels; beyond it the skin would fold


def read(
    root: Path | None = None,
    *,
    subjects: int = 6,
    clips_per_subject: int = 6,
    fps: float = 200.0,
    peak: float = 2.0,
    seed: int = 0,
    crop: bool = True,
) -> list[Clip]:
    """The clips, in the order of their keys; a frame is rendered (or read) when it is asked for.

    Args:
        root: a folder that `write` wrote; None renders. With a root only `crop` applies, the rest is the folder's own.
        subjects, clips_per_subject: how many; from three clips on, every subject shows positive, negative and surprise.
        fps: frames a second.
        peak: largest displacement of the skin at the apex, pixels of the 640x480 frame; clips vary by up to 15%.
        seed: another seed is another set of faces, timings and noise.
        crop: True for one fixed 224x224 face crop a clip, like the cropped releases of real data sets; False for the
            640x480 frame. A crop of a written frame is resampled, so it differs from a rendered crop by its noise.
    """
    if root is not None:
        return _read_folder(root, crop)
    _check_settings(subjects, clips_per_subject, fps, peak, seed)
    places = ((subject, number) for subject in range(subjects) for number in range(clips_per_subject))
    return [_clip(*place, clips_per_subject, float(fps), float(peak), seed, crop) for place in places]


def write(
    out: Path,
    *,
    subjects: int = 6,
    clips_per_subject: int = 6,
    fps: float = 200.0,
    peak: float = 2.0,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write 640x480 PNG frames (about 0.5 MB each) and the truth to `out`, which must be empty or not exist yet.

    Per clip, the truth is ``flow.npy`` (float32 "2 h w", onset -> apex, head motion included, pixels of the 640x480
    frame, see `RenderedFrames.true_flow`) and ``head_motion.csv`` (frame number, shift right and down in pixels,
    clockwise roll in degrees, envelope). Everything goes to a hidden folder beside `out` first, which is renamed at the
    end: a write that was stopped leaves no `out`.

    Args:
        progress: called with (frames written, frames in all).

    Returns:
        `out`.
    """
    clips = read(subjects=subjects, clips_per_subject=clips_per_subject, fps=fps, peak=peak, seed=seed, crop=False)
    place = out.absolute()
    partial = place.with_name(f".{place.name}.partial-{os.getpid()}")
    try:
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            came = f"{out}, which {'holds files' if place.is_dir() else 'is a file'}"
            raise BadInput("a new or empty folder to write to", came, "give another place or delete it")
        partial.mkdir(parents=True)
        try:
            _write_clips(partial, clips, progress or (lambda done, total: None))
            if place.exists():
                place.rmdir()
            partial.rename(place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        advice = "give another place, or make room and check the permissions"
        raise BadInput(f"to write to {out}", error.strerror or str(error), advice) from error
    return out


def _check_settings(subjects: int, clips_per_subject: int, fps: float, peak: float, seed: int) -> None:
    advice = "change this setting"
    for name, value in (("subjects", subjects), ("clips_per_subject", clips_per_subject)):
        if value < 1:
            raise BadInput(f"{name} of 1 or more", str(value), advice)
    if not (math.isfinite(fps) and fps >= 20):
        raise BadInput("fps of 20 or more", str(fps), "a micro-expression would fall between the frames")
    if not 0 < peak <= LARGEST_PEAK:
        raise BadInput(f"a peak above 0 and up to {LARGEST_PEAK:g} pixels", str(peak), advice)
    if seed < 0:
        raise BadInput("a seed of 0 or more", str(seed), advice)


def _clip(subject: int, number: int, clips_per_subject: int, fps: float, peak: float, seed: int, crop: bool) -> Clip:
    """Clip `number` of a subject, both from 0; the three classes take turns, and so do the negative emotions."""
    turn = subject * math.ceil(clips_per_subject / 3) + number // 3
    emotion = ("happiness", NEGATIVE[turn % len(NEGATIVE)], "surprise")[number % 3]
    random = np.random.default_rng([7, seed, subject, number])  # 1..6: the renderer's
    units = EMOTIONS[emotion][random.integers(len(EMOTIONS[emotion]))]
    before, after = (max(1, round(fps * seconds)) for seconds in random.uniform(0.05, 0.10, 2))
    duration = max(2, round(fps * random.uniform(0.16, 0.44)))
    rise = min(max(1, round(duration * random.uniform(0.35, 0.55))), duration - 1)
    amplitude = peak * random.uniform(0.85, 1.15)
    movement = Movement(before, before + rise, before + duration, units, amplitude, random.uniform(-0.1, 0.1))
    name = f"{NAME}/s{subject + 1:02d}"
    identity = Identity((seed, subject), mirrored=subject % 2 == 1)
    length = before + duration + after + 1
    return Clip(
        key=f"{name}/c{number + 1:02d}_{emotion}",
        dataset=NAME,
        subject=name,
        emotion=emotion,
        onset=movement.onset,
        apex=movement.apex,
        offset=movement.offset,
        fps=fps,
        action_units=units,
        frames=RenderedFrames(length, (movement,), identity, (seed, subject, number), fps, crop=crop),
    )


def _inside(key: str) -> Path:
    """Where a clip lies under ``frames/`` and ``truth/``: its key less the data set's name."""
    return Path(*key.split("/")[1:])


def _write_clips(root: Path, clips: list[Clip], progress: Callable[[int, int], object]) -> None:
    import cv2

    done, total = 0, sum(len(clip.frames) for clip in clips if clip.frames)
    rows: list[list[object]] = [list(COLUMNS)]
    for clip in clips:
        rendered = clip.frames
        assert isinstance(rendered, RenderedFrames)  # for the type checker: `read` without a root made them
        assert clip.onset is not None
        assert clip.apex is not None
        frames, truth = root / "frames" / _inside(clip.key), root / "truth" / _inside(clip.key)
        frames.mkdir(parents=True)
        truth.mkdir(parents=True)
        np.save(truth / "flow.npy", rendered.true_flow(clip.onset, clip.apex))
        motion: list[list[object]] = [["frame", "right", "down", "roll_degrees", "strength"]]
        for number in range(len(rendered)):
            _, png = cv2.imencode(".png", rendered.read(number)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
            (frames / f"{number:04d}.png").write_bytes(png.tobytes())
            values = (*rendered.head_motion(number), rendered.strength(number))
            motion.append([number, *(f"{value:.6f}" for value in values)])
            done += 1
            progress(done, total)
        _write_table(truth / "head_motion.csv", motion)
        numbers = [clip.onset, clip.apex, clip.offset, clip.fps, rendered.movements[0].amplitude, len(rendered)]
        rows.append([clip.key, clip.subject, clip.emotion, "+".join(clip.action_units), *numbers])
    _write_table(root / "clips.csv", rows)  # last: a folder without it is not a whole data set


def _write_table(path: Path, rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


@dataclass(frozen=True)
class PngFrames:
    """Frames of a written clip, in numerical order; read, and cropped where asked for, on demand."""

    paths: tuple[Path, ...]
    crop: bool

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, number: int) -> UInt8[np.ndarray, "h w 3"]:
        """One frame, RGB."""
        import cv2

        if not 0 <= number < len(self):
            raise BadInput(f"a frame number from 0 to {len(self) - 1}", str(number), "this clip has no other frames")
        path = self.paths[number]
        data = np.frombuffer(path.read_bytes() if path.is_file() else b"", np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if picture is None:
            came = "a file that can't be decoded" if path.is_file() else "no file"
            raise BadInput(f"a PNG picture at {path}", came, "copy or write the data set again")
        picture = np.ascontiguousarray(picture[..., ::-1])
        if not self.crop:
            return picture
        x, y = CROP.frame_points()
        return cv2.remap(picture, x, y, cv2.INTER_LINEAR)


def _read_folder(root: Path, crop: bool) -> list[Clip]:
    if not root.is_dir():
        raise DatasetNotFound(NAME, root, "MICROEXPR_SYNTHETIC", EXPECTED_TREE, HOW_TO_GET)
    table = root / "clips.csv"
    again = "write it with `microexpr synthesize OUT`"
    if not table.is_file():
        advice = f"the write was stopped or this is another folder; {again}"
        raise BadInput(f"{table}, which is written last", "a folder without it", advice)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    clips = []
    for line, row in enumerate(rows, start=2):
        try:
            clips.append(_clip_of_row(root, row, crop))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"columns {', '.join(COLUMNS)} in {table}", f"line {line} with {error}", again) from error
    if not clips:
        raise BadInput(f"clips in {table}", "none", again)
    return clips


def _clip_of_row(root: Path, row: dict[str, str], crop: bool) -> Clip:
    folder = root / "frames" / _inside(row["key"])
    found = {int(path.stem): path for path in folder.glob("*.png") if path.stem.isdecimal()}
    expected = int(row["frames"])
    if missing := sorted(set(range(expected)) - set(found)):
        came = f"{expected - len(missing)} of them; the first missing is number {missing[0]}"
        raise BadInput(f"{expected} frames in {folder}", came, "copy the folder again or write it again")
    return Clip(
        key=row["key"],
        dataset=NAME,
        subject=row["subject"],
        emotion=row["emotion"],
        onset=int(row["onset"]),
        apex=int(row["apex"]),
        offset=int(row["offset"]),
        fps=float(row["fps"]),
        action_units=tuple(row["action_units"].split("+")),
        frames=PngFrames(tuple(found[number] for number in range(expected)), crop),
    )
