"""The runner: nothing leaks, nothing is lost, everything is resumed to the same bytes."""

import contextlib
import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from microexpr import api
from microexpr.errors import BadInput, FoldFailed, MicroexprError, RunMismatch
from microexpr.evaluation import protocols, record, results, runner
from microexpr.methods.floors import Majority
from microexpr.types import Dataset
from tests.clips import flow_clips
from tests.frame_clips import frame_clips

DATA = Dataset("replica", tuple(flow_clips(4, 3)))


@dataclass
class Recorder:
    """Remembers what it was shown; answers with the class of the nearest training row."""

    needs: ClassVar[frozenset[str]] = frozenset({"flow"})
    shown: ClassVar[list] = []
    classes: int = 3
    seed: int = 0
    fail_on: str = ""

    def represent(self, clip):
        return clip.flow.channels.reshape(-1).astype(np.float32)

    def fit(self, x, y, subjects: Sequence[str]):
        self.shown.append((x, y, list(subjects), dict(vars(self))))
        if self.fail_on not in ("", "nan") and self.fail_on not in subjects:
            raise ValueError("as asked")
        self.x_, self.y_ = x, y
        return self

    def predict_proba(self, x):
        if self.fail_on == "nan":
            return np.full((len(x), self.classes), np.nan)
        nearest = ((x[:, None] - self.x_[None]) ** 2).sum(2).argmin(1)
        return np.eye(self.classes)[self.y_[nearest]]


@dataclass
class Traced(Recorder):
    """Right after epochs 2 to 4 and surer with each, so that selections pick different ones; remembers trainings."""

    trained: ClassVar[list] = []
    epochs: int = 6

    def fit(self, x, y, subjects: Sequence[str]):
        self.trained.append(("fit", self.epochs))
        self.x_, self.y_ = x, y
        return self

    def predict_proba(self, x):
        return self._after(self.epochs, x)

    def trace(self, x, y, subjects: Sequence[str], watch):
        self.trained.append(("trace", self.epochs))
        self.x_, self.y_ = x, y
        return np.stack([self._after(epoch, watch) for epoch in range(1, self.epochs + 1)])

    def _after(self, epoch, x):
        nearest = self.y_[((x[:, None] - self.x_[None]) ** 2).sum(2).argmin(1)]
        answer = np.eye(self.classes)[nearest if 2 <= epoch <= 4 else (nearest + 1) % self.classes]
        sure = 0.5 + 0.05 * epoch
        return sure * answer + (1 - sure) / self.classes


def run(folder, method=None, data=DATA, **settings):
    return run_all(folder, method, data, **settings)[0]


def run_all(folder, method=None, data=DATA, **settings):
    method = method or Recorder()
    return runner.evaluate(
        [method],
        data,
        protocols.megc(),
        name="recorder",
        settings=[dataclasses.asdict(method)],
        runs=folder,
        **settings,
    )


def contents(folder):
    return {file.name: file.read_bytes() for file in sorted((folder / "folds").glob("*.csv"))}


def test_fit_sees_the_training_subjects_only(tmp_path):
    """Row by row: pixels, labels and subjects of all other subjects' clips, and nothing remembered from before."""
    Recorder.shown.clear()
    folder = run(tmp_path)
    everyone = {clip.subject for clip in DATA.clips}
    assert len(Recorder.shown) == 4
    for (x, y, subjects, state), left_out in zip(Recorder.shown, sorted(everyone), strict=True):
        others = [clip for clip in DATA.clips if clip.subject != left_out]
        np.testing.assert_array_equal(x, [clip.flow.channels.reshape(-1) for clip in others])
        assert [protocols.megc().classes[label] for label in y] == [clip.emotion for clip in others]
        assert subjects == [clip.subject for clip in others]
        assert state == {"classes": 3, "seed": 0, "fail_on": ""}
    read = results.read_run(folder)
    assert sorted(read.clips) == sorted(clip.key for clip in DATA.clips)
    assert set(read.subjects) == everyone


def test_stored_predictions_are_those_of_the_method(tmp_path):
    read = results.read_run(run(tmp_path))
    labels = {clip.key: ("negative", "positive", "surprise").index(clip.emotion) for clip in DATA.clips}
    assert [labels[key] for key in read.clips] == read.truth.tolist()
    np.testing.assert_array_equal(read.predicted, read.probabilities.argmax(1))
    assert (read.predicted == read.truth).all()  # the replica's classes are far apart


