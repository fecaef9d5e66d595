"""How fast a video goes through: frames a second, latency, memory, and what `microexpr recognize` takes from the shell.

    python benchmarks/stream.py [--minutes 10] [--live-seconds 60] [--rounds 5] [--cache DIR] [--out results/X.csv]

The input is rendered: 20 seconds of 640x480 at 200 frames a second with six movements, blinks and head motion, stored
as H.264 (yuv420p, crf 18, medium). The stream of many minutes is this file again and again with its clock going on;
where it begins anew the head jumps by up to a pixel, as if the video had been cut.

- Stream: the file is read as fast as it is recognized, by one reader thread and the recognizer with a queue of 16
  frames. Frames a second over the whole; resident memory after every tenth of the time.
- Live: the file paced at its own rate. Latency is the time from a frame's arrival in the queue to its answer; that of
  events is told apart, because a movement is classified there. Frames that find the queue full are dropped, counted.
- Shell: wall time of the command on a file of two seconds (400 frames), start-up and imports included, by turns with
  and without `--out`, after one run that is not counted (it fills the cache of compiled code).
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from microexpr.classifier import classifier
from microexpr.datasets._render import Identity
from microexpr.datasets.rendered_video import video
from microexpr.evaluation import record
from microexpr.faces.detect import detector
from microexpr.motion.cache import cache_folder
from microexpr.video.reader import Ahead
from microexpr.video.recognizer import Recognizer
from microexpr.video.source import Frame, Source, open_source

FPS = 200


class Repeated(Source):
    """A source again and again, its clock and numbers going on."""

    def __init__(self, source: Source, seconds: float) -> None:
        super().__init__(source.name, source.size, source.header_fps)
        self._source, self._seconds = source, seconds

    def _read(self) -> Iterator[Frame]:
        number = 0
        while number / FPS < self._seconds:
            for frame in self._source.frames():
                if number / FPS >= self._seconds:
                    return
                yield Frame(number, number / FPS, frame.image)
                number += 1


def rendered(seconds: float, events: int, folder: Path) -> Path:
    """A rendered file, made once."""
    file = folder / f"stream-{seconds:g}s.mp4"
    if file.exists():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    frames, _ = video(seconds, FPS, events, peak=1.5, seed=1, identity=Identity((1,)))
    partial = file.with_suffix(".partial.mp4")
    with av.open(str(partial), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for number in range(len(frames)):
            for packet in stream.encode(av.VideoFrame.from_ndarray(frames.read(number), format="rgb24")):
                container.mux(packet)
        container.mux(stream.encode())
    partial.rename(file)
    return file


def resident() -> float:
    """Megabytes of this process that lie in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def flow_through(source: Source, live: bool, seconds: float) -> dict[str, float]:
    """One pass; what was measured."""
    recognizer = Recognizer(detector("haar"), classifier())
    ahead = Ahead(source, live=live)
    latencies, of_events, memory = [], [], []
    begin = time.perf_counter()
    for frame, arrival in ahead.frames():
        events = recognizer.push(frame)
        now = time.perf_counter()
        latencies.append(now - arrival)
        of_events += [now - arrival] * len(events)
        if frame.seconds >= (len(memory) + 1) * seconds / 10:
            memory.append(resident())
    events = len(of_events) + len(recognizer.flush())
    spent = time.perf_counter() - begin
    memory.append(resident())
    milliseconds = 1000 * np.array(latencies)
    found = {
        "frames": recognizer.frames,
        "frames a second": recognizer.frames / spent,
        "dropped": ahead.dropped,
        "events": events,
        "memory after a tenth, MB": memory[0],
        "memory at the end, MB": memory[-1],
    }
    if live:
        found |= {f"latency p{q}, ms": float(np.percentile(milliseconds, q)) for q in (50, 99)}
        found |= {f"event latency p{q}, ms": float(np.percentile(1000 * np.array(of_events), q)) for q in (50, 99)}
    return found


def shell(file: Path, rounds: int) -> dict[str, float]:
    """Median and least wall seconds of the command, without and with --out."""
    times: dict[str, list[float]] = {"": [], " --out": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for option, spent in times.items():
                command = [sys.executable, "-m", "microexpr", "recognize", str(file)]
                command += ["--out", f"{folder}/{number}"] if option else []
                begin = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                spent.append(time.perf_counter() - begin)
    return {
        f"recognize{option}, {name} s": float(value)
        for option, spent in times.items()
        for name, value in (("median", np.median(spent[1:])), ("least", min(spent[1:])))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--live-seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=cache_folder() / "stream")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    short, long = rendered(2.0, 1, options.cache), rendered(20.0, 6, options.cache)
    rows: list[tuple[str, str, float]] = []
    for part, measured in (
        ("shell", lambda: shell(short, options.rounds)),
        ("stream", lambda: flow_through(*_repeated(long, 60 * options.minutes, False))),
        ("live", lambda: flow_through(*_repeated(long, options.live_seconds, True))),
    ):
        for what, value in measured().items():
            rows.append((part, what, round(value, 2)))
            print(f"{part:<8}{what:<32}{value:10.2f}", flush=True)
    if options.out:
        about = f"{record.machine()['processor']}, {os.cpu_count()} cores; Python {platform.python_version()}"
        with options.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("part", "what", "value", "machine"))
            writer.writerows((*row, about) for row in rows)


def _repeated(file: Path, seconds: float, live: bool) -> tuple[Source, bool, float]:
    return Repeated(open_source(file), seconds), live, seconds


if __name__ == "__main__":
    main()
