"""The folder that a recognized video leaves: tables, a timeline, an annotated video and a plate for each event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from microexpr.errors import BadInput
from microexpr.motion.files import write_picture
from microexpr.types import Event
from microexpr.video.draw import event_plate, timeline
from microexpr.video.files import annotate, write_events
from microexpr.video.recognizer import Evidence
from microexpr.video.source import Source
from microexpr.video.track import Track
from microexpr.video.write import VideoWriter

PLATES = "plates"
VIDEOS = ANNOTATED, RECORDED = "annotated.mp4", "recording.mp4"


class Output:
    """Writes to one folder: a plate when the next event is known, so that it shows the time after its own, the rest at
    the end.

    Args:
        folder: made where it does not exist; what an earlier recognition left in it is replaced.
        given: what is recognized; a path is kept apart from the folder.

    Raises:
        BadInput: the folder can't be made or written, or what is written would replace the input or lie among its
            pictures.
    """

    def __init__(self, folder: Path, given: object = None) -> None:
        if isinstance(given, str | Path):
            place, source = folder.resolve(), Path(given).resolve()
            if source == place or (source.parent == place and source.name in VIDEOS):
                raise BadInput("an output folder apart from the input", f"{folder} for {given}", "choose another")
        self._folder = folder
        self._plates: list[Path] = []
        self._waiting: tuple[Event, Evidence, str] | None = None
        try:
            (folder / PLATES).mkdir(parents=True, exist_ok=True)
            for old in (folder / PLATES).glob("event-*.png"):
                old.unlink()
        except OSError as error:
            raise BadInput("a folder that can be written", f"{folder} ({error.strerror})", "choose another") from error

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
        file = self._folder / PLATES / f"event-{len(self._plates) + 1:03d}-frame-{event.onset}.png"
        write_picture(file, event_plate(event, evidence.onset, evidence.apex, evidence.flow, track, method))
        self._plates.append(file)

    def recording(self, source: Source) -> VideoWriter:
        """The video itself, for a source whose moments do not come back."""
        return VideoWriter(self._folder / RECORDED, source.size, source.effective_fps or 25.0)

    def finish(
        self,
        source: Source,
        events: Sequence[Event],
        about: Mapping[str, Any],
        track: Track,
        *,
        annotated: bool = True,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> dict[str, Path | list[Path]]:
        """Writes tables and timeline and, reading the source once more, the annotated video; says what lies where."""
        self._draw(track)
        as_json, table = write_events(self._folder, events, about)
        files: dict[str, Path | list[Path]] = {"events": as_json, "table": table, "plates": self._plates}
        files["timeline"] = self._folder / "timeline.png"
        write_picture(self._folder / "timeline.png", timeline(track, events, source.name))
        if (self._folder / RECORDED).is_file():
            files["video"] = self._folder / RECORDED
        if annotated and source.repeats:
            video = self._folder / ANNOTATED
            shown = (lambda done, total: progress("annotate", done, total)) if progress else None
            files["video"] = annotate(source, track, events, video, progress=shown)
        return files