def test_a_finished_fold_is_not_run_again(tmp_path):
    folder = run(tmp_path)
    before = contents(folder)
    lost = folder / "folds" / "casme2-sub02.csv"
    lost.unlink()
    Recorder.shown.clear()
    assert run(tmp_path) == folder
    assert len(Recorder.shown) == 1
    assert contents(folder) == before
    Recorder.shown.clear()
    run(tmp_path)
    assert not Recorder.shown


def test_a_damaged_fold_file_is_told_and_run_again(tmp_path):
    folder = run(tmp_path)
    before = contents(folder)
    damaged = folder / "folds" / "casme2-sub01.csv"
    damaged.write_bytes(damaged.read_bytes()[:90])
    with pytest.raises(BadInput, match=r"damaged or edited file .*casme2-sub01\.csv"):
        results.read_run(folder)
    damaged.write_bytes(before[damaged.name].replace(b"negative,negative", b"negative,cheerful"))
    with pytest.raises(BadInput, match=r"casme2-sub01\.csv"):
        results.read_run(folder)
    for damage in (b"\xff\xfe", before[damaged.name].replace(b"1.0", b"nan"), before[damaged.name][:-30]):
        damaged.write_bytes(damage)
        with pytest.raises(BadInput, match=r"damaged or edited file .*casme2-sub01\.csv"):
            results.read_run(folder)
    damaged.write_bytes(before[damaged.name][:90])
    with pytest.warns(UserWarning, match="computed again"):
        run(tmp_path)
    assert contents(folder) == before


def test_a_failing_fold_leaves_the_others_finished(tmp_path):
    with pytest.raises(FoldFailed, match=r"1 of 4 folds failed.*casme2/sub02: ValueError: as asked"):
        run(tmp_path, Recorder(fail_on="casme2/sub02"))
    folder = next(tmp_path.iterdir())
    assert len(contents(folder)) == 3


def test_probabilities_that_are_none_fail_loudly(tmp_path):
    with pytest.raises(FoldFailed, match="finite probabilities"):
        run(tmp_path, Recorder(fail_on="nan"))


def test_another_setting_is_another_folder(tmp_path):
    one = run(tmp_path)
    assert run(tmp_path, Recorder(seed=1)) != one
    other = Dataset("replica", tuple(flow_clips(5, 3)))
    assert run(tmp_path, data=other) != one
    assert run(tmp_path, Traced()) != run(tmp_path, Traced(), select=("oracle",))


def test_another_number_of_folds_is_another_folder(tmp_path):
    folders = {
        runner.evaluate(
            [Recorder()], DATA, protocols.megc("subject-k-fold", k), name="recorder", settings=[{}], runs=tmp_path
        )[0]
        for k in (2, 3)
    }
    assert len(folders) == 2


@pytest.mark.parametrize("changed", [{"emotion": "surprise"}, {"apex": 7}, {"subject": "casme2/sub77"}, {"key": "x"}])
def test_the_digest_sees_every_annotation(changed):
    clips = [dataclasses.replace(DATA.clips[0], **changed), *DATA.clips[1:]]
    assert record.data_digest(clips) != record.data_digest(DATA.clips)


def test_changed_pixels_are_another_folder(tmp_path):
    changed = dataclasses.replace(DATA.clips[0], flow=DATA.clips[1].flow)
    assert run(tmp_path, data=Dataset("replica", (changed, *DATA.clips[1:]))) != run(tmp_path)


def edit(folder, **changes):
    info = json.loads((folder / "run.json").read_text())
    info.update(changes)
    (folder / "run.json").write_text(json.dumps(info))


def test_a_run_of_another_version_is_not_continued(tmp_path):
    folder = run(tmp_path)
    (folder / "folds" / "casme2-sub01.csv").unlink()
    before = contents(folder)
    edit(folder, versions={"microexpr": "0.0.1"})
    with pytest.raises(RunMismatch, match=r"got one of 0\.0\.1"):
        run(tmp_path)
    edit(folder, format=99)
    with pytest.raises(RunMismatch, match="expected run format 2, got 99"):
        run(tmp_path)
    with pytest.raises(RunMismatch, match="got 99"):
        results.read_run(folder)
    assert contents(folder) == before


def test_folds_of_two_torch_versions_are_not_mixed(tmp_path):
    folder = run(tmp_path)
    versions = {**json.loads((folder / "run.json").read_text())["versions"], "numpy": "0.9"}
    edit(folder, versions=versions)
    run(tmp_path)  # nothing is left to compute: nothing can be mixed
    (folder / "folds" / "casme2-sub01.csv").unlink()
    with pytest.raises(RunMismatch, match=r"expected numpy 0\.9"):
        run(tmp_path)


