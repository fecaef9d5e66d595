"""Finding events in rendered videos: how exactly in time, how many are missed, how often nothing is taken for one.

    python benchmarks/spotting.py [--cache DIR] [--parts detection quiet noisy] [--method NAME] [--out FILE.csv]
    python benchmarks/spotting.py --render            # renders the videos, measures nothing
    python benchmarks/spotting.py --quick             # few videos

Detection: 84 videos of 2 seconds at 200 frames a second, 640x480: seven emotions, six peak displacements, two of six
faces each, one event whose onset lies at 0.5 to 1.3 s. The head moves by up to 0.3 pixel, the light flickers, and in
33 videos the eyes blink, 0.3 s or more away from the event. An event is found where an event of the answer overlaps
it in time; of several the one that overlaps most counts, the others are false. Onset, apex and offset are right within
40 ms. What the weights say about the events found is shown by emotion: faces share one texture, so this tells whether
the weights carry over to rendered motion, nothing about accuracy.

Quiet: 8 videos of 30 seconds at 100 frames a second without events: four faces, head motion of up to 0.3 and 2 pixels,
15 blinks a minute, flicker of 0.4% and 2%. Every event of the answer is false.

Noisy: 8 videos of 30 seconds without events at 30 and 50 frames a second, each with sensor noise of 12 and 20 gray
levels from the first frame on, as a webcam has in a dark room; the others have 1. Every event of the answer is false.

The videos are rendered once (18 ms of processor time a frame, 10 minutes on two free cores) and kept as gray H.264
without loss, about 6 GB: all motion is measured on gray pictures, so nothing that matters is left out. A file is named
for its settings; delete the folder after changing the renderer itself. `videos.csv` beside the files lists the truth.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np

from microexpr.datasets._face import Identity
from microexpr.datasets._render import FLICKER, RenderedFrames
from microexpr.datasets.rendered_video import Expression, expression, video
from microexpr.datasets.synthetic import EMOTIONS
from microexpr.motion.cache import cache_folder
from microexpr.types import Event
from microexpr.video.source import Frame, Source, open_source

PEAKS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
FACES = 6
REPEATS = 2
TOLERANCE = 0.04  # seconds
HEAD_MOTIONS = (0.3, 2.0)
QUIET_SECONDS = 30.0
NOISES = (12.0, 20.0)  # gray levels


def find(path: Path, fps: float, method: str | None, noise: float = 0.0) -> list[Event]:
    """The events that the recognizer finds; the one place that knows how it is called."""
    from microexpr import videos

    named = {} if method is None else {"method": method}
    if noise:
        return list(videos.recognize(Noisy(path, fps, noise), **named).events)
    return list(videos.recognize(path, fps=fps, **named).events)


class Noisy(Source):
    """A video with sensor noise, the same in every run."""

    def __init__(self, path: Path, fps: float, noise: float) -> None:
        self._video, self._noise = open_source(path, fps), noise
        super().__init__(path.name, self._video.size, fps, self._video.expected)

    def _read(self) -> Iterator[Frame]:
        for frame in self._video.frames():
            random = np.random.default_rng([round(self._noise), frame.index])
            gray = frame.image[..., 0] + self._noise * random.standard_normal(frame.image.shape[:2], np.float32)
            gray = np.clip(np.rint(gray), 0, 255).astype(np.uint8)
            yield Frame(frame.index, frame.seconds, np.repeat(gray[..., None], 3, axis=2))


class Video(NamedTuple):
    """One video: its name and settings, and its events."""

    part: str
    name: str
    frames: RenderedFrames
    events: list[Expression]
    noise: float = 0.0  # gray levels, beside the renderer's own

    @property
    def file(self) -> str:
        """Named for the settings, so that other settings are another file."""
        return f"{self.name}-{hashlib.sha256(repr(self.frames).encode()).hexdigest()[:8]}.mkv"


# --- the videos ---


def face(number: int) -> Identity:
    return Identity((0, number), mirrored=number % 2 == 1)


def detection_videos() -> list[Video]:
    """Ordered so that any first few are of several emotions and peaks."""
    found = []
    for number in range(len(EMOTIONS) * len(PEAKS) * REPEATS):
        turn, kind = divmod(number, len(EMOTIONS))
        emotion, peak = list(EMOTIONS)[kind], PEAKS[(turn + kind) % len(PEAKS)]
        subject = (turn + 2 * kind + 3 * (turn // len(PEAKS))) % FACES  # every face with every peak and emotion
        random = np.random.default_rng([11, number])
        event = expression(emotion, random.uniform(0.5, 1.3), 200.0, peak, random)
        blinks = 80.0 if number % 2 else 0.0
        frames, events = video(2.0, 200.0, [event], seed=number, identity=face(subject), blinks_per_minute=blinks)
        found.append(Video("detection", f"{number:02d}-{emotion}-{peak:g}px-s{subject + 1}", frames, events))
    return found


def quiet_videos() -> list[Video]:
    found = []
    for subject in range(4):
        for head in HEAD_MOTIONS:
            seed = 1000 + len(found)
            flicker = FLICKER if subject % 2 == 0 else 0.02
            frames, events = video(
                QUIET_SECONDS, 100.0, seed=seed, identity=face(subject), head_pixels=head, flicker=flicker
            )
            found.append(Video("quiet", f"quiet-head{head:g}px-flicker{flicker:g}-s{subject + 1}", frames, events))
    return found


def noisy_videos() -> list[Video]:
    found = []
    for number, (subject, fps) in enumerate((subject, fps) for subject in range(4) for fps in (30.0, 50.0)):
        head = HEAD_MOTIONS[(subject + 1) % 2]
        frames, events = video(QUIET_SECONDS, fps, seed=2000 + number, identity=face(subject), head_pixels=head)
        name = f"quiet-{fps:g}fps-s{subject + 1}"
        found += [Video("noisy", name, frames, events, noise) for noise in NOISES]
    return found


def write(path: Path, frames: RenderedFrames) -> None:
    """Gray H.264 without loss; under another name until it is whole."""
    partial = path.with_suffix(f".{os.getpid()}.partial.mkv")
    rate = round(frames.fps)
    with av.open(str(partial), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = frames.view.height, frames.view.width
        stream.pix_fmt, stream.options, stream.thread_count = "gray", {"qp": "0", "preset": "ultrafast"}, 1
        full = av.video.reformatter.ColorRange.JPEG
        stream.codec_context.color_range = full  # all of 0..255; by default gray values would be squeezed and rounded
        for number in range(len(frames)):
            gray = cv2.cvtColor(frames.read(number), cv2.COLOR_RGB2GRAY)
            frame = av.VideoFrame.from_ndarray(gray, "gray")
            frame.color_range, frame.pts, frame.time_base = full, number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    partial.rename(path)


def _render(given: tuple[Path, RenderedFrames]) -> str:
    path, frames = given
    cv2.setNumThreads(1)
    write(path, frames)
    return path.name


def render(videos: list[Video], cache: Path, jobs: int) -> None:
    """Renders what is not in the cache yet; may be stopped and started again."""
    cache.mkdir(parents=True, exist_ok=True)
    files = {video.file: video.frames for video in videos}
    missing = [(cache / name, frames) for name, frames in files.items() if not (cache / name).is_file()]
    if not missing:
        return
    print(f"rendering {len(missing)} of {len(files)} videos to {cache}", flush=True)
    with ProcessPoolExecutor(jobs) as pool:
        start = time.perf_counter()
        for done, name in enumerate(pool.map(_render, missing), start=1):
            print(f"{done}/{len(missing)} {time.perf_counter() - start:.0f} s {name}", flush=True)


def write_list(videos: list[Video], path: Path) -> None:
    """The truth of every video."""
    rows = []
    for one in videos:
        frames, only = one.frames, one.events[0] if one.events else None
        movement = only.movement if only else None
        rows.append(
            {
                "file": one.file,
                "part": one.part,
                "fps": frames.fps,
                "frames": len(frames),
                "subject": frames.identity.seed[-1] + 1,
                "head_pixels": frames.head_pixels,
                "flicker": frames.flicker,
                "emotion": only.emotion if only else "",
                "action_units": "+".join(movement.action_units) if movement else "",
                "peak": movement.amplitude if movement else "",
                "onset": movement.onset if movement else "",
                "apex": movement.apex if movement else "",
                "offset": movement.offset if movement else "",
                "blinks": " ".join(f"{blink.start}+{blink.length}" for blink in frames.blinks),
            }
        )
    write_rows(rows, path)


def write_rows(rows: Sequence[dict], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


# --- measuring ---


def overlap(event: Event, onset: int, offset: int) -> int:
    """Frames that an event shares with the true one."""
    return min(event.offset, offset) - max(event.onset, onset)


def measure(one: Video, found: list[Event], seconds: float) -> dict:
    """One row: the true event, what was found of it and how many other events there are."""
    row: dict = {
        "part": one.part,
        "video": one.name,
        "subject": one.frames.identity.seed[-1] + 1,
        "head_pixels": one.frames.head_pixels,
        "flicker": one.frames.flicker,
        "fps": one.frames.fps,
        "noise": one.noise,
        "blinks": len(one.frames.blinks),
        "minutes": len(one.frames) / one.frames.fps / 60,
        **dict.fromkeys(
            ("emotion", "peak", "found", "onset_ms", "apex_ms", "offset_ms", "kind", "strength", "said"), ""
        ),
        "false": len(found),
        "seconds": seconds,
    }
    for emotion, truth in one.events:
        row.update(emotion=emotion, peak=truth.amplitude, found=0)
        best = max(found, key=lambda event: overlap(event, truth.onset, truth.offset), default=None)
        if best is None or overlap(best, truth.onset, truth.offset) <= 0:
            continue
        row.update(
            found=1, false=len(found) - 1, kind=best.kind, strength=best.strength, said=best.emotion or "abstained"
        )
        for name in ("onset", "apex", "offset"):
            row[f"{name}_ms"] = 1000 * (getattr(best, name) - getattr(truth, name)) / one.frames.fps
    return row


def right(row: dict, *names: str) -> bool:
    """Whether the event was found and these of its times are within the tolerance."""
    return bool(row["found"]) and all(abs(row[f"{name}_ms"]) <= 1000 * TOLERANCE + 1e-6 for name in names)


def show_detection(rows: list[dict]) -> None:
    """Shares by peak, then what was said by emotion."""
    columns = ("peak", "videos", "found", "onset+apex", "onset", "apex", "offset", "misses", "false", "macro")
    print(f"\nDetection, within {1000 * TOLERANCE:.0f} ms\n\n" + " ".join(f"{name:>10s}" for name in columns))
    for peak in [*sorted({row["peak"] for row in rows}), None]:
        own = [row for row in rows if peak in (None, row["peak"])]
        shares = [
            statistics.mean(right(row, *names) for row in own)
            for names in ((), ("onset", "apex"), ("onset",), ("apex",), ("offset",))
        ]
        counts = [
            sum(not row["found"] for row in own),
            sum(row["false"] for row in own),
            sum(row["kind"] == "macro" for row in own),
        ]
        cells = [f"{share:10.2f}" for share in shares] + [f"{count:10d}" for count in counts]
        print(f"{'all' if peak is None else f'{peak:g} px':>10s} {len(own):10d} " + " ".join(cells))
    found = [row for row in rows if row["found"]]
    for name in ("onset_ms", "apex_ms", "offset_ms"):
        if errors := [row[name] for row in found]:
            absolute = statistics.median(abs(error) for error in errors)
            print(f"{name:>10s}: median {statistics.median(errors):+.0f}, median of absolute errors {absolute:.0f}")
    said = sorted({row["said"] for row in found})
    print(
        "\nSaid of the events found\n\n" + f"{'emotion':12s} " + " ".join(f"{name:>10s}" for name in [*said, "missed"])
    )
    for emotion in EMOTIONS:
        own = [row for row in rows if row["emotion"] == emotion]
        counts = [sum(row["said"] == name for row in own) for name in said] + [sum(not row["found"] for row in own)]
        print(f"{emotion:12s} " + " ".join(f"{count:10d}" for count in counts))


def show_quiet(rows: list[dict]) -> None:
    """False events per minute by head motion and flicker."""
    print("\nQuiet video at 100 frames a second\n")
    print(f"{'head':>8s} {'flicker':>8s} {'minutes':>8s} {'blinks':>8s} {'false':>8s} {'a minute':>8s}")
    kinds = sorted({(row["head_pixels"], row["flicker"]) for row in rows})
    for kind in [*kinds, None]:
        own = [row for row in rows if kind in (None, (row["head_pixels"], row["flicker"]))]
        minutes, blinks, false = (sum(row[name] for row in own) for name in ("minutes", "blinks", "false"))
        names = ("all", "") if kind is None else (f"{kind[0]:g} px", f"{kind[1]:.1%}")
        print(f"{names[0]:>8s} {names[1]:>8s} {minutes:8.1f} {blinks:8d} {false:8d} {false / minutes:8.2f}")


def show_noisy(rows: list[dict]) -> None:
    """False events per minute by rate and noise."""
    print("\nNoisy quiet video\n")
    print(f"{'fps':>8s} {'noise':>8s} {'minutes':>8s} {'blinks':>8s} {'false':>8s} {'a minute':>8s}")
    for fps, noise in sorted({(row["fps"], row["noise"]) for row in rows}):
        own = [row for row in rows if (row["fps"], row["noise"]) == (fps, noise)]
        minutes, blinks, false = (sum(row[name] for row in own) for name in ("minutes", "blinks", "false"))
        print(f"{fps:8g} {noise:8g} {minutes:8.1f} {blinks:8d} {false:8d} {false / minutes:8.2f}")


def measured(videos: list[Video], cache: Path, method: str | None) -> list[dict]:
    """All rows; a line for each video as it is done."""
    rows = []
    for one in videos:
        start = time.perf_counter()
        found = find(cache / one.file, one.frames.fps, method, one.noise)
        rows.append(row := measure(one, found, time.perf_counter() - start))
        times = ", ".join(f"{name} {row[name]:+.0f}" for name in ("onset_ms", "apex_ms", "offset_ms") if row["found"])
        what = times or ("missed" if one.events else "quiet")
        print(f"{row['seconds']:6.1f} s  {one.name:40s} {what}; false: {row['false']}; {row['said']}", flush=True)
    return rows


def write_results(rows: list[dict], path: Path) -> None:
    about = f"OpenCV {cv2.__version__}, Python {platform.python_version()}"
    rounded = [
        {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()} | {"about": about}
        for row in rows
    ]
    write_rows(rounded, path)


PARTS = {
    "detection": (detection_videos, show_detection),
    "quiet": (quiet_videos, show_quiet),
    "noisy": (noisy_videos, show_noisy),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="folder of the rendered videos")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--method", help="whose weights name the emotion; the recognizer's own default otherwise")
    parser.add_argument("--jobs", type=int, default=2, help="processes that render")
    parser.add_argument("--render", action="store_true", help="render the videos, measure nothing")
    parser.add_argument("--quick", action="store_true", help="14 videos with an event, 2 quiet and 2 noisy ones")
    parser.add_argument("--out", type=Path, help="CSV of all rows")
    options = parser.parse_args()
    cache = options.cache or cache_folder() / "rendered"
    few = (14, 2, 2) if options.quick else (None, None, None)
    every = {name: made() for name, (made, _) in PARTS.items()}
    videos = [
        one for part, count in zip(every, few, strict=True) if part in options.parts for one in every[part][:count]
    ]
    render(videos, cache, options.jobs)
    write_list([one for part in every.values() for one in part], cache / "videos.csv")
    if options.render:
        return
    rows = measured(videos, cache, options.method)
    for part, (_, show) in PARTS.items():
        if part in options.parts:
            show([row for row in rows if row["part"] == part])
    if options.out:
        write_results(rows, options.out)


if __name__ == "__main__":
    main()
