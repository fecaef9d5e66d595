"""The demo: everything at once on rendered clips, without any input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microexpr import api, videos
from microexpr.datasets.rendered_video import expression, video
from microexpr.errors import BadInput
from microexpr.evaluation import protocols, report
from microexpr.evaluation.results import Run
from microexpr.motion.files import write_picture
from microexpr.motion.flow import clip_flow
from microexpr.types import Clip
from microexpr.video.draw import plate
from microexpr.video.write import VideoWriter

Progress = Callable[[str, int, int], None]

# What the rendered video shows: emotion, action units, seconds of the onset, peak in pixels.
FILMED = (("happiness", ("6", "12"), 0.6, 2.0), ("anger", ("4",), 2.0, 1.5), ("surprise", ("1", "2"), 3.4, 1.5))
FILM_SECONDS, FILM_FPS = 4.6, 100.0


@dataclass(frozen=True)
class Demo:
    """What `demo` made.

    Attributes:
        video: a rendered video of three micro-expressions.
        recording: what was recognized in it, with its files.
        run: MJFN, evaluated on a small rendered data set.
        report: the page about that run.
        plates: the folder of plates of its clips.
    """

    video: Path
    recording: videos.Recording
    run: Run
    report: Path
    plates: Path


def demo(
    out: Path | str = "microexpr-demo",
    *,
    seconds: float = FILM_SECONDS,
    subjects: int = 4,
    clips_per_subject: int = 6,
    epochs: int = 30,
    jobs: int | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Demo:
    """Renders a video and recognizes what is in it; then evaluates MJFN on a small rendered set under LOSO.

    The video goes through the same pipeline as anybody's: face, alignment, spotting, flow, weights that were trained on
    real faces. All rendered subjects share one face, so no figure here is evidence of accuracy on real faces; it shows
    that everything works, and what the pictures mean.

    Args:
        out: folder for everything.
        seconds: of the video that are rendered.
        subjects, clips_per_subject, epochs: of the evaluation.
        jobs: worker processes.
        command: the command line, for the run folder.
        progress: called with (step, done, total).
    """
    folder = Path(out)
    _make_folder(folder)
    film = rendered_film(folder / "rendered.mp4", seconds, progress)
    recording = videos.recognize(film, folder / "recognized", progress=progress)
    data = api.load("synthetic", subjects=subjects, clips_per_subject=clips_per_subject)
    run = api.evaluate(
        "mjfn", data, epochs=epochs, jobs=jobs, runs=folder / "runs", command=command, progress=progress
    )[0]
    plates = folder / "plates"
    class_of = protocols.megc().class_of
    first_of: dict[str, Clip] = {}
    for clip in data.clips:
        first_of.setdefault(class_of[clip.emotion], clip)
    pictures = []
    for name, clip in first_of.items():
        drawn, caption = _plate(clip, run, name)
        file = plates / f"{clip.key.replace('/', '-')}.png"
        _make_folder(plates)
        write_picture(file, drawn)
        pictures.append((caption, file.read_bytes()))
    return Demo(film, recording, run, report.write_report([run], folder / "report.html", pictures), plates)


def rendered_film(file: Path, seconds: float = FILM_SECONDS, progress: Progress | None = None) -> Path:
    """Renders and writes the demo's video; the same every time."""
    random = np.random.default_rng(0)
    events = [
        expression(emotion, onset, FILM_FPS, peak, random, units)
        for emotion, units, onset, peak in FILMED
        if onset + 0.6 < seconds
    ]
    frames, _ = video(seconds, FILM_FPS, events)
    height, width = frames.read(0).shape[:2]
    with VideoWriter(file, (width, height), FILM_FPS) as writer:
        for number in range(len(frames)):
            writer.write(frames.read(number), number / FILM_FPS)
            if progress:
                progress("render a video", number + 1, len(frames))
    return file


def _plate(clip: Clip, run: Run, truth: str) -> tuple[np.ndarray, str]:
    """The plate of an evaluated clip, and its caption; flow and probabilities are those of the run."""
    if clip.frames is None or clip.onset is None or clip.apex is None:
        raise BadInput("a clip with frames, onset and apex", clip.key, "plates are drawn of such clips")
    probabilities = dict(zip(run.info["classes"], run.probabilities[run.clips.index(clip.key)], strict=True))
    drawn = plate(
        clip.frames.read(clip.onset),
        clip.frames.read(clip.apex),
        clip_flow(clip, mode=run.info["settings"]["flow_mode"]),
        probabilities,
        clip.onset,
        clip.apex,
        clip.fps,
    )
    units = " + ".join(clip.action_units)
    return drawn, f"{clip.emotion} (action units {units}), truth {truth}: rendered clip {clip.key}"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput("a place that can be written", f"{folder}: {error.strerror}", "choose another --out") from error