def test_representation_is_not_shown_the_answer(tmp_path):
    """Neither label nor name, which spells the class in some sets (s01_ne_01), nor what an earlier clip left behind."""

    class Peeks(Recorder):
        def represent(self, clip):
            self.seen_ = [*getattr(self, "seen_", []), clip]
            assert not clip.emotion
            assert not clip.action_units
            assert not clip.subject
            assert clip.objective_class is None
            assert "sub" not in clip.key
            return super().represent(clip)

        def fit(self, x, y, subjects):
            assert not hasattr(self, "seen_")
            return super().fit(x, y, subjects)

    run(tmp_path, Peeks())


def test_names_of_folders_are_not_shown(tmp_path):
    """SMIC's folders are named by class."""

    class Peeks(Majority):
        def represent(self, clip):
            assert not {"folder", "names", "frames"} & set(dir(clip.frames))
            assert clip.frames.read(clip.onset).ndim == 3
            assert len(clip.frames) == 6
            return super().represent(clip)

    run(tmp_path, Peeks(), Dataset("synthetic", tuple(frame_clips(3, 3))))


def test_other_initial_weights_are_another_run(tmp_path):
    file = tmp_path / "start.pth"
    folders = set()
    for content in (b"one", b"two"):
        file.write_bytes(content)
        method = Recorder()
        settings = [{**dataclasses.asdict(method), "initial_weights": str(file)}]
        folders |= set(
            runner.evaluate([method], DATA, protocols.megc(), name="recorder", settings=settings, runs=tmp_path)
        )
    assert len(folders) == 2


def test_other_frames_are_other_data():
    """Rendered clips of another amplitude or crop have the same annotation, but not the same pixels."""
    settings = {"subjects": 1, "clips_per_subject": 1}
    digests = {
        record.data_digest(api.load("synthetic", **settings, **other).clips)
        for other in ({}, {"peak": 1.0}, {"peak": 4.0}, {"crop": False})
    }
    assert len(digests) == 4


def test_a_damaged_run_json_is_named(tmp_path):
    folder = run(tmp_path)
    for damage in (b"{", b'{"format": 2}', b"[]", b"\xff"):
        (folder / "run.json").write_bytes(damage)
        with pytest.raises(BadInput, match=r"run\.json, which is damaged"):
            results.read_run(folder)
    with pytest.raises(BadInput, match="a run folder with"):
        results.read_run(tmp_path)


def test_clips_that_lack_what_the_method_needs(tmp_path):
    class NeedsFrames(Recorder):
        needs = frozenset({"frames"})

    with pytest.raises(BadInput, match=r"expected clips that carry frames for recorder, got flow only in replica"):
        run(tmp_path, NeedsFrames())
    assert not list(tmp_path.iterdir())


def test_a_clip_that_can_not_be_represented_leaves_nothing_behind(tmp_path):
    class Unable(Recorder):
        def represent(self, clip):
            raise BadInput("a clip with an apex", clip.key, "find it")

    with pytest.raises(MicroexprError, match="with an apex, got casme2/sub00/clip000"):
        run(tmp_path, Unable())
    assert not list(tmp_path.iterdir())


def test_an_unwritable_place_is_named_and_nothing_is_half_written(tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(BadInput, match="a place that can be written"):
        run(tmp_path / "runs")


def test_workers_give_the_bytes_of_one_process(tmp_path):
    options = {"epochs": 1, "settings": {"representation": "uvs", "taps": (4,)}}
    one = api.evaluate("mjfn", DATA, runs=tmp_path / "one", jobs=1, **options)[0]
    two = api.evaluate("mjfn", DATA, runs=tmp_path / "two", jobs=2, **options)[0]
    assert one.folder.name == two.folder.name
    assert contents(one.folder) == contents(two.folder)


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path):
    """kill -9 in the middle, then the same command: byte-identical to a run that nobody disturbed."""
    script = (
        "from pathlib import Path; import sys\n"
        "from microexpr import api; from microexpr.types import Dataset; from tests.clips import flow_clips\n"
        "data = Dataset('replica', tuple(flow_clips(8, 3)))\n"
        "api.evaluate('flow-linear', data, runs=Path(sys.argv[1]), jobs=2, epochs=400)\n"
    )

    def start(folder):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen([sys.executable, "-c", script, str(folder)], env=environment, start_new_session=True)

    assert start(tmp_path / "whole").wait(120) == 0
    (undisturbed,) = (tmp_path / "whole").iterdir()
    process = start(tmp_path / "killed")
    deadline = time.monotonic() + 60
    while not list((tmp_path / "killed").glob("*/folds/*.csv")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)  # the parent only: its workers must notice
    process.wait()
    (killed,) = (tmp_path / "killed").iterdir()
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not members(process.pid)
    assert 0 < len(contents(killed)) < 8
    assert start(tmp_path / "killed").wait(120) == 0
    assert killed.name == undisturbed.name
    assert contents(killed) == contents(undisturbed)


