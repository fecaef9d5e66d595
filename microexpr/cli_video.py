"""The commands that take a video: argument text -> verb -> print."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from microexpr import terminal
from microexpr.errors import BadInput, MicroexprError

if TYPE_CHECKING:
    from microexpr.types import Event
    from microexpr.videos import Recording, Status


Task = tuple[str, Path | None]  # an input and the folder for its files
TERMINATED = 128 + signal.SIGTERM  # the exit status that shells give a process that SIGTERM ended


@contextlib.contextmanager
def _sigterm_raises(error: BaseException) -> Generator[None]:
    """SIGTERM (`kill`, `docker stop`, a service manager) as an error, so that what is open is closed and cleaned up.

    Only the main thread may do that; in any other, SIGTERM stays what it is.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        raise error

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def recognize(options: argparse.Namespace) -> int:
    """`microexpr recognize`: every input by itself; one that fails leaves the others alone.

    SIGTERM ends it with status 143; the folder of the input under way is then as it was before.
    """
    if options.onset is not None and len(options.inputs) > 1:
        raise BadInput("one input with --onset", f"{len(options.inputs)}", "recognize them one by one")
    if options.jobs < 1:
        raise BadInput("at least 1 job", str(options.jobs), "set --jobs to the number of worker processes")
    settings = {
        "fps": options.fps,
        "weights": options.weights,
        "method": options.method,
        "onset": options.onset,
        "apex": options.apex,
        "magnify": options.magnify,
        **_detector(options),
    }
    folders = _folders(options.inputs, options.out)
    with _sigterm_raises(SystemExit(TERMINATED)):
        return _each(options, "recognize", folders, settings)


def spot(options: argparse.Namespace) -> int:
    """`microexpr spot`: movements without what they show."""
    settings = {"fps": options.fps, **_detector(options)}
    return _each(options, "spot", [None] * len(options.inputs), settings)


def _detector(options: argparse.Namespace) -> dict[str, Any]:
    from microexpr.faces.detect import FILE_SETTINGS

    name, file = options.detector, options.detector_file
    if file is None:
        if name in FILE_SETTINGS:
            what = {
                "yunet": "its model, a face_detection_yunet ONNX file",
                "file": "landmarks, an OpenFace CSV or .npz",
            }
            raise BadInput(f"a file for the face detector {name!r}", "none", f"give {what[name]}: --detector-file FILE")
        return {"detector": name}
    if name not in FILE_SETTINGS:
        raise BadInput(f"a detector that reads a file: {', '.join(FILE_SETTINGS)}", name, "leave --detector-file out")
    return {"detector": name, "detector_options": {FILE_SETTINGS[name]: file}}


def _each(options: argparse.Namespace, verb: str, folders: Sequence[Path | None], settings: dict[str, Any]) -> int:
    """Runs a verb over the inputs and prints what it found; the exit status."""
    jobs = min(getattr(options, "jobs", 1), len(options.inputs))
    tasks = list(zip(options.inputs, folders, strict=True))
    if jobs > 1:
        results = _in_workers(verb, tasks, settings, jobs)
    else:
        results = _one_by_one(verb, tasks, settings, options.debug)
    shown: list[dict[str, Any]] = []
    failed = 0
    with contextlib.closing(results):
        for given, result in zip(options.inputs, results, strict=True):
            if isinstance(result, MicroexprError):
                failed += 1
                terminal.note(f"{given}: {result}" if len(tasks) > 1 else str(result))
                shown.append({"input": given, "error": str(result)})
                continue
            for warning in result.warnings:
                terminal.note(f"warning: {warning}" if len(tasks) == 1 else f"warning: {given}: {warning}")
            shown.append({"input": given, **to_json(result)})
            if not options.json:
                print_recording(given, result)
    if options.json and not (failed == len(tasks) == 1):
        terminal.print_json(shown)
    return (2 if len(tasks) == 1 else 1) if failed else 0


def _in_workers(verb: str, tasks: Sequence[Task], settings: dict[str, Any], jobs: int) -> Generator[Any]:
    """The attempts in worker processes, which are killed where an error ends the command here."""
    import joblib

    from microexpr.video.output import swept

    with swept([out for _, out in tasks if out is not None]):
        calls = (joblib.delayed(_attempt)(verb, given, out, settings, None) for given, out in tasks)
        with contextlib.closing(joblib.Parallel(jobs, return_as="generator")(calls)) as results:
            yield from results


def _one_by_one(verb: str, tasks: Sequence[Task], settings: dict[str, Any], debug: bool) -> Generator[Any]:
    """The attempts in this process.

    Each video leaves a decoded frame behind that only the garbage collector can free, and the collector comes rarely
    here (see `cli.run`): thirty videos of 3840x2160 took 300 MB more.
    """
    for number, (given, out) in enumerate(tasks):
        if number:
            gc.collect()
        yield _attempt(verb, given, out, settings, debug)


def _attempt(verb: str, given: str, out: Path | None, settings: dict[str, Any], debug: bool | None) -> Any:
    """A recording, or the error that it ended with; `debug` is None in a worker process, which shows no progress."""
    from microexpr import videos

    with terminal.progress_bars() if debug is not None else contextlib.nullcontext() as progress:
        try:
            if verb == "spot":
                return videos.spot(given, progress=progress, **settings)
            return videos.recognize(given, out, progress=progress, **settings)
        except MicroexprError as error:
            if debug:
                raise
            return error.with_traceback(None)  # which holds on to the video


