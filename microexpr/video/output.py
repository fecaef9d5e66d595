"""The folder that a recognized video leaves: tables, a timeline, an annotated video and a plate for each event."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from microexpr.errors import BadInput
from microexpr.motion.files import write_picture
from microexpr.motion.magnify import check_factor
from microexpr.types import Event
from microexpr.video.draw import event_plate, timeline
from microexpr.video.files import CSV_NAME, JSON_NAME, annotate, is_result, write_events
from microexpr.video.magnified import Magnifier
from microexpr.video.recognizer import Evidence
from microexpr.video.source import Source
from microexpr.video.track import Track
from microexpr.video.write import VideoWriter, unfinished

TIMELINE, ANNOTATED, RECORDED = "timeline.png", "annotated.mp4", "recording.mp4"
RESULT = JSON_NAME, CSV_NAME, TIMELINE, ANNOTATED
WORK = ".microexpr.{}.tmp"
PLATES, MAGNIFIED = "plates", "magnified"
PARTS = {PLATES: "event-*-frame-*.png", MAGNIFIED: "event-*-frame-*.mp4"}  # folders in it, and what is ours in them


@contextlib.contextmanager
def swept(folders: Sequence[Path]) -> Generator[None]:
    """Where an error ends the block, what processes that were killed left in these folders is removed; see `Output`."""
    before = {work for folder in folders for work in folder.glob(WORK.format("*"))}
    made = [folder for folder in folders if not folder.exists()]
    try:
        yield
    except BaseException:
        for work in {work for folder in folders for work in folder.glob(WORK.format("*"))} - before:
            shutil.rmtree(work, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):  # it was not made, or there is something in it
                folder.rmdir()
        raise


class Output:
    """One folder for one recording; a context manager.

    Plates are drawn while the video runs, each when the next event is known, so that it shows the time after its own;
    the rest is written at the end. All of it lies in a hidden folder inside of the folder until `finish` puts it in
    its place: an earlier result stays whole until there is a new one, nothing of it remains then, and an error leaves
    everything as it was.

    A recording is another matter, for a camera's moments do not come back: it is never replaced nor removed, and it is
    kept where an error ends the run, which gets a note that says so.

    Args:
        folder: made where it does not exist.
        given: what is recognized; a path is kept apart from what is written.
        records: whether `recording` will be called.
        magnify: for films of the micro-expressions with their motion so many times as large; None makes none.

    Raises:
        BadInput: the folder can't be made or written, what is written would replace the input or lie among its
            pictures, or there is a recording in the folder already and another one is to be made.
    """

    def __init__(
        self, folder: Path, given: object = None, *, records: bool = False, magnify: float | None = None
    ) -> None:
        if magnify is not None:
            check_factor(magnify)
        if isinstance(given, str | Path):
            place, source = folder.resolve(), Path(given).resolve()
            if source in (place, place / PLATES, place / ANNOTATED):
                raise BadInput("an output folder apart from the input", f"{folder} for {given}", "choose another")
        self._folder, self._recorded = folder, folder / RECORDED
        self._work = folder / WORK.format(uuid.uuid4().hex)
        self._records, self._recording, self._made = records, False, False
        self._magnify = magnify
        self._plates: list[str] = []
        self._waiting: tuple[Event, Evidence, str] | None = None

    def __enter__(self) -> Output:
        try:
            self._made = not self._folder.exists()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._require_room()
            (self._work / PLATES).mkdir(parents=True)
        except OSError as error:
            self._clean_up()
            raise self._unwritable(error) from error
        return self

    def _require_room(self) -> None:
        """Told now, not after the video."""
        for name in RESULT:
            if (self._folder / name).is_dir():
                raise IsADirectoryError(None, f"{name} in it is a folder")
        for part in PARTS:
            if (self._folder / part).exists() and not (self._folder / part).is_dir():
                raise NotADirectoryError(None, f"{part} in it is no folder")
        held = [file for file in (self._recorded, *unfinished(self._recorded)) if file.exists()]
        if self._records and held:
            raise BadInput("a folder without a recording", f"{self._folder} with {held[0].name}", "choose another")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean_up()
        if error is not None and self._recording and self._recorded.is_file():
            error.add_note(f"the video is kept: {self._recorded}")

    def _clean_up(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        if self._made:
            with contextlib.suppress(OSError):  # there is something in it
                self._folder.rmdir()

    def keep(self, event: Event, evidence: Evidence | None, track: Track, method: str) -> None:
        """Takes an event; one that was classified gets a plate."""
        self._draw(track)
        if evidence is not None:
            self._waiting = event, evidence, method

    def _draw(self, track: Track) -> None:
        """The plate of the event before."""
        if self._waiting is None:
            return
        event, evidence, method = self._waiting
        self._waiting = None
        name = f"{PLATES}/event-{len(self._plates) + 1:03d}-frame-{event.onset}.png"
        drawn = event_plate(event, evidence.onset, evidence.apex, evidence.flow, track, method)
        write_picture(self._work / name, drawn)
        self._plates.append(name)

    def recording(self, source: Source) -> VideoWriter:
        """Writes the video itself, for a source whose moments do not come back."""
        self._recording = True
        return VideoWriter(self._recorded, source.size, source.effective_fps or 25.0, keep=True)

    def finish(
        self,
        source: Source,
        events: Sequence[Event],
        about: Mapping[str, Any],
        track: Track,
        *,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> dict[str, Path | list[Path]]:
        """Writes tables, timeline and, of what was not recorded, the annotated video, for which the source is read
        once more; then puts all in its place and says what lies where.
        """
        self._draw(track)
        write_events(self._work, events, about)
        write_picture(self._work / TIMELINE, timeline(track, events, source.name))
        names = [JSON_NAME, CSV_NAME, TIMELINE, *self._plates]
        files: dict[str, Path | list[Path]] = {
            "events": self._folder / JSON_NAME,
            "table": self._folder / CSV_NAME,
            "plates": [self._folder / name for name in self._plates],
            "timeline": self._folder / TIMELINE,
        }
        if self._records:
            files["video"] = self._recorded
        elif source.repeats:
            shown = (lambda done, total: progress("annotate", done, total)) if progress else None
            with self._magnifier(source, events, track) as magnifier:
                also = magnifier.push if magnifier else None
                annotate(source, track, events, self._work / ANNOTATED, progress=shown, also=also)
            names.append(ANNOTATED)
            files["video"] = self._folder / ANNOTATED
            films = [f"{MAGNIFIED}/{film.name}" for film in magnifier.written] if magnifier else []
            names += films
            if magnifier:
                files["magnified"] = [self._folder / film for film in films]
        try:
            self._replace(names)
        except OSError as error:
            raise self._unwritable(error) from error
        return files

    def _magnifier(
        self, source: Source, events: Sequence[Event], track: Track
    ) -> Magnifier | contextlib.nullcontext[None]:
        if self._magnify is None:
            return contextlib.nullcontext()
        names = [f"event-{number:03d}-frame-{event.onset}.mp4" for number, event in enumerate(events, start=1)]
        fps = source.effective_fps or 25.0
        return Magnifier(self._work / MAGNIFIED, events, names, track, fps, self._magnify)

    def _replace(self, names: Sequence[str]) -> None:
        """Puts the new files in their places and what was there out of the way; an error puts it back."""
        earlier = self._work / "earlier"
        moves = [(self._folder / name, earlier / name) for name in self._replaced(names)]
        moves += [(self._work / name, self._folder / name) for name in names]
        begun = []
        try:
            for part in PARTS:
                (earlier / part).mkdir(parents=True)
                (self._folder / part).mkdir(exist_ok=True)
            for move in moves:
                begun.append(move)
                move[0].replace(move[1])
        except BaseException:
            for before, after in reversed(begun):
                with contextlib.suppress(OSError):
                    after.replace(before)
            raise
        finally:
            for part in PARTS:
                with contextlib.suppress(OSError):  # there is something in it
                    (self._folder / part).rmdir()

    def _replaced(self, names: Sequence[str]) -> list[str]:
        """The files that give way: those of the same names, and all of an earlier result; nobody else's."""
        mine = set(names)
        if is_result(self._folder):
            mine.update(RESULT)
            for part, pattern in PARTS.items():
                mine.update(f"{part}/{file.name}" for file in (self._folder / part).glob(pattern))
        return sorted(name for name in mine if (self._folder / name).is_file())

    def _unwritable(self, error: OSError) -> BadInput:
        reason = error.strerror or error
        return BadInput("a folder that can be written", f"{self._folder} ({reason})", "choose another")
