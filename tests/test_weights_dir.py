"""Weights that were trained elsewhere, one file for each left-out subject: found, checked, scored, told."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from microexpr import api, methods
from microexpr.cli import main
from microexpr.errors import BadInput, MicroexprError
from microexpr.evaluation import results
from microexpr.methods import per_fold, weights
from microexpr.types import Dataset
from tests.clips import flow_clips
from tests.fake import megc2019_flow as fake

CLASSES = ("negative", "positive", "surprise")
CLIPS = flow_clips(4, 3)
DATA = Dataset("replica", tuple(CLIPS))
SUBJECTS = sorted({clip.subject for clip in CLIPS})
LABELS = np.arange(12) % 3
X = np.stack([methods.create("ststnet").represent(clip) for clip in CLIPS])


def trained(name="ststnet", seed=0, classes=3):
    method = methods.create(name, epochs=1, seed=seed, classes=classes)
    x = np.stack([method.represent(clip) for clip in CLIPS])
    return method.fit(x, LABELS, [clip.subject for clip in CLIPS])


ARRAYS = [trained(seed=seed).weights() for seed in range(4)]


def save(file, arrays):
    """A state dictionary as PyTorch saves it, or a safetensors file without a word about itself."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".safetensors":  # files of that kind know no scalars
        save_file({name: np.atleast_1d(value) for name, value in arrays.items()}, file)
    else:
        torch.save({name: torch.from_numpy(value) for name, value in arrays.items()}, file)


def published(folder, name="{short}.pth"):
    """A folder of STSTNet's weights, one file for each subject."""
    for subject, arrays in zip(SUBJECTS, ARRAYS, strict=True):
        database, short = subject.split("/")
        save(folder / name.format(database=database, short=short), arrays)
    return folder


def score(folder, runs, method="ststnet", **settings):
    (run,) = api.evaluate(method, DATA, weights_dir=folder, runs=runs, jobs=1, **settings)
    return run


@pytest.mark.parametrize(
    "name",
    [
        *("{short}.pth", "{short}.pt", "{short}.safetensors"),
        *("{database}-{short}.pth", "{database}_{short}.pt", "{database}/{short}.pth"),
    ],
)
def test_every_subject_is_scored_by_its_own_file(tmp_path, name):
    run = score(published(tmp_path / "given", name), tmp_path / "runs")
    for subject, arrays in zip(SUBJECTS, ARRAYS, strict=True):
        rows = [row for row, other in enumerate(run.subjects) if other == subject]
        test = [row for row, clip in enumerate(CLIPS) if clip.subject == subject]
        assert [run.clips[row] for row in rows] == [CLIPS[row].key for row in test]
        expected = methods.create("ststnet").load_weights(arrays).predict_proba(X[test])
        np.testing.assert_allclose(run.probabilities[rows], expected, atol=1e-6)
    assert set(run.epochs) == {None}


def test_weights_of_a_run_score_as_the_run_did(tmp_path):
    """Trained fold by fold here, kept, and scored: the same answers."""
    (here,) = api.evaluate("ststnet", DATA, epochs=2, runs=tmp_path / "runs", jobs=1)
    for subject in SUBJECTS:
        train = [row for row, clip in enumerate(CLIPS) if clip.subject != subject]
        fold = methods.create("ststnet", epochs=2).fit(X[train], LABELS[train], [CLIPS[row].subject for row in train])
        save(tmp_path / "given" / f"{subject.partition('/')[2]}.pth", fold.weights())
    run = score(tmp_path / "given", tmp_path / "runs")
    assert run.clips == here.clips
    np.testing.assert_array_equal(run.probabilities, here.probabilities)


def test_the_names_looked_for():
    given = ["casme2/sub01", "samm/006", "other/006", "alone"]
    assert per_fold.names_of(given[0], given) == ["casme2/sub01", "casme2-sub01", "casme2_sub01", "sub01"]
    assert per_fold.names_of(given[1], given) == ["samm/006", "samm-006", "samm_006"]  # 006 could be either
    assert per_fold.names_of(given[3], given) == ["alone"]


def test_a_state_of_the_authors_without_batch_counts_is_taken(tmp_path):
    for subject, arrays in zip(SUBJECTS, ARRAYS, strict=True):
        named = {name: value for name, value in arrays.items() if "num_batches" not in name}
        assert {name.partition(".")[0] for name in named} == {"conv1", "conv2", "conv3", "bn1", "bn2", "bn3", "fc"}
        save(tmp_path / "given" / f"{subject.partition('/')[2]}.pth", named)
    assert len(score(tmp_path / "given", tmp_path / "runs").finished) == 4


