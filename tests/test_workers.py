"""Workers that die, several processes on one run, and the workers of Ray and Dask: nothing lost, the same bytes."""

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from microexpr.errors import BadInput, FoldFailed
from microexpr.evaluation import clusters, protocols, runner, training, workers
from microexpr.types import Dataset
from tests.clips import flow_clips
from tests.test_runner import Recorder, contents, members

DATA = Dataset("replica", tuple(flow_clips(4, 3)))


@dataclass
class Marked(Recorder):
    """Notes each training in a file; the first training of `dies_on` kills its worker, or every one."""

    notes: str = ""
    dies_on: str = ""
    always: bool = False
    seconds: float = 0.0

    def fit(self, x, y, subjects):
        with Path(self.notes).open("a") as stream:
            stream.write("trained\n")
        killed = Path(self.notes + ".killed")
        if self.dies_on and self.dies_on not in subjects and (self.always or not killed.exists()):
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        return super().fit(x, y, subjects)


def run(runs, method, data=DATA, **settings):
    # The same settings on record: all of these are one experiment.
    return runner.evaluate(
        [method], data, protocols.megc(), name="marked", settings=[{"seed": method.seed}], runs=runs, **settings
    )[0]


def trainings(notes):
    return len(Path(notes).read_text().splitlines())


@pytest.fixture
def undisturbed(tmp_path):
    return contents(run(tmp_path / "undisturbed", Marked(notes=str(tmp_path / "undisturbed.notes"))))


ENGINES = ["local", "ray", "dask"]


@pytest.fixture(autouse=True)
def _private_engines(monkeypatch, request):
    engine = getattr(request.node, "callspec", None) and request.node.callspec.params.get("engine")
    if engine in ("ray", "dask"):
        pytest.importorskip({"ray": "ray", "dask": "distributed"}[engine])
    for name in ("RAY_ADDRESS", "DASK_SCHEDULER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray writes a token into the home folder
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # workers import this module


@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_killed_in_the_middle_loses_nothing(engine, tmp_path, undisturbed):
    notes = str(tmp_path / "notes")
    method = Marked(notes=notes, dies_on="casme2/sub02")
    with pytest.warns(UserWarning, match=r"^train folds: a worker died; what it had not finished is tried again$"):
        folder = run(tmp_path / "runs", method, jobs=2, engine=engine)
    assert contents(folder) == undisturbed
    assert Path(notes + ".killed").exists()
    assert 5 <= trainings(notes) <= 6  # the killed one again, and at most the one beside it
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fold_that_fails_is_named_and_the_others_are_kept(engine, tmp_path):
    method = Marked(notes=str(tmp_path / "notes"), fail_on="casme2/sub02")
    with pytest.raises(FoldFailed, match=r"1 of 4 folds failed.*casme2/sub02: ValueError: as asked") as error:
        run(tmp_path / "runs", method, jobs=2, engine=engine)
    assert "\n" not in str(error.value)
    assert len(contents(next((tmp_path / "runs").iterdir()))) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_of_a_call_comes_as_its_own_one_line(engine, tmp_path):
    @dataclass
    class Unable(Recorder):
        def represent(self, clip):
            raise BadInput("a clip with an apex", clip.key, "find it")

    with pytest.raises(Exception, match="with an apex, got casme2/sub0") as error:
        run(tmp_path / "runs", Unable(), jobs=2, engine=engine)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:.*a worker died:UserWarning")
def test_a_fold_that_always_kills_its_worker_lets_the_others_finish(tmp_path, undisturbed):
    method = Marked(notes=str(tmp_path / "notes"), dies_on="casme2/sub00", always=True, seconds=0.3)
    with pytest.raises(BadInput, match="workers that died 4 times in a row"):
        run(tmp_path / "runs", method, jobs=2)
    (folder,) = (tmp_path / "runs").iterdir()
    left = {name: text for name, text in undisturbed.items() if name != "casme2-sub00.csv"}
    assert contents(folder) == left


def _double(value, times):
    return value.sum() * times


@pytest.mark.parametrize("engine", ENGINES)
def test_results_come_in_the_order_of_the_calls(engine):
    large, told = np.ones(clusters.LARGE), []
    calls = [(_double, (large, number)) for number in range(9)]
    found = workers.run_all(calls, "count", 2, engine, lambda *given: told.append(given))
    assert found == [clusters.LARGE * number for number in range(9)]
    assert told == [("count", done, 9) for done in range(10)]


def test_an_unknown_engine_is_named():
    with pytest.raises(BadInput, match="an engine: local, ray, dask, got 'slurm'"):
        workers.run_all([], "count", 2, "slurm")


@pytest.mark.parametrize(("engine", "module"), [("ray", "ray"), ("dask", "distributed")])
def test_an_engine_that_is_not_installed_is_named(engine, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Exception, match=rf"pip install 'microexpr\[{engine}\]'"):
        workers.run_all([(_double, (np.ones(1), 1))], "count", 2, engine)


SCRIPT = """
import os, sys, time
from pathlib import Path
from microexpr.types import Dataset
from tests.clips import flow_clips
from tests.test_workers import Marked, run
runs, notes, ready = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
data = Dataset("replica", tuple(flow_clips(16, 3)))
(ready / str(os.getpid())).touch()
while len(list(ready.iterdir())) < 2:
    time.sleep(0.001)
run(runs, Marked(notes=notes, seconds=0.1), data)
"""


def test_two_processes_share_one_run(tmp_path):
    """Started at the same moment on a run that nobody began: both end well, and most folds are trained once."""
    data = Dataset("replica", tuple(flow_clips(16, 3)))
    whole = contents(run(tmp_path / "whole", Marked(notes=str(tmp_path / "whole.notes")), data))
    notes = tmp_path / "notes"
    ready = tmp_path / "ready"
    ready.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "runs"), str(notes), str(ready)]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(100) for process in both] == [0, 0]
    (folder,) = (tmp_path / "runs").iterdir()
    assert contents(folder) == whole
    assert not list(folder.rglob("*.tmp"))
    assert 16 <= trainings(notes) <= 24


