"""Calls on the workers of a Ray or a Dask cluster: one that runs already, or one of local processes started for them.

Both engines also have a backend for joblib. They are used directly because those backends hang (Dask) or stop (Ray)
when a call kills its worker.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from microexpr.errors import BadInput, MissingExtra

# number, function, arguments
Numbered = tuple[int, Callable[..., Any], tuple]
LARGE = 100_000  # bytes from which an array goes to the cluster once instead of with every call
_KEPT = "what is finished is kept: the same command goes on from there"


class WorkerDied(Exception):
    """A worker was killed while it worked; what it had not finished must be tried again."""


def on_ray(calls: Sequence[Numbered], jobs: int) -> Generator[tuple[int, Any], None, None]:
    """Runs calls on Ray: on the cluster of RAY_ADDRESS or of an earlier ``ray.init``, else on `jobs` local workers.

    Yields:
        The number and the result of each call, what is finished first first.

    Raises:
        WorkerDied: at the end, when workers died on the way.
        BadInput: the cluster does not answer.
        MissingExtra: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported and started: it reports nothing
    try:
        import ray
        from ray import exceptions
    except ImportError as error:
        raise MissingExtra("ray", "--engine ray") from error
    _start_ray(ray, jobs)
    # Lost calls are tried again by `workers.run_all`, which says so.
    remote = ray.remote(num_cpus=1, max_retries=0)(_call)
    large = {id(value): ray.put(value) for value in _large(calls)}
    waiting = {
        remote.remote(call, *(large.get(id(value), value) for value in given)): number for number, call, given in calls
    }
    died: Exception | None = None
    try:
        while waiting:
            (done, *_), _ = ray.wait(list(waiting))
            number = waiting.pop(done)
            try:
                result = ray.get(done)
            except exceptions.RayTaskError as error:  # the call's own
                raise error.cause from None
            except exceptions.RayError as error:
                died = error
            else:
                yield number, result
    finally:
        for reference in waiting:
            ray.cancel(reference)
    if died:
        raise WorkerDied from died


def _start_ray(ray: Any, jobs: int) -> None:
    if ray.is_initialized():
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        ray.init(address="local", num_cpus=jobs, include_dashboard=False, **quiet)
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        advice = f"start it, or unset RAY_ADDRESS; {_KEPT}"
        raise BadInput("a Ray cluster at RAY_ADDRESS", f"{address}, which does not answer", advice) from error


def on_dask(calls: Sequence[Numbered], jobs: int) -> Generator[tuple[int, Any], None, None]:
    """Runs calls on Dask: with the client that there is, on the cluster of DASK_SCHEDULER_ADDRESS, else locally.

    Yields, raises: as `on_ray`.
    """
    try:
        from distributed import as_completed
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise MissingExtra("dask", "--engine dask") from error
    client = _dask_client(jobs)
    large = _large(calls)
    try:
        sent = client.scatter(large, broadcast=True, hash=False) if large else []
    except OSError as error:
        advice = f"start the cluster again; {_KEPT}"
        raise BadInput("a Dask scheduler that answers", "one that is gone", advice) from error
    shared = dict(zip(map(id, large), sent, strict=True))
    waiting = {
        client.submit(call, *(shared.get(id(value), value) for value in given), pure=False): number
        for number, call, given in calls
    }
    died: Exception | None = None
    try:
        for future in as_completed(list(waiting)):
            number = waiting.pop(future)
            try:
                result = future.result()
            except (KilledWorker, FutureCancelledError) as error:  # or the last worker that held its array died
                died = error
            else:
                yield number, result
    finally:
        if waiting:
            client.cancel(list(waiting), force=True)
    if died:
        raise WorkerDied from died


def _dask_client(jobs: int) -> Any:
    import dask
    from distributed import Client, LocalCluster, get_client

    address = dask.config.get("scheduler-address", None)
    try:
        client = get_client()
    except ValueError:  # none yet
        try:
            if address:
                client = Client(address, set_as_default=True)
            else:
                # Lost calls are tried again by `workers.run_all`, which says so.
                dask.config.set({"distributed.scheduler.allowed-failures": 0})
                cluster = LocalCluster(
                    n_workers=jobs,
                    threads_per_worker=1,
                    silence_logs=50,
                    # No dashboard; its server of bare figures takes a free port: None would take 8787 and warn.
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                )
                client = Client(cluster, set_as_default=True)
        except OSError as error:
            advice = f"start it, or unset DASK_SCHEDULER_ADDRESS; {_KEPT}"
            raise BadInput("a Dask scheduler that answers", f"{address}, which does not", advice) from error
    if not client.nthreads():
        if address:
            warnings.warn("no Dask worker is there yet; waiting for the first one", stacklevel=2)
        client.wait_for_workers(1)
    if max(client.nthreads().values()) > 1:
        advice = "start them with --nthreads 1 and more --nworkers"
        raise BadInput("Dask workers with one thread each", f"{max(client.nthreads().values())} threads", advice)
    return client


def _large(calls: Sequence[Numbered]) -> list[np.ndarray]:
    """Arrays among the arguments that are worth sending only once."""
    found = {
        id(value): value
        for _, _, given in calls
        for value in given
        if isinstance(value, np.ndarray) and value.nbytes >= LARGE
    }
    return list(found.values())


def _call(call: Callable[..., Any], *given: Any) -> Any:
    return call(*given)
