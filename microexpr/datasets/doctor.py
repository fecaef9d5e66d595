"""The data set doctor: what a folder holds, against what was published, and everything that is odd in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from microexpr import datasets
from microexpr.datasets import _survey
from microexpr.datasets._files import NumberedFrames
from microexpr.datasets._survey import Finding
from microexpr.errors import BadInput
from microexpr.types import Clip


@dataclass(frozen=True)
class Checkup:
    """What `check` found.

    Attributes:
        dataset: as registered.
        chosen: what was read where there is a choice: the tree, the release of the table.
        counts: what was counted -> (published, found); published is None where no count was.
        findings: in the order in which they were found.
        pictures: pictures that were opened; 0 where none was asked to be.
    """

    dataset: str
    chosen: Mapping[str, str]
    counts: Mapping[str, tuple[int | None, int]]
    findings: tuple[Finding, ...]
    pictures: int = 0

    @property
    def healthy(self) -> bool:
        """Whether every clip can be read and the counts are the published ones."""
        same = all(published in (None, found) for published, found in self.counts.values())
        return same and not any(finding.level == "error" for finding in self.findings)


def check(
    name: str,
    root: datasets.Root | None = None,
    *,
    pictures: bool = False,
    official: Path | str | None = None,
    progress: Callable[[int, int], object] | None = None,
    **options: str,
) -> Checkup:
    """Looks a data set over.

    Args:
        name, root, options: as for `datasets.load`.
        pictures: opens every picture of the clips, too: minutes for a whole set.
        official: for ``3db``, a copy of the official list of MEGC 2019 to compare with.
        progress: called with (clips looked at, clips in all), where pictures are opened.

    Raises:
        DatasetNotFound: no root, or it is no folder.
        BadInput: a setting is wrong, or the list can't be read. A missing tree or table is a finding.
    """
    module = datasets.adapter(name)
    if official is not None and not hasattr(module, "check_list"):
        raise BadInput("a data set that has an official list (3db)", name, "leave --official out")
    if not hasattr(module, "survey"):
        return _simple(name, root, options)
    if hasattr(module, "OPTIONS"):
        _survey.check_options(name, options, module.OPTIONS)
    place = datasets.root_of(name, root)
    try:
        found = module.survey(place, **options)
    except BadInput as error:
        return _unreadable(name, place, error)
    findings = [*found.findings, *_nested(found.clips, place)]
    if official is not None:
        findings += module.check_list(Path(official), found.clips)
    counted = getattr(module, "counts", _survey.counts)(found.clips)
    opened = 0
    if pictures:
        opened, damaged = open_all(found.clips, progress)
        findings += damaged
    return Checkup(name, found.chosen, _side_by_side(found.published, counted), tuple(findings), opened)


def _simple(name: str, root: datasets.Root | None, options: Mapping[str, str]) -> Checkup:
    """A set whose adapter either reads it or says what is wrong."""
    module = datasets.adapter(name)
    if options and name not in datasets.RENDERED:
        raise BadInput(f"no settings for {name}", ", ".join(options), "leave them out")
    published = {"clips": module.CLIPS, "subjects": module.SUBJECTS}
    try:
        clips = list(datasets.load(name, root, **options).clips)
    except BadInput as error:
        return _unreadable(name, root, error)
    counted = _survey.counts(clips)
    findings = tuple(module.oddities(clips)) if hasattr(module, "oddities") else ()
    return Checkup(name, {}, _side_by_side({k: v for k, v in published.items() if v is not None}, counted), findings)


def _unreadable(name: str, root: object, error: BadInput) -> Checkup:
    """A folder in which nothing can be read, for one reason."""
    where = name if root is None or isinstance(root, Mapping) else str(root)
    return Checkup(name, {}, {}, (Finding("error", where, str(error), "nothing of it can be read"),))


def _nested(clips: Sequence[Clip], place: Path | Mapping[str, Path]) -> Iterator[Finding]:
    """Notes trees that lie in a folder of their own name."""
    for root in place.values() if isinstance(place, Mapping) else (place,):
        folders = (clip.frames.folder for clip in clips if isinstance(clip.frames, NumberedFrames))
        folder = next((folder for folder in folders if folder.is_relative_to(root)), root)
        parts = folder.relative_to(root).parts
        for at, (outer, inside) in enumerate(itertools.pairwise(parts), start=1):
            if outer.lower() == inside.lower():
                where = str(root.joinpath(*parts[:at]))
                yield Finding("note", where, "a folder in a folder of the same name", "the inner one is read")


def _side_by_side(published: Mapping[str, int], found: Mapping[str, int]) -> dict[str, tuple[int | None, int]]:
    names = [*published, *(name for name in found if name not in published)]
    return {name: (published.get(name), found.get(name, 0)) for name in names}


def open_all(clips: Sequence[Clip], progress: Callable[[int, int], object] | None) -> tuple[int, list[Finding]]:
    """Opens every picture between the onset and the offset of a clip, once where clips share it.

    Returns:
        How many were opened, and a finding for each clip with pictures that can't be decoded.
    """
    found = []
    readable: dict[Path, bool] = {}
    for done, clip in enumerate(clips, start=1):
        if isinstance(clip.frames, NumberedFrames):
            damaged = [
                file for number, file in _files_of(clip, clip.frames) if not _opens(clip.frames, number, readable)
            ]
            if damaged:
                more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
                what = f"{damaged[0].name}{more} can't be decoded in {damaged[0].parent}"
                found.append(Finding("error", clip.key, what, "copy the clip again, or evaluate with --damaged skip"))
        if progress:
            progress(done, len(clips))
    return len(readable), found


def _files_of(clip: Clip, frames: NumberedFrames) -> list[tuple[int, Path]]:
    """Numbers and files of the pictures of a clip, which may be a part of a recording."""
    first = next(number for number in (clip.onset, clip.apex, frames.numbers[0]) if number is not None)
    last = next(number for number in (clip.offset, clip.apex, frames.numbers[-1]) if number is not None)
    return [(number, frames.file(number)) for number in frames.numbers if first <= number <= last]


def _opens(frames: NumberedFrames, number: int, known: dict[Path, bool]) -> bool:
    """Whether a picture can be decoded; `known` is what was opened before, and gets this one."""
    file = frames.file(number)
    if file not in known:
        try:
            frames.read(number)
            known[file] = True
        except BadInput:
            known[file] = False
    return known[file]