def _folders(inputs: Sequence[str], out: str | None) -> list[Path | None]:
    """Where each input's files go: the folder itself for one, a folder in it named for each of several."""
    if out is None:
        return [None] * len(inputs)
    if len(inputs) == 1:
        return [Path(out)]
    names: list[Path | None] = []
    for given in inputs:
        name, number = Path(given).resolve().stem, 2
        while Path(out) / name in names:
            name, number = f"{Path(given).resolve().stem}-{number}", number + 1
        names.append(Path(out) / name)
    return names


def live(options: argparse.Namespace) -> None:
    """`microexpr live`: prints events as they end.

    SIGTERM ends it as Ctrl-C does, with a summary and exit status 0: what was found and recorded is complete.
    """
    from microexpr import videos
    from microexpr.video.files import event_json

    source: Any = int(options.source) if options.source.isdecimal() else options.source
    console = terminal.console()
    line = terminal.LiveLine(not options.json)

    def status(now: Status) -> None:
        if line.on:
            motion = "no face" if math.isnan(now.level) else f"{now.level:5.2f} px"
            told = f"{now.frames:,} frames, {now.dropped} dropped, answer in {1000 * now.latency:.0f} ms"
            line.show(now.level, now.threshold, f"{now.seconds:6.1f} s  {motion}   {told}")

    def each(event: Event, latency: float) -> None:
        line.clear()
        try:
            if options.json:
                shown = {**event_json(event), "latency_ms": round(1000 * latency, 1)}
                print(json.dumps(shown, ensure_ascii=False, allow_nan=False))  # noqa: T201
            else:
                console.print(f"{_line(event)}   latency {1000 * latency:.0f} ms", soft_wrap=True)
            sys.stdout.flush()
        except BrokenPipeError:  # nobody reads on; a recording goes on and is kept
            if options.record is None:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    try:
        with _sigterm_raises(KeyboardInterrupt()):
            recording = videos.live(
                source,
                options.record,
                fps=options.fps,
                weights=options.weights,
                method=options.method,
                each=each,
                begun=lambda: terminal.note("press Ctrl-C to end"),
                status=status,
                **_detector(options),
            )
    except BaseException as error:
        line.clear()
        for note in getattr(error, "__notes__", ()):
            terminal.note(note)
        raise
    line.clear()
    for warning in recording.warnings:
        terminal.note(f"warning: {warning}")
    about = recording.about
    latency = about["latency_ms"]
    terminal.note(
        f"{_count(len(recording.events), 'event')} in {_count(about['frames'], 'frame')}, {about['dropped']} dropped; "
        "the answer to a "
        f"frame came after {latency['p50']:.1f} ms in the median, {latency['p99']:.1f} ms for the slowest hundredth"
    )
    for file in recording.files.values():
        if isinstance(file, Path):
            console.print(str(file), soft_wrap=True)


def export(options: argparse.Namespace) -> None:
    """`microexpr export`."""
    from microexpr import api

    if Path(options.weights).suffix == ".onnx":
        raise BadInput("weights in a safetensors file", f"{options.weights}, which is ONNX already", "give the former")
    terminal.console().print(str(api.export(options.weights, options.out)), soft_wrap=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def to_json(recording: Recording) -> dict[str, Any]:
    """A recording for machines."""
    files = {
        kind: [str(one) for one in file] if isinstance(file, list) else str(file)
        for kind, file in recording.files.items()
    }
    from microexpr.video.files import event_json, plain

    events = [event_json(event) for event in recording.events]
    return {"events": events, "about": plain(recording.about), "files": files}


def print_recording(name: str, recording: Recording) -> None:
    """What the video is, a line for each event, and what was written."""
    console = terminal.console()
    about = recording.about
    rate = about["effective_fps"]
    seconds = f", {about['frames'] / rate:.1f} s at {rate:.4g} frames a second" if rate else ""
    width, height = about["size"]
    console.print(f"{name}: {_count(about['frames'], 'frame')} of {width}x{height}{seconds}", soft_wrap=True)
    if "method" in about:
        console.print(f"{about['method']}, face by {about['detector']}", soft_wrap=True)
    if not recording.events:
        console.print("no movement found", soft_wrap=True)
    else:
        console.print()
        rows = [_row(number, event) for number, event in enumerate(recording.events, start=1)]
        terminal.print_table(list(rows[0]), rows)
    if recording.files:
        console.print()
        for kind, file in recording.files.items():
            if isinstance(file, Path):
                console.print(f"{kind:<10}{file}", soft_wrap=True)
            elif file:
                console.print(f"{kind:<10}{file[0].parent}, {len(file)} of them", soft_wrap=True)


def _row(number: int, event: Event) -> dict[str, Any]:
    return {
        "#": number,
        "kind": event.kind,
        "onset s": f"{event.onset_seconds:.3f}",
        "apex s": f"{event.apex_seconds:.3f}",
        "offset s": f"{event.offset_seconds:.3f}",
        "ms": round(1000 * (event.offset_seconds - event.onset_seconds)),
        "emotion": _decision(event),
        "strength px": f"{event.strength:.2f}",
        "moved most": ", ".join(event.regions),
    }


def _decision(event: Event) -> str:
    if event.emotion is None:
        return f"({event.abstained})"
    return f"{event.emotion} {100 * event.probabilities[event.emotion]:.0f} %"


def _line(event: Event) -> str:
    """An event in one line."""
    duration = 1000 * (event.offset_seconds - event.onset_seconds)
    return (
        f"{event.onset_seconds:8.3f} s  {event.kind}  {duration:4.0f} ms  {_decision(event)}  {event.strength:.2f} px  "
        f"{', '.join(event.regions)}"
    )