def test_workers_load_them_too(tmp_path):
    folder = published(tmp_path / "given")
    one = score(folder, tmp_path / "one")
    (two,) = api.evaluate("ststnet", DATA, weights_dir=folder, runs=tmp_path / "two", jobs=2)
    np.testing.assert_array_equal(one.probabilities, two.probabilities)


def test_any_method_with_weights_can_be_scored(tmp_path):
    fitted = methods.create("majority").fit(np.zeros((12, 0)), LABELS, [""] * 12)
    for subject in SUBJECTS:
        save(tmp_path / "given" / f"{subject.partition('/')[2]}.safetensors", fitted.weights())
    assert set(score(tmp_path / "given", tmp_path / "runs", "majority").predicted) == {0}


def test_other_weights_are_another_run_and_a_training_is_a_third(tmp_path):
    folder, runs = published(tmp_path / "given"), tmp_path / "runs"
    first = score(folder, runs)
    assert score(folder, runs).folder == first.folder
    assert "--weights--" in first.folder.name
    save(folder / "sub01.pth", ARRAYS[0])
    other = score(folder, runs)
    (here,) = api.evaluate("ststnet", DATA, epochs=1, runs=runs, jobs=1)
    assert len({first.folder, other.folder, here.folder}) == 3
    assert "weights" not in here.info
    assert "weights" not in here.info["asked"]
    assert first.info["asked"]["weights"] != other.info["asked"]["weights"]
    assert first.info["weights"]["files"]["casme2/sub00"] == other.info["weights"]["files"]["casme2/sub00"]


def test_a_lost_fold_is_scored_again(tmp_path):
    folder, runs = published(tmp_path / "given"), tmp_path / "runs"
    first = score(folder, runs)
    file = results.fold_file(first.folder, "casme2/sub02")
    before = file.read_bytes()
    file.unlink()
    score(folder, runs)
    assert file.read_bytes() == before


def test_every_output_says_where_the_weights_are_from(tmp_path, capsys):
    run = score(published(tmp_path / "given"), tmp_path / "runs")
    (here,) = api.evaluate("ststnet", DATA, runs=tmp_path / "runs", jobs=1, epochs=1)
    said = f"weights from {tmp_path / 'given'}, not trained here"
    page = api.report([run.folder], tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.lower().count(said.lower()) >= 2
    assert "never seen in training" not in page
    assert "never seen in training" in api.report([here.folder], tmp_path / "here.html").read_text(encoding="utf-8")
    rows = {row.settings: row for row in api.compare([run, here])}
    (given,) = (row for settings, row in rows.items() if any(str(tmp_path / "given") in text for text in settings))
    (ours,) = (row for settings, row in rows.items() if "weights=trained here" in settings)
    assert any(said.lower() in line.lower() for line in given.warnings)
    assert not ours.warnings
    capsys.readouterr()
    assert main(["compare", str(run.folder)]) == 0
    assert said.lower() in " ".join(capsys.readouterr().out.lower().split())


def test_a_missing_subject_is_told_in_one_line(tmp_path):
    folder = published(tmp_path / "given")
    (folder / "sub02.pth").unlink()
    with pytest.raises(BadInput, match=r"none for casme2/sub02; name files like .*casme2-sub02\.pth .* or sub02\.pth"):
        score(folder, tmp_path / "runs")
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(BadInput, match=r"each of 4 left-out subjects .* none for casme2/sub00, .* and 1 more; "):
        score(folder, tmp_path / "runs")
    with pytest.raises(BadInput, match="a folder of weights"):
        score(tmp_path / "nowhere", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_two_files_for_one_subject_are_told(tmp_path):
    folder = published(tmp_path / "given")
    save(folder / "casme2-sub02.safetensors", ARRAYS[0])
    with pytest.raises(BadInput, match=r"one file for casme2/sub02 .* casme2-sub02\.safetensors and sub02\.pth"):
        score(folder, tmp_path / "runs")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_another_method_or_of_other_classes_are_told(tmp_path, suffix):
    folder, file = published(tmp_path / "given", "{short}" + suffix), tmp_path / "given" / f"sub01{suffix}"
    save(file, trained("dual-inception").weights())
    with pytest.raises(BadInput, match=rf"weights of ststnet in .*sub01\{suffix}, got others .*STSTNet"):
        score(folder, tmp_path / "runs")
    save(file, trained(classes=5).weights())
    with pytest.raises(BadInput, match=rf"ststnet in .*sub01\{suffix}, 3 classes, got 5 classes"):
        score(folder, tmp_path / "runs")


def test_other_classes_are_told_where_no_vector_has_their_number(tmp_path):
    """CapsuleNet's capsules are the only tensor with the number of classes, in its first of four dimensions."""
    own = {"size": 160, "width": 8}
    five = methods.create("capsulenet", classes=5, **own)
    torch.save(
        {name: torch.ones(value.shape) for name, value in five.network().state_dict().items()}, tmp_path / "five.pth"
    )
    with pytest.raises(BadInput, match="3 classes, got 5 classes"):
        per_fold.load(methods.create("capsulenet", **own), "capsulenet", CLASSES, tmp_path / "five.pth")


@pytest.mark.parametrize(
    ("name", "classes", "message"),
    [
        ("off-apexnet", CLASSES, r"weights of ststnet in .*sub01\.safetensors, got those of off-apexnet"),
        ("ststnet", CLASSES[::-1], r"classes negative, positive, surprise in .*got surprise, positive, negative"),
    ],
)
def test_a_file_of_ours_is_believed_about_itself(tmp_path, name, classes, message):
    folder = published(tmp_path / "given", "{short}.safetensors")
    (folder / "sub01.safetensors").write_bytes(weights.to_bytes(trained(name), name, classes, {}))
    with pytest.raises(BadInput, match=message):
        score(folder, tmp_path / "runs")


def test_settings_that_a_file_of_ours_states_must_be_those_asked_for(tmp_path):
    """All but the seed, the threads and the like, which change no prediction."""
    folder, fitted = published(tmp_path / "given", "{short}.safetensors"), trained()
    stated = dataclasses.replace(fitted, flow_mode="clg", epochs=800, seed=5).load_weights(fitted.weights())
    (folder / "sub01.safetensors").write_bytes(weights.to_bytes(stated, "ststnet", CLASSES, {}))
    with pytest.raises(BadInput, match=r"flow_mode=tvl1 in .*sub01.*got clg; set --set flow_mode=clg"):
        score(folder, tmp_path / "runs")
    assert len(score(folder, tmp_path / "runs", settings={"flow_mode": "clg"}).finished) == 4


class Code:
    """What a pickle runs when an ordinary reader opens it."""

    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps(Code()), pickle.dumps([1, 2])])
