"""How fast a video goes through: frames a second, latency, memory, and what `microexpr recognize` takes from the shell.

    python benchmarks/stream.py [--minutes 10] [--live-seconds 60] [--rounds 5] [--cache DIR] [--out results/X.csv]

The input is rendered: 20 seconds of 640x480 at 200 frames a second with six movements, blinks and head motion, stored
as H.264 (yuv420p, crf 18, medium). The stream of many minutes is this file again and again with its clock going on;
where it begins anew the head jumps by up to a pixel, as if the video had been cut.

- Stream: `microexpr.stream`, as fast as it goes. Frames a second from the first frame to the last event; resident
  memory after a tenth of the time and at the end.
- Live: `microexpr.live`, at the file's own rate. Latency is the time from a frame's arrival in the queue to its answer;
  that of events is told apart, because a movement is classified there. Frames that find the queue full are dropped,
  counted.
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

from microexpr import videos
from microexpr.datasets._face import Identity
from microexpr.datasets.rendered_video import video
from microexpr.evaluation import record
from microexpr.motion.cache import cache_folder
from microexpr.video.source import Frame, Source, open_source

FPS = 200


class Repeated(Source):
    """A source again and again, its clock and numbers going on.

    Attributes:
        begin: when the first frame was asked for, by `time.perf_counter`.
        frames_read: so far.
        memory: megabytes after every tenth of the time, except the last.
    """

    def __init__(self, source: Source, seconds: float) -> None:
        super().__init__(source.name, source.size, source.header_fps)
        self._source, self._seconds = source, seconds
        self.begin, self.frames_read, self.memory = 0.0, 0, list[float]()

    def _read(self) -> Iterator[Frame]:
        self.begin = time.perf_counter()
        while self.frames_read / FPS < self._seconds:
            for frame in self._source.frames():
                seconds = self.frames_read / FPS
                if seconds >= self._seconds:
                    return
                if seconds >= (len(self.memory) + 1) * self._seconds / 10:
                    self.memory.append(resident())
                yield Frame(self.frames_read, seconds, frame.image)
                self.frames_read += 1


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


def streamed(source: Repeated) -> dict[str, float]:
    """`microexpr.stream`, as fast as it goes."""
    events = sum(1 for _ in videos.stream(source))
    return measured(source, source.frames_read, events)


def lived(source: Repeated) -> dict[str, float]:
    """`microexpr.live`, at the source's own rate."""
    latencies: list[float] = []
    recording = videos.live(source, each=lambda event, latency: latencies.append(latency))
    # events that the end of the video ended came with no frame; their latency is 0
    of_events = 1000 * np.array([one for one in latencies if one > 0])
    found = measured(source, recording.about["frames"], len(recording.events))
    found["dropped"] = recording.about["dropped"]
    found |= {f"latency {name}, ms": value for name, value in recording.about["latency_ms"].items()}
    if len(of_events):
        found |= {f"event latency p{q}, ms": float(np.percentile(of_events, q)) for q in (50, 99)}
    return found


def measured(source: Repeated, frames: int, events: int) -> dict[str, float]:
    """What both tell: asked right after the last event."""
    return {
        "frames": frames,
        "frames a second": frames / (time.perf_counter() - source.begin),
        "events": events,
        "memory after a tenth, MB": source.memory[0],
        "memory at the end, MB": resident(),
    }


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
    for part, run in (
        ("shell", lambda: shell(short, options.rounds)),
        ("stream", lambda: streamed(Repeated(open_source(long), 60 * options.minutes))),
        ("live", lambda: lived(Repeated(open_source(long), options.live_seconds))),
    ):
        for what, value in run().items():
            rows.append((part, what, round(value, 2)))
            print(f"{part:<8}{what:<32}{value:10.2f}", flush=True)
    if options.out:
        about = f"{record.machine()['processor']}, {os.cpu_count()} cores; Python {platform.python_version()}"
        with options.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("part", "what", "value", "machine"))
            writer.writerows((*row, about) for row in rows)


if __name__ == "__main__":
    main()
