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
from microexpr.faces.aligned import aligned, first_of, laid, to_align
from microexpr.faces.detect import DETECTORS, Face, detector
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
        faces: detector for the onset frame, a key of `faces.detect.DETECTORS`; "none" takes frames as they are.
        apex_rule: for clips with frames and without an apex: a key of `spotting.apex.RULES`, or "drop" to leave such
            clips out.
        damaged: "stop", or "skip" to leave out clips whose pictures can't be read or show no face.
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
    work = [at for at, clip in enumerate(clips) if _needs_work(clip, faces)]
    if not work and len(clips) == len(data.clips):
        return data
    calls = [(_look, (clips[at], faces, apex_rule)) for at in work]
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
        raise BadInput(f"clips of {data.name} that can be used", "none", "see: microexpr check")
    about: dict[str, Any] = {
        "faces": faces if any(to_align(clip) for clip in clips) else "none",
        "apex_rule": apex_rule,
        "apexes_found": 0 if apex_rule == DROP else len(set(lacking) - set(failures)),
        "left_out": sorted({clip.key for clip in data.clips} - {clip.key for clip in made}),
    }
    return dataclasses.replace(data, clips=tuple(made), preparation=about)


def for_protocol(data: Dataset, protocol: Protocol, **settings: Any) -> Dataset:
    """`prepare`, of the clips that have a class only; the others are not looked at.

    Args:
        data, settings: as for `prepare`. A data set without frames, or with nothing to prepare, is returned as it is.
    """
    if data.preparation or all(clip.frames is None for clip in data.clips):
        return data
    labelled = dataclasses.replace(data, clips=protocols.label(data.clips, protocol).clips)
    found = prepare(labelled, **settings)
    return data if found is labelled else found


def data_of(dataset: str | Dataset, root: datasets.Root | None, part: str | None, damaged: str) -> Dataset:
    """A data set by name, or the one that was read; or a part of it."""
    if isinstance(dataset, str):
        return datasets.load(dataset, root, part, damaged=damaged)
    return dataset if part in (None, dataset.part) else datasets.part_of(dataset, part)


def _check(faces: str, apex_rule: str, damaged: str) -> None:
    if faces not in (*DETECTORS, "none") or faces == "file":
        raise UnknownName(
            "face detector for data sets", faces, [*(name for name in DETECTORS if name != "file"), "none"]
        )
    if apex_rule not in (*RULES, DROP):
        raise UnknownName("apex rule", apex_rule, [*RULES, DROP])
    if damaged not in ("stop", "skip"):
        raise BadInput("damaged to be stop or skip", repr(damaged), "set it to one of them")
    if faces != "none":
        detector(faces)  # one that lacks its file or its extra says so before any clip is read


def _needs_work(clip: Clip, faces: str) -> bool:
    return clip.frames is not None and (clip.apex is None or (faces != "none" and to_align(clip)))


def _tell(data: Dataset, failures: dict[str, str], damaged: str) -> None:
    if not failures:
        return
    first = next(iter(failures.values()))
    more = f" (and {len(failures) - 1} more clips)" if len(failures) > 1 else ""
    if damaged == "stop":
        advice = "mend them, or leave such clips out with --damaged skip"
        raise BadInput(f"clips of {data.name} that can be used", f"{first}{more}", advice)
    warnings.warn(f"{data.name}: left out: {first}{more}", stacklevel=3)


def _look(clip: Clip, faces: str, rule: str) -> Found | str:
    """What is found of one clip, or why nothing is; in a worker."""
    try:
        key = _key(clip, faces, rule)
        if key is None:
            return _search(clip, faces, rule)
        values = cached(key, lambda: np.array(_search(clip, faces, rule)))
        return tuple(map(float, values))  # type: ignore[return-value]  # six of them, as they were kept
    except MicroexprError as error:
        return f"{clip.key}: {error}"


def _search(clip: Clip, faces: str, rule: str) -> Found:
    nan = float("nan")
    face = (nan,) * 5
    prepared = aligned(clip, faces)
    if prepared is not clip:
        box: Face = prepared.frames.face  # type: ignore[union-attr]  # it was just laid over it
        face = (box.x, box.y, box.width, box.height, box.score)
    apex = -1 if clip.apex is not None else apex_of(prepared, rule)
    if clip.apex is not None and prepared.frames is not None:
        prepared.frames.read(clip.apex)  # a picture that can't be read is told now, by its clip
    return (*face, float(apex))


def _finished(clip: Clip, found: Found) -> Clip:
    *box, apex = found
    if not np.isnan(box[0]):
        clip = laid(clip, Face(*box))
    return clip if apex < 0 else dataclasses.replace(clip, apex=int(apex))


def _key(clip: Clip, faces: str, rule: str) -> Sequence[str] | None:
    """What decides the answer: the files by name, size and time of change; None for frames that are no files."""
    files = getattr(clip.frames, "file", None)
    if files is None or clip.frames is None:
        return None
    numbers = [first_of(clip), clip.apex] if clip.apex is not None else range(first_of(clip), (clip.offset or 0) + 1)
    seen = []
    for path in dict.fromkeys(files(number) for number in numbers):
        try:
            about = os.stat(path)  # noqa: PTH116 - one call for thousands of files
        except OSError:
            return None  # the search will say what is wrong
        seen.append(f"{path}:{about.st_size}:{about.st_mtime_ns}")
    import cv2

    interval = f"{clip.onset} {clip.apex} {clip.offset}"
    return [CACHE_FORMAT, cv2.__version__, faces, rule, f"{SIZE}", interval, clip.key, *seen]