def test_files_that_hold_no_tensors_are_told(tmp_path, content, capsys):
    folder = published(tmp_path / "given")
    (folder / "sub01.pth").write_bytes(content)
    with pytest.raises(BadInput, match=r"sub01\.pth"):
        score(folder, tmp_path / "runs")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "asked",
    [{"seeds": 2}, {"select": "oracle"}, {"select": "last,inner"}, {"stacked": True}, {"protocol": "subject-k-fold"}],
)
def test_what_needs_a_training_is_refused(tmp_path, asked):
    folder = published(tmp_path / "given")
    with pytest.raises(BadInput, match=r"given weights.*nothing is trained"):
        score(folder, tmp_path / "runs", **asked, **({"folds": 2} if "protocol" in asked else {}))
    assert not (tmp_path / "runs").exists()


def test_a_file_that_changes_while_it_runs_is_told(tmp_path):
    """Found and read twice: the second time by the worker."""
    folder = published(tmp_path / "given")
    given = per_fold.gather(methods.create("ststnet"), "ststnet", CLASSES, folder, SUBJECTS)
    (folder / "sub01.pth").write_bytes(b"something else")
    with pytest.raises(MicroexprError, match=r"sub01\.pth"):
        given.load("casme2/sub01")


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    return str(fake.by_list(tmp_path_factory.mktemp("maps") / "flat"))


def test_the_command(replica, tmp_path, capsys):
    data = api.load("megc2019-flow", replica, "casme2")
    folder = tmp_path / "given"
    for subject in sorted({clip.subject for clip in data.clips}):
        save(folder / f"{subject.partition('/')[2]}.pth", ARRAYS[0])
    command = ["evaluate", "ststnet", "megc2019-flow", "--root", replica, "--part", "casme2", "--jobs", "1"]
    command += ["--weights-dir", str(folder), "--runs", str(tmp_path / "runs")]
    assert main(command) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"weights from {folder}, not trained here" in out
    assert "published" in out  # beside the paper's figures, which these weights may be meant to check
    assert main([*command, "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["weights"]["folder"] == str(folder)
    assert entry["epochs"] == []
    command[1] = "ststnet,majority"
    assert main(command) == 2
    assert "one method with --weights-dir" in capsys.readouterr().err
