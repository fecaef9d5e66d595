"""Results as HTML: every word that came from outside is escaped by the templates, none is put together by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from microexpr.faces.regions import NAMED
from microexpr.page import timeline
from microexpr.page.limits import Limits
from microexpr.page.pictures import Pictures
from microexpr.page.work import Found, State
from microexpr.types import Event

if TYPE_CHECKING:
    import jinja2

NOTICE = (
    "For research on facial movement. It detects no lies, and nothing here is fit to decide anything about a person. "
    "Everything stays on this machine and is removed when you close the page."
)
LEGEND = {
    "named": "micro-expression",
    "unsure": "micro-expression, not named",
    "macro": "longer movement",
    "lost": "no face",
}
DOWNLOADS = (
    ("JSON", "events.json", "events.json"),
    ("CSV", "events.csv", "events.csv"),
    ("Annotated video", "annotated.mp4", "annotated.mp4"),
    ("Plates and films", "plates.zip", "plates.zip"),
)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=lambda share: f"{100 * share:.1f}", lines=lambda text: " ".join(text.split()))
    return environment


@cache
def _template(name: str) -> jinja2.Template:
    source = resources.files(__package__).joinpath(f"{name}.html.jinja").read_text(encoding="utf-8")
    return _environment().from_string(source)


def render(name: str, **context: Any) -> str:
    """A template of this folder with its values, which are escaped."""
    return _template(name).render(**context)


def drop(token: str, limits: Limits) -> str:
    """Where a video is dropped."""
    return render("drop", token=token, limits=limits)


def state(now: State) -> str:
    """How far the work is; nothing when it is done."""
    return render("state", state=now).strip()


@dataclass(frozen=True)
class _Shown:
    """One event in words."""

    number: int
    event: Event
    kind: str
    heading: str
    answer: str
    facts: str
    milliseconds: int
    pictures: Pictures | None
    film: str | None

    @property
    def probabilities(self) -> list[tuple[str, float]]:
        return list(self.event.probabilities.items())

    @property
    def map(self) -> list[tuple[str, tuple[float, float, float, float], float, float]]:
        """Every region with its box, its share of the strongest one's motion, and its motion in pixels."""
        regions = self.pictures.regions if self.pictures else ()
        strongest = regions[0][1] if regions else 1.0
        return [(name, NAMED[name], pixels / (strongest or 1.0), pixels) for name, pixels in regions]

    @property
    def why(self) -> str:
        """Why no class is named, as a sentence."""
        if self.event.kind != "micro":
            return f"Not judged: {self.event.abstained}."
        return f"Not named: {self.event.abstained}."


def result(found: Found, token: str) -> str:
    """A recognized video: timeline, events, pictures and what can be downloaded."""
    recording = found.recording
    about, track = recording.about, recording.track
    films = {file.name for file in recording.files.get("magnified", []) if isinstance(file, PurePath)}  # type: ignore[union-attr]
    events = [_shown(number, event, found, films) for number, event in enumerate(recording.events, start=1)]
    kinds = {one.kind for one in events} | ({"lost"} if not track.has_face.all() else set())
    stem = PurePath(found.name).stem
    there = {file.name for file in recording.files.values() if isinstance(file, PurePath)} | {"plates.zip"}
    if found.archive is None:
        there.discard("plates.zip")
    return render(
        "result",
        heading=_heading(recording.events),
        facts=_facts(found),
        warnings=recording.warnings,
        chart=timeline.draw(track, recording.events),
        legend=[(kind, words) for kind, words in LEGEND.items() if kind in kinds],
        spoken=[f"Event {one.number}: {one.heading}, {one.facts}" for one in events],
        events=events,
        files=f"/session/{token}",
        downloads=[(label, file, f"{stem}-{saved}") for label, file, saved in DOWNLOADS if file in there],
        video="annotated.mp4" if "annotated.mp4" in there else None,
        factor=f"{found.settings.magnify:g}",
        method=about.get("method", ""),
        wheel="/page/wheel.png",
        about=_about(about),
    )


def _shown(number: int, event: Event, found: Found, films: set[str]) -> _Shown:
    kind, lasts = timeline.kind_of(event), event.offset_seconds - event.onset_seconds
    film = f"event-{number:03d}-frame-{event.onset}.mp4"
    answer = looks_like(event)
    if event.emotion is not None:
        heading = f"Micro-expression: {event.emotion}, {100 * event.probabilities[event.emotion]:.0f} %"
    else:
        heading = "Longer movement, no micro-expression" if kind == "macro" else "Micro-expression, not named"
    times = f"{event.strength / event.noise:.0f} times the noise" if event.noise > 0 else "without noise"
    facts = (
        f"{event.onset_seconds:.3f} to {event.offset_seconds:.3f} s, {1000 * lasts:.0f} ms; "
        f"strength {event.strength:.2f} px, {times} of the quiet face"
    )
    pictures = found.pictures.get(event.onset)
    shown_film = film if film in films else None
    return _Shown(number, event, kind, heading, answer, facts, round(1000 * lasts), pictures, shown_film)


def looks_like(event: Event) -> str:
    """What an event was named, in a few words."""
    if event.emotion is not None:
        return f"{event.emotion} {100 * event.probabilities[event.emotion]:.0f} %"
    return "not judged" if event.kind == "macro" else "not named"


def _heading(events: list[Event]) -> str:
    if not events:
        return "No movement found"
    micro = sum(event.kind == "micro" for event in events)
    longer = len(events) - micro
    parts = [_count(micro, "micro-expression")] if micro or not longer else ["No micro-expression"]
    return " and ".join([*parts, *([_count(longer, "longer movement")] if longer else [])])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _facts(found: Found) -> str:
    about = found.recording.about
    width, height = about["size"]
    rate = about["effective_fps"]
    lasts = f", {about['frames'] / rate:.1f} s at {rate:.4g} frames a second" if rate else ""
    return f"{found.name}: {_count(about['frames'], 'frame')} of {width} x {height}{lasts}"


def _about(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("face", about["detector"]),
        ("seen", f"in {about['frames_with_face']:,} of {about['frames']:,} frames"),
        ("weights", f"{about.get('method', 'none')}: {', '.join(about.get('classes', ()))}"),
        ("named from", f"{100 * about['abstains_under']:.0f} % on" if "abstains_under" in about else "never"),
        ("flow", str(about.get("flow_mode", ""))),
        ("spotting", ", ".join(f"{name} {value:g}" for name, value in about["spotting"].items())),
        ("versions", ", ".join(f"{name} {value}" for name, value in about["versions"].items())),
    ]
    return [(name, words) for name, words in rows if words]
