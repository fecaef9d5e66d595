"""Calls spread over workers: local processes, or those of a Ray or Dask cluster (see `clusters`)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any

from microexpr.errors import BadInput
from microexpr.evaluation import clusters
from microexpr.evaluation.clusters import Numbered, WorkerDied

ENGINES = ("local", "ray", "dask")
RETRIES = 3  # of calls whose worker died, when nothing was finished in between
_WATCH = "microexpr-watch"  # thread of a worker that looks after its parent

# step, done, total: how far a run is
Progress = Callable[[str, int, int], None]
Call = tuple[Callable[..., Any], tuple]


def run_all(
    calls: Sequence[Call], step: str, jobs: int, engine: str = "local", progress: Progress | None = None
) -> list[Any]:
    """The results in the order of the calls.

    Calls whose worker died (killed, or out of memory) are tried again, after those that were not reached. After two
    deaths in a row one call runs at a time, so that a call that always kills its worker takes no other with it.

    Args:
        calls: functions and their arguments; both must be importable where the workers are.
        step: what is done, for the progress.
        jobs: workers, each with one thread of arithmetic; 1 works in this process. A cluster that was started before
            uses the workers that it has.
        engine: one of `ENGINES`.
        progress: called with (step, done, total).

    Raises:
        BadInput: no such engine, workers died again and again, or the cluster does not answer.
        MissingExtra: the engine is not installed.
    """
    streams = {"local": _local, "ray": clusters.on_ray, "dask": clusters.on_dask}
    if engine not in streams:
        raise BadInput(f"an engine: {', '.join(ENGINES)}", repr(engine), "set --engine local")
    results: dict[int, Any] = {}
    waiting = list(range(len(calls)))
    deaths = 0  # since a call was last finished
    if progress:
        progress(step, 0, len(calls))
    while waiting:
        known = len(results)
        tried = waiting[:1] if deaths > 1 else waiting
        try:
            with contextlib.closing(streams[engine]([(number, *calls[number]) for number in tried], jobs)) as stream:
                for number, result in stream:
                    results[number] = result
                    if progress:
                        progress(step, len(results), len(calls))
        except WorkerDied as died:
            deaths = 1 if len(results) > known else deaths + 1
            if deaths > RETRIES:
                advice = "memory may be too small: give fewer --jobs; what is finished is kept"
                raise BadInput("workers that live", f"workers that died {deaths} times in a row", advice) from died
            warnings.warn(f"{step}: a worker died; what it had not finished is tried again", stacklevel=2)
        else:
            deaths = 0
        waiting = [number for number in waiting if number not in results]
        suspects = min(jobs, len(tried))  # the first ones were at work when the worker died
        waiting = waiting[suspects:] + waiting[:suspects]
    return [results[number] for number in range(len(calls))]


def _local(calls: Sequence[Numbered], jobs: int) -> Generator[tuple[int, Any], None, None]:
    """Processes of this machine; what is finished first comes first."""
    if jobs == 1:
        for number, call, given in calls:
            yield number, call(*given)
        return
    import joblib
    from joblib.externals.loky.process_executor import BrokenProcessPool

    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    told: set[str] = set()
    try:
        answers = parallel(joblib.delayed(_in_worker)(os.getpid(), *numbered) for numbered in calls)
        for number, result, warned in answers:
            for text in [text for text in warned if text not in told]:
                told.add(text)
                warnings.warn(text, stacklevel=3)
            yield number, result
    except BrokenProcessPool as error:  # told by joblib as TerminatedWorkerError, which is one
        raise WorkerDied from error


def _in_worker(parent: int, number: int, call: Callable[..., Any], given: tuple) -> tuple[int, Any, list[str]]:
    """Runs a call; a worker whose parent is gone (kill -9) follows it instead of waiting for work forever.

    Returns:
        Number, result, and what was warned of: the parent says once what every worker would say.
    """
    watching = any(thread.name == _WATCH for thread in threading.enumerate())
    if os.getpid() != parent and os.getppid() == parent and not watching:
        threading.Thread(target=_follow, args=(parent,), name=_WATCH, daemon=True).start()
    with warnings.catch_warnings(record=True) as caught:
        result = call(*given)
    return number, result, list(dict.fromkeys(str(one.message) for one in caught))


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)  # what is finished lies in its file; nothing is left to clean up
