"""From the clips of a recorded data set to clips that methods take: faces aligned, every apex known.

What is found is kept in the cache, so that the next evaluation of the same clips begins at once.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from microexpr import datasets
from microexpr.errors import BadInput, MicroexprError, UnknownName
from microexpr.evaluation import protocols, workers
from microexpr.faces.align import SIZE
from microexpr.faces.aligned import aligned, finder, first_of, laid, searched, to_align
from microexpr.faces.detect import Face
from microexpr.motion.cache import cached
from microexpr.spotting.apex import RULES, apex_of
from microexpr.types import Clip, Dataset, Protocol

DROP = "drop"
USUAL_FACES, USUAL_RULE = "haar", "mean-flow"
CACHE_FORMAT = "preparation-1"  # raise it when the same files and settings give another face or apex

# What is found of a clip: x, y, width, height, score of its face (not-a-number where it is not looked for), apex (-1).
Found = tuple[float, float, float, float, float, float]


def prepare(
    data: Dataset,
    *,
    faces: str = USUAL_FACES,
    apex_rule: str = USUAL_RULE,
    damaged: str = "stop",
    jobs: int = 1,
    progress: workers.Progress | None = None,
) -> Dataset:
    """Aligns the faces of recorded clips and finds the apex where none is annotated.

    Clips whose frames are aligned already (rendered ones, or those of a simple adapter), and flow maps, stay as they
    are; an apex is found for them too. A data set that was prepared is returned as it is.

    Args:
        data: any data set.
        faces: detector for the onset frame, see `faces.aligned.finder`; "none" takes frames as they are.
        apex_rule: for clips with frames and without an apex: a key of `spotting.apex.RULES`, or "drop" to leave such
            clips out.
        damaged: "stop", or "skip" to leave out clips whose pictures can't be read or show no face. For that every
            picture of a clip is opened, so that no method stops at one later.
        jobs: worker processes.
        progress: called with ("prepare clips", done, total).

    Raises:
        UnknownName: no such detector or rule.
        BadInput: a clip can't be prepared and `damaged` is "stop", or no clip is left.
    """
    _check(faces, apex_rule, damaged)
    if data.preparation:
        return data
    clips = data.clips
    lacking = [clip.key for clip in clips if clip.frames is not None and clip.apex is None]
    if apex_rule == DROP and lacking:
        clips = tuple(clip for clip in clips if clip.frames is None or clip.apex is not None)
    every = damaged == "skip"
    work = [at for at, clip in enumerate(clips) if _needs_work(clip, faces, every)]
    if not work and len(clips) == len(data.clips) and not any(to_align(clip) for clip in clips):
        return data
    calls = [(_look, (clips[at], faces, apex_rule, every)) for at in work]
    answers = dict(
        zip(work, workers.run_all(calls, "prepare clips", jobs, progress=progress) if work else (), strict=True)
    )
    made, failures = [], {}
    for at, clip in enumerate(clips):
        answer = answers.get(at)
        if isinstance(answer, str):
            failures[clip.key] = answer
        else:
            made.append(clip if answer is None else _finished(clip, answer))
    _tell(data, failures, damaged)
    if not made:
        if apex_rule == DROP and not failures:
            raise BadInput(f"clips of {data.name} with an annotated apex", "none", "use another --apex-rule than drop")
        raise BadInput(f"clips of {data.name} that can be used", "none", "see: microexpr check")
    searched_for = set(lacking)
    about: dict[str, Any] = {
        "faces": faces if any(to_align(clip) for clip in clips) else "none",
        "apex_rule": apex_rule,
        "apexes_found": sum(clip.key in searched_for for clip in made),
        "apexes": {clip.key: clip.apex for clip in made if clip.key in searched_for},
        "left_out": sorted({clip.key for clip in data.clips} - {clip.key for clip in made}),
    }
    return dataclasses.replace(data, clips=tuple(made), preparation=about)


def for_protocol(data: Dataset, protocol: Protocol, **settings: Any) -> Dataset:
    """`prepare`, of the clips that have a class only; the others are not looked at.

    Args:
        data, settings: as for `prepare`. A data set without frames, or with nothing to prepare, is returned as it is.
    """
    if data.preparation:
        return data
    if all(clip.frames is None for clip in data.clips):
        _check(**settings)
        return data
    labelled = dataclasses.replace(data, clips=protocols.label(data.clips, protocol).clips)
    found = prepare(labelled, **settings)
    return data if found is labelled else found


def data_of(dataset: str | Dataset, root: datasets.Root | None, part: str | None, damaged: str) -> Dataset:
    """A data set by name, or the one that was read; or a part of it."""
    if isinstance(dataset, str):
        return datasets.load(dataset, root, part, damaged=damaged)
    return dataset if part in (None, dataset.part) else datasets.part_of(dataset, part)


def _check(faces: str = USUAL_FACES, apex_rule: str = USUAL_RULE, damaged: str = "stop", **_: Any) -> None:
    if apex_rule not in (*RULES, DROP):
        raise UnknownName("apex rule", apex_rule, [*RULES, DROP])
    if damaged not in ("stop", "skip"):
        raise BadInput("damaged to be stop or skip", repr(damaged), "set it to one of them")
    if faces != "none":
        finder(faces)  # one that lacks its file or its extra says so before any clip is read


def _needs_work(clip: Clip, faces: str, every: bool) -> bool:
    if clip.frames is None:
        return False
    return clip.apex is None or (faces != "none" and to_align(clip)) or (every and hasattr(clip.frames, "file"))


def _tell(data: Dataset, failures: dict[str, str], damaged: str) -> None:
    if not failures:
        return
    first = next(iter(failures.values()))
    more = f" (and {len(failures) - 1} more clips)" if len(failures) > 1 else ""
    if damaged == "stop":
        advice = "mend them, or leave such clips out with --damaged skip"
        raise BadInput(f"clips of {data.name} that can be used", f"{first}{more}", advice)
    warnings.warn(f"{data.name}: left out: {first}{more}", stacklevel=3)


def _look(clip: Clip, faces: str, rule: str, every: bool) -> Found | str:
    """What is found of one clip, or why nothing is; in a worker."""
    try:
        key = _key(clip, faces, rule, every)
        if key is None:
            return _search(clip, faces, rule, every)
        values = cached(key, lambda: np.array(_search(clip, faces, rule, every)))
        return tuple(map(float, values))  # type: ignore[return-value]  # six of them, as they were kept
    except MicroexprError as error:
        return f"{clip.key}: {error}"


def _search(clip: Clip, faces: str, rule: str, every: bool) -> Found:
    nan = float("nan")
    face = (nan,) * 5
    prepared = aligned(clip, faces)
    if prepared is not clip:
        box: Face = prepared.frames.face  # type: ignore[union-attr]  # it was just laid over it
        face = (box.x, box.y, box.width, box.height, box.score)
    apex = -1 if clip.apex is not None else apex_of(prepared, rule)
    # A picture that can't be used is told now, by its clip.
    if clip.apex is not None and prepared.frames is not None:
        prepared.frames.read(clip.apex)
    if every:
        _open(clip)
    return (*face, float(apex))


def _open(clip: Clip) -> None:
    """Decodes every picture of a clip once; numbers without a file of their own share that of another."""
    files = getattr(clip.frames, "file", None)
    if files is None or clip.frames is None:
        return
    sizes = {}
    for file, number in {files(number): number for number in _numbers(clip)}.items():
        sizes[clip.frames.read(number).shape] = file
    if len(sizes) > 1:
        shown = ", ".join(f"{shape[1]}x{shape[0]} ({file})" for shape, file in sizes.items())
        raise BadInput("pictures of one size", shown, "copy the clip again")


def _numbers(clip: Clip) -> range:
    """The frames of a clip: onset to offset; of one without offset, to its apex."""
    first = first_of(clip)
    return range(first, max(first, clip.offset or 0, clip.apex or 0) + 1)


def _finished(clip: Clip, found: Found) -> Clip:
    *box, apex = found
    if not np.isnan(box[0]):
        clip = laid(clip, Face(*box))
    return clip if apex < 0 else dataclasses.replace(clip, apex=int(apex))


def _key(clip: Clip, faces: str, rule: str, every: bool) -> Sequence[str] | None:
    """What decides the answer: the files by name, size and time of change; None for frames that are no files."""
    files = getattr(clip.frames, "file", None)
    if files is None or clip.frames is None:
        return None
    numbers = _numbers(clip) if every or clip.apex is None else [*searched(clip), clip.apex]
    seen = []
    _, _, model = faces.partition("=")
    for path in dict.fromkeys([*map(files, numbers), *filter(None, [model])]):
        try:
            about = os.stat(path)  # noqa: PTH116 - one call for thousands of files
        except OSError:
            return None  # the search will say what is wrong
        seen.append(f"{path}:{about.st_size}:{about.st_mtime_ns}")
    import cv2

    interval = f"{clip.onset} {clip.apex} {clip.offset}"
    return [CACHE_FORMAT, cv2.__version__, faces, rule, f"{SIZE} {every}", interval, clip.key, *seen]
