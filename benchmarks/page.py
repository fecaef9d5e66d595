"""What the local web page costs, in Chromium: until it can be used, a large upload, and the example.

    python -m benchmarks.page [--rounds 5] [--out results/page-<machine>.csv]

It needs the extras ``app`` and ``dev``, Chromium and its chromedriver. The server is a process of its own, the command
as a user gives it. The large video is uncompressed: 230 frames of 640x480, over 200 MB; the growth is that of the most
memory that the server has had, after a small video has been through it. Every request of the browser is looked at.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path

import av
import gradio

from microexpr.demonstration import rendered_film
from microexpr.evaluation import record
from tests.page import Server, serving
from tests.test_page_browser import Browser

LARGE_FRAMES = 230
RESULT = ".me-result"
FIND, EXAMPLE = "#me-run", "#me-example"


def raw_video(source: Path, out: Path, frames: int) -> Path:
    """The first frames of a video, uncompressed."""
    with av.open(str(source)) as given, av.open(str(out), "w") as container:
        stream = container.add_stream("rawvideo", rate=given.streams.video[0].average_rate)
        stream.pix_fmt = "bgr24"
        stream.width, stream.height = given.streams.video[0].width, given.streams.video[0].height
        for number, frame in enumerate(given.decode(video=0)):
            if number == frames:
                break
            copy = av.VideoFrame.from_ndarray(frame.to_ndarray(format="bgr24"), "bgr24")
            copy.pts, copy.time_base = frame.pts, frame.time_base
            container.mux(stream.encode(copy))
        container.mux(stream.encode())
    return out


def opened(browser: Browser, rounds: int) -> tuple[float, float]:
    """Seconds until the page can be used: the first time, and the median of the others."""
    seconds = [browser.open() for _ in range(rounds + 1)]
    return seconds[0], statistics.median(seconds[1:])


def found(browser: Browser, button: str) -> float:
    """Seconds from a click to the result."""
    began = time.perf_counter()
    browser.run("document.querySelector(arguments[0]).click()", button)
    browser.wait(RESULT, 300)
    return time.perf_counter() - began


def measured(folder: Path, rounds: int) -> list[tuple[str, float]]:
    film = rendered_film(folder / "film.mp4")
    small = raw_video(film, folder / "small.avi", 30)
    large = raw_video(film, folder / "large.avi", LARGE_FRAMES)
    with serving(folder / "server") as server:
        browser = Browser(folder, server.address)
        try:
            return measured_in(browser, server, small, large, rounds)
        finally:
            browser.driver.quit()


def measured_in(browser: Browser, server: Server, small: Path, large: Path, rounds: int) -> list[tuple[str, float]]:
    first, later = opened(browser, rounds)
    browser.upload(small)
    found(browser, FIND)
    browser.open()
    before = server.most_memory()
    began = time.perf_counter()
    browser.upload(large)
    uploading = time.perf_counter() - began
    uploaded = server.most_memory()
    recognizing = found(browser, FIND)
    recognized = server.most_memory()
    browser.open()
    example = found(browser, EXAMPLE)
    others = browser.hosts() - {server.address.removeprefix("http://")}
    return [
        ("page can be used, first time, s", first),
        (f"page can be used, median of {rounds} more, s", later),
        ("large video, MB", large.stat().st_size / 1e6),
        ("its upload, s", uploading),
        ("growth of the server's memory by its upload, MB", (uploaded - before) / 1e6),
        (f"its {LARGE_FRAMES} frames recognized and drawn, s", recognizing),
        ("growth of the server's memory by both, MB", (recognized - before) / 1e6),
        ("most memory of the server, MB", recognized / 1e6),
        ("rendered example, from the click to the result, rendering included, s", example),
        ("other hosts that the browser asked", len(others)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    machine, versions = record.machine(), record.versions()
    about = (
        f"{machine['processor']}, {machine['cores']} cores; gradio {gradio.__version__}, Python {versions['python']}"
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Path(folder), options.rounds)
    for what, value in rows:
        print(f"{value:9.2f}  {what}")
    print(about)
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["what", "value", "machine"])
            writer.writerows([what, f"{value:.3g}", about] for what, value in rows)


if __name__ == "__main__":
    main()