def test_a_file_that_can_not_grow_is_no_finished_fold(tmp_path, undisturbed):
    """A limit of the kernel, hit in the middle of a write: as on a full disk, the beginning is written."""
    folder = run(tmp_path / "runs", Marked(notes=str(tmp_path / "notes")))
    (folder / "folds" / "casme2-sub01.csv").unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(FoldFailed, match=r"1 of 1 folds failed.*casme2-sub01\.csv: File too large"):
            run(tmp_path / "runs", Marked(notes=str(tmp_path / "notes")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(contents(folder)) == 3
    assert not list(folder.rglob("*.tmp"))
    run(tmp_path / "runs", Marked(notes=str(tmp_path / "notes")))
    assert contents(folder) == undisturbed


KILLED_SCRIPT = """
import sys
from pathlib import Path
from microexpr.types import Dataset
from tests.clips import flow_clips
from tests.test_workers import Marked, run
run(Path(sys.argv[1]), Marked(notes=sys.argv[2], seconds=0.2), Dataset("replica", tuple(flow_clips(16, 3))), jobs=2)
"""


def test_a_run_killed_three_times_ends_with_the_same_bytes(tmp_path):
    """SIGKILL for the whole group, then for the parent alone, whose workers must end, then for the group again."""
    data = Dataset("replica", tuple(flow_clips(16, 3)))
    whole = contents(run(tmp_path / "whole", Marked(notes=str(tmp_path / "whole.notes")), data))
    command = [sys.executable, "-c", KILLED_SCRIPT, str(tmp_path / "runs"), str(tmp_path / "notes")]
    reached = []
    for kill in (os.killpg, os.kill, os.killpg):
        process = subprocess.Popen(command, start_new_session=True)
        deadline = time.monotonic() + 60
        before = len(list((tmp_path / "runs").glob("*/folds/*.csv")))
        while len(list((tmp_path / "runs").glob("*/folds/*.csv"))) < before + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        kill(process.pid, signal.SIGKILL)
        process.wait()
        while members(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not members(process.pid)
        reached.append(len(list((tmp_path / "runs").glob("*/folds/*.csv"))))
    assert reached == sorted(set(reached))
    assert reached[0] > 0
    assert reached[-1] < 16
    assert subprocess.run(command, check=False, timeout=100).returncode == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert contents(folder) == whole
    assert trainings(tmp_path / "notes") <= 16 + 3 * 2  # at each kill two workers were at work


def test_a_run_folder_that_workers_do_not_share_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "write", lambda *given: None)  # written on another machine's disk
    with pytest.raises(FoldFailed, match=r"4 of 4 folds failed.*did not arrive; put --runs where all machines share"):
        run(tmp_path / "runs", Marked(notes=str(tmp_path / "notes")))


def test_dask_workers_of_several_threads_are_refused():
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0", silence_logs=50)
    with (
        cluster,
        distributed.Client(cluster),
        pytest.raises(BadInput, match="one thread each, got 2 threads; start them with --nthreads 1"),
    ):
        workers.run_all([(_double, (np.ones(1), 1))], "count", 2, "dask")