def members(group):
    """Living processes of a process group, on Linux."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            found += [stat.parent.name] if int(its_group) == group and state != "Z" else []
    return found


def test_selections_asked_together_train_once_and_give_the_bytes_of_each_alone(tmp_path):
    Traced.trained.clear()
    together = run_all(tmp_path / "together", Traced(), select=("last", "inner", "oracle"))
    # Each fold: once on the inner split, once on all training rows.
    assert Traced.trained == [("trace", 6)] * 8
    for folder, one in zip(together, ("last", "inner", "oracle"), strict=True):
        alone = run(tmp_path / "alone", Traced(), select=(one,))
        assert alone.name == folder.name
        assert contents(alone) == contents(folder)
        assert len(contents(alone)) == 4
    assert len({tuple(contents(folder).values()) for folder in together}) == 3
    assert results.read_run(together[0]).epochs == (6,) * 12
    # Of the epochs that are right, inner takes the surest (smallest log loss) and oracle the first.
    assert results.read_run(together[1]).epochs == (4,) * 12
    assert results.read_run(together[2]).epochs == (2,) * 12


def test_last_asked_alone_is_a_fit_and_inner_alone_stops_at_its_epoch(tmp_path):
    Traced.trained.clear()
    run(tmp_path, Traced())
    assert Traced.trained == [("fit", 6)] * 4
    Traced.trained.clear()
    run(tmp_path, Traced(), select=("inner",))
    assert Traced.trained == [("trace", 6), ("fit", 4)] * 4


def test_inner_sees_no_test_row_and_holds_back_whole_subjects(tmp_path):
    watched = []

    @dataclass
    class Watches(Traced):
        def trace(self, x, y, subjects, watch):
            watched.append((x, list(subjects), watch))
            return super().trace(x, y, subjects, watch)

    data = Dataset("replica", tuple(flow_clips(7, 3)))
    subject_of = {clip.flow.channels.astype(np.float32).tobytes(): clip.subject for clip in data.clips}
    folder = run(tmp_path, Watches(), data, select=("inner",))
    assert len(watched) == 7
    for (x, subjects, watch), left_out in zip(watched, results.read_run(folder).folds, strict=True):
        held = {subject_of[row.tobytes()] for row in watch}
        assert len(held) == 2  # a fifth of six, rounded up by the split
        assert len(watch) == 6  # all of their clips
        assert not held & set(subjects)
        assert {subject_of[row.tobytes()] for row in x} == set(subjects)
        assert held | set(subjects) == {clip.subject for clip in data.clips} - {left_out}


def test_oracle_takes_the_best_epoch_of_a_trace_made_by_hand(tmp_path):
    """Per fold of three clips, one of each class: 1, 3 and 2 right after epochs 1, 2, 3; a tie goes to the first."""
    right = [np.array([0, 0, 0]), np.array([0, 1, 2]), np.array([0, 1, 1]), np.array([0, 1, 2])]
    by_hand = np.stack([np.eye(3)[answer] * 0.7 + 0.1 for answer in right])

    @dataclass
    class ByHand(Traced):
        def trace(self, x, y, subjects, watch):
            return by_hand

    folder = run(tmp_path, ByHand(), select=("oracle",))
    read = results.read_run(folder)
    assert read.epochs == (2,) * 12
    assert (read.predicted == read.truth).all()
    stored = results.read_trace(read)
    assert stored.shape == (4, 12, 3)
    np.testing.assert_allclose(stored, np.concatenate([by_hand] * 4, axis=1), atol=1e-7)


def test_traces_are_read_in_the_order_of_the_clips_and_a_damaged_one_is_named(tmp_path):
    last, oracle = run_all(tmp_path, Traced(), select=("last", "oracle"))
    read = results.read_run(oracle)
    trace = results.read_trace(read)
    assert trace.shape == (6, len(read.clips), 3)
    # After the last epoch the trace holds what the run of the last epoch answered, clip by clip.
    np.testing.assert_allclose(trace[-1], results.read_run(last).probabilities, atol=1e-6)
    chosen = trace[np.array(read.epochs) - 1, np.arange(len(read.clips))]
    np.testing.assert_allclose(chosen, read.probabilities, atol=1e-6)
    assert results.read_trace(results.read_run(last)) is None
    file = results.trace_file(oracle, read.folds[1])
    whole = file.read_bytes()
    for damage in (b"", b"x", whole[:-40], whole[:60] + b"\0\0\0\0\0\0\0\0" + whole[68:]):
        file.write_bytes(damage)
        with pytest.raises(BadInput, match=r"damaged or missing file .*traces/casme2-sub01\.npz"):
            results.read_trace(read)
    results.write_trace(oracle, read.folds[1], trace[:, :2])  # of other clips
    with pytest.raises(BadInput, match=r"casme2-sub01\.npz"):
        results.read_trace(read)
    file.unlink()
    with pytest.raises(BadInput, match=r"casme2-sub01\.npz"):
        results.read_trace(read)


def test_a_method_without_epochs_has_none_to_select(tmp_path):
    with pytest.raises(BadInput, match="epochs to choose from for select last, oracle, got recorder, which") as e:
        run(tmp_path, select=("last", "oracle"))
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mjfn", "ststnet", "off-apexnet"])
def test_fit_is_the_last_row_of_the_trace(name):
    from microexpr import methods

    fields = {field.name for field in dataclasses.fields(methods.kind_of(name))}
    small = {"representation": "uvs"} if "representation" in fields else {}
    method = methods.create(name, epochs=2, seed=3, **small)
    x = np.stack([method.represent(clip) for clip in DATA.clips])
    y = np.arange(12) % 3
    subjects = [clip.subject for clip in DATA.clips]
    trace = methods.create(name, epochs=2, seed=3, **small).trace(x[:9], y[:9], subjects[:9], x[9:])
    assert trace.shape == (2, 3, 3)
    for epochs in (1, 2):
        fitted = methods.create(name, epochs=epochs, seed=3, **small).fit(x[:9], y[:9], subjects[:9])
        np.testing.assert_array_equal(fitted.predict_proba(x[9:]), trace[epochs - 1])


def test_a_full_disk_is_told_in_one_line_and_the_run_goes_on_when_there_is_space(tmp_path, monkeypatch):
    whole = contents(run(tmp_path / "whole"))
    write, written = Path.write_bytes, []

    def full(self, content):
        if self.parent.name == "folds" and len(written) >= 2:  # run.json and one fold
            write(self, content[:10])  # what fitted
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(self)
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FoldFailed, match=r"3 of 4 folds failed.*No space left on device; make space") as error:
        run(tmp_path / "full")
    assert "\n" not in str(error.value)
    (folder,) = (tmp_path / "full").iterdir()
    assert not list(folder.rglob("*.tmp"))
    assert len(contents(folder)) == 1
    monkeypatch.undo()
    assert contents(run(tmp_path / "full")) == whole


def test_temporary_files_of_killed_writers_go_when_they_are_old(tmp_path):
    folder = run(tmp_path)
    (folder / "traces").mkdir()
    old = [folder / ".run.json.1.tmp", folder / "folds" / ".a.csv.1.tmp", folder / "traces" / ".a.npz.1.tmp"]
    young = folder / "folds" / ".b.csv.1.tmp"
    for file in (*old, young):
        file.write_text("half a fi")
    for file in old:
        os.utime(file, (time.time() - 7200,) * 2)
    before = contents(folder)
    run(tmp_path)
    assert not any(file.exists() for file in old)
    assert young.exists()  # its writer may be at work
    assert {key: value for key, value in contents(folder).items() if not key.startswith(".")} == before


def test_a_lost_trace_is_computed_again(tmp_path):
    """Without it the oracle's fold is not whole: a copied run may have left its traces behind."""
    folder = run_all(tmp_path, Traced(), select=("oracle",))[0]
    lost = sorted((folder / "traces").iterdir())[1]
    before = np.load(lost)["probabilities"]
    lost.unlink()
    with pytest.warns(UserWarning, match="computed again"):
        run_all(tmp_path, Traced(), select=("oracle",))
    np.testing.assert_array_equal(np.load(lost)["probabilities"], before)
