"""Weights in files: what 16 bits keep, what is refused, how sure they are, and the files that ship with the package."""

import csv
import pickle
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microexpr import datasets, methods
from microexpr.errors import BadInput, DatasetNotFound, UnknownName
from microexpr.methods import calibrated, card, weights
from tests.clips import flow_clips

CLASSES = ("negative", "positive", "surprise")
CLIPS = flow_clips(subjects=4, each=6)
LABELS = np.arange(len(CLIPS)) % 3
ROOT = Path(__file__).parents[1]
PROBABILITIES = st.lists(st.tuples(*[st.floats(0.01, 1)] * 3), min_size=1, max_size=9).map(
    lambda rows: np.array(rows) / np.sum(rows, axis=1, keepdims=True)
)


def fitted(name, **settings):
    method = methods.create(name, **settings)
    x = np.stack([method.represent(clip) for clip in CLIPS])
    return method.fit(x, LABELS, [clip.subject for clip in CLIPS]), x


@pytest.fixture(scope="module")
def linear():
    return fitted("flow-linear", epochs=20, learning_rate=0.05)


def written(tmp_path, content, name="weights.safetensors"):
    file = tmp_path / name
    file.write_bytes(content)
    return file


def test_half_precision_keeps_the_answers(linear, tmp_path):
    method, x = linear
    content = weights.to_bytes(method, "flow-linear", CLASSES, {"input": "flow map"}, half=True)
    numbers = sum(value.size for value in method.weights().values())
    assert len(content) < 2 * numbers + 1200  # 2 bytes each, and the header
    loaded, metadata = weights.load(written(tmp_path, content))
    assert metadata["record"] == {"input": "flow map"}
    assert all(value.dtype == np.float32 for value in loaded.weights().values())
    expected = method.weights()["coefficients"].astype(np.float16)
    np.testing.assert_array_equal(loaded.weights()["coefficients"], expected)
    assert not np.array_equal(loaded.weights()["coefficients"], method.weights()["coefficients"])
    np.testing.assert_allclose(loaded.predict_proba(x), method.predict_proba(x), atol=2e-3)


def test_half_precision_leaves_counts_alone(tmp_path):
    """Batch normalization counts its batches in whole numbers."""
    method, x = fitted("ststnet", epochs=1)
    loaded, _ = weights.load(written(tmp_path, weights.to_bytes(method, "ststnet", CLASSES, {}, half=True)))
    kinds = {key: value.dtype for key, value in loaded.weights().items()}
    assert kinds == {key: value.dtype for key, value in method.weights().items()}
    assert np.dtype(np.int64) in kinds.values()
    np.testing.assert_allclose(loaded.predict_proba(x), method.predict_proba(x), atol=5e-3)


@pytest.mark.parametrize("value", [7e4, np.nan])
def test_numbers_that_16_bits_do_not_hold_are_refused(value):
    method, _ = fitted("flow-linear", epochs=1)
    method.coefficients_[3, 1] = value
    with pytest.raises(BadInput, match=r"16 bits.*coefficients"):
        weights.to_bytes(method, "flow-linear", CLASSES, {}, half=True)


class Burglar:
    def __reduce__(self):
        return Path.touch, (Path("burgled"),)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["model.pt", "MODEL.PTH", "model.pkl", "weights.safetensors"])
def test_pickles_are_refused_by_name_and_by_content(name, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, pickle.dumps(Burglar(), protocol), name)
    with pytest.raises(BadInput, match="runs whatever code is in it") as refused:
        weights.load(file)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "burgled").exists()


def test_archives_around_pickles_are_refused(tmp_path):
    import torch

    file = tmp_path / "weights.safetensors"
    torch.save({"fc.weight": torch.zeros(3)}, file)
    with pytest.raises(BadInput, match="a pickle"):
        weights.load(file)


def test_a_file_that_begins_like_a_pickle_is_none(linear, tmp_path):
    """The first byte of a safetensors file is the lowest of its header's length: 0x480 begins like protocol 4."""
    method, x = linear
    base = int.from_bytes(weights.to_bytes(method, "flow-linear", CLASSES, {"note": ""})[:8], "little")
    content = weights.to_bytes(method, "flow-linear", CLASSES, {"note": "." * (0x480 - base)})
    assert content[:8] == b"\x80\x04" + bytes(6)
    loaded, _ = weights.load(written(tmp_path, content))
    np.testing.assert_array_equal(loaded.predict_proba(x), method.predict_proba(x))


def test_weights_of_another_architecture_are_refused(linear, tmp_path):
    method, _ = linear
    file = written(tmp_path, weights.to_bytes(method, "ststnet", CLASSES, {}))  # of flow-linear, said to be ststnet's
    with pytest.raises((BadInput, UnknownName)):
        weights.load(file)
    network, _ = fitted("mjfn", epochs=1, hidden=8)
    network.hidden = 16  # the settings beside the weights are of another width
    file = written(tmp_path, weights.to_bytes(network, "mjfn", CLASSES, {}, half=True))
    with pytest.raises(BadInput, match="with these settings"):
        weights.load(file)


def test_tempering_by_hand():
    np.testing.assert_allclose(calibrated.temper(np.array([0.8, 0.2]), 2), [2 / 3, 1 / 3])  # sqrt(4) to sqrt(1)
    np.testing.assert_allclose(calibrated.temper(np.array([[0.5, 0.25, 0.25]]), 0.5), [[4 / 6, 1 / 6, 1 / 6]])
    certain = calibrated.temper(np.array([1.0, 0.0, 0.0]), 3)  # 0 counts as 1e-6, whose cube root is 0.01
    np.testing.assert_allclose(certain, np.array([1, 0.01, 0.01]) / 1.02)


@given(PROBABILITIES, st.floats(0.3, 5), st.floats(0.3, 5))
def test_tempering_keeps_order_and_sum(probabilities, first, second):
    once = calibrated.temper(probabilities, first)
    np.testing.assert_allclose(once.sum(axis=1), 1)
    np.testing.assert_array_equal(once.argmax(axis=1), probabilities.argmax(axis=1))
    if first > 1:
        assert (once.max(axis=1) <= probabilities.max(axis=1) + 1e-12).all()  # softer
    if (once > 1e-5).all():
        np.testing.assert_allclose(
            calibrated.temper(once, second), calibrated.temper(probabilities, first * second), rtol=1e-9
        )


def test_a_temperature_of_1_changes_nothing():
    probabilities = np.array([[1.0, 0, 0], [0.2, 0.3, 0.5]])
    np.testing.assert_array_equal(calibrated.temper(probabilities, 1), probabilities)


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, np.inf])
def test_no_such_temperature(temperature):
    with pytest.raises(BadInput, match="a temperature above 0"):
        calibrated.temper(np.array([0.5, 0.5]), temperature)


def drawn_answers(temperature, clips=4000):
    """Answers whose true classes are drawn from their tempered selves."""
    generator = np.random.default_rng(3)
    probabilities = calibrated.temper(generator.dirichlet([1, 1, 1], clips), 0.5)
    true = calibrated.temper(probabilities, temperature).cumsum(axis=1)
    return (generator.random((clips, 1)) > true).sum(axis=1).clip(max=2), probabilities


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_answers_were_drawn_with_is_found(temperature):
    truth, probabilities = drawn_answers(temperature)
    found = calibrated.best_temperature(truth, probabilities)
    assert found == pytest.approx(temperature, rel=0.08)

    def loss(t):
        return -np.log(calibrated.temper(probabilities, t)[np.arange(len(truth)), truth]).mean()

    grid = np.linspace(0.2, 4, 381)
    assert abs(found - grid[np.argmin([loss(t) for t in grid])]) <= 0.011  # a slow search, step 0.01
    assert loss(found) <= min(loss(t) for t in grid) + 1e-9


def test_temperatures_stay_within_bounds():
    sure = np.tile([0.6, 0.3, 0.1], (5, 1))
    assert calibrated.best_temperature(np.zeros(5, int), sure) == calibrated.COLDEST  # always right
    assert calibrated.best_temperature(np.full(5, 2), sure) == calibrated.HOTTEST  # always wrong


def test_the_threshold_by_hand():
    """Tops .9 right, .8 wrong, .7 right, .7 right, .6 wrong, .5 right, .4 wrong."""
    tops = np.array([0.9, 0.8, 0.7, 0.7, 0.6, 0.5, 0.4])
    probabilities = np.stack([tops, (1 - tops) * 0.6, (1 - tops) * 0.4], axis=1)
    truth = np.array([0, 1, 0, 0, 1, 0, 1])
    assert calibrated.best_threshold(truth, probabilities, 0.75) == 0.7  # 3 of 4, equals together; lower 3/5, 4/6, 4/7
    assert calibrated.best_threshold(truth, probabilities, 0.65) == 0.5  # 4 of 6, though 3 of 5 are too few
    assert calibrated.best_threshold(truth, probabilities, 4 / 7) == 0.0  # all are answered
    assert calibrated.best_threshold(1 - truth, probabilities, 0.9) == np.inf  # the surest is wrong
    with pytest.raises(BadInput, match="share"):
        calibrated.best_threshold(truth, probabilities, 75)
    with pytest.raises(BadInput, match="0 for 0"):
        calibrated.best_threshold(truth[:0], probabilities[:0])


def figures():
    """The rows of the CSV: weights -> database -> row."""
    (file,) = (ROOT / "results").glob("weights-*.csv")
    found: dict[str, dict[str, dict[str, str]]] = {}
    with file.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["weights"], {})[row["database"]] = row
    return found


def test_the_names_of_shipped_weights():
    assert weights.DEFAULT in weights.shipped()
    assert weights.shipped_file() == weights.shipped()[weights.DEFAULT]
    with pytest.raises(UnknownName, match="did you mean 'mjfn-megc2019'"):
        weights.shipped_file("mjfn-megc")
    inside = {file.name for file in weights.FOLDER.iterdir()}
    assert inside == {f"{name}.{suffix}" for name in weights.shipped() for suffix in ("safetensors", "md")}


@pytest.mark.parametrize("name", weights.SHIPPED)
def test_shipped_weights_are_small_and_load_without_a_network(name, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    file = weights.shipped_file(name)
    assert file.stat().st_size <= 10_000_000
    method, metadata = weights.load(file)
    assert name == f"{metadata['method']}-megc2019"
    assert tuple(metadata["classes"]) == CLASSES
    record = metadata["record"]
    assert (record["clips"], record["subjects"], record["input"]) == (442, 68, "flow map")
    assert 0.2 < record["temperature"] < 5
    assert 0 <= record["threshold"] < 1
    assert record["figures"]["default"] == weights.DEFAULT
    probabilities = method.predict_proba(np.stack([method.represent(clip) for clip in CLIPS]))
    assert probabilities.shape == (len(CLIPS), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_flow_linear_loads_without_torch():
    code = """
import sys
from microexpr.methods import calibrated, weights
weights.load(weights.shipped_file("flow-linear-megc2019"))
assert "torch" not in sys.modules, "torch was imported"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", weights.SHIPPED)
def test_the_card_has_its_sections_and_the_figures_of_the_csv(name):
    text = weights.shipped_file(name).with_suffix(".md").read_text(encoding="utf-8")
    heads = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert heads == [
        *("Data", "Input", "Accuracy", "Calibration", "When no class is named", "Which weights"),
        *("Intended use", "Limits", "Settings"),
    ]
    rows = figures()[name]
    assert set(rows) == {"all", "casme2", "samm", "smic"}
    for database, row in rows.items():
        cells = [
            f"{row[score]} ({row[f'{score}_low']} to {row[f'{score}_high']}; {row[f'{score}_sd']})"
            for score in ("uf1", "uar", "accuracy")
        ]
        assert f"| {database} | {row['clips']} | {row['subjects']} | {' | '.join(cells)} |" in text
    whole = rows["all"]
    assert f"| negative log likelihood | {whole['nll']} | {whole['nll_calibrated']} |" in text
    assert f"| expected calibration error | {whole['ece']} | {whole['ece_calibrated']} |" in text
    assert f"T = {whole['temperature']}" in text
    worse = float(whole["nll_calibrated"]) >= float(whole["nll"])
    assert ("made the log likelihood no better" in text) == worse
    assert f"is under {whole['threshold']}" in text
    assert f"{whole['coverage']} % of the answers were given" in text
    assert f"{whole['accuracy_answered']} % of those were right" in text
    for line, label in zip(whole["confusion"].split(" / "), CLASSES, strict=True):
        assert f"| {label} | {' | '.join(line.split())} |" in text
    for other, theirs in figures().items():
        assert f"| {other} | {theirs['all']['uf1']} | {theirs['all']['uar']} |" in text
    answers = sum(int(number) for number in re.findall(r"^\| 0\.\d to [01]\.\d \| (\d+) \|", text, re.M))
    assert answers == 442 * int(whole["seeds"])
    assert "research only" in text
    assert "Not for lie detection" in text
    assert f"`{weights.DEFAULT}` are taken where none are named" in text


@pytest.mark.parametrize("name", weights.SHIPPED)
def test_the_card_is_made_of_the_record(name):
    file = weights.shipped_file(name)
    method, metadata = weights.load(file)
    made = card.text(metadata["method"], method, metadata["record"], file.name)
    assert made == file.with_suffix(".md").read_text(encoding="utf-8")


def test_the_figures_agree_with_themselves():
    for name, rows in figures().items():
        whole = rows["all"]
        confusion = np.array([cells.split() for cells in whole["confusion"].split(" / ")], dtype=int)
        assert confusion.sum(axis=1).tolist() == [250 * 3, 109 * 3, 83 * 3], name
        assert float(whole["accuracy"]) == pytest.approx(100 * np.trace(confusion) / confusion.sum(), abs=0.051)
        recall = confusion.diagonal() / confusion.sum(axis=1)
        assert float(whole["uar"]) == pytest.approx(100 * recall.mean(), abs=0.051)
        assert float(whole["largest_change"]) <= 0.01


@pytest.fixture(scope="module")
def maps():
    try:
        return datasets.load("megc2019-flow").clips
    except DatasetNotFound:
        pytest.skip("the published maps are not here")


@pytest.mark.parametrize("name", weights.SHIPPED)
def test_on_the_maps_as_good_as_in_full(name, maps):
    """The mean probabilities of each database, which the weights in 32 bits gave when they were made."""
    method, metadata = weights.load(weights.shipped_file(name))
    probabilities = method.predict_proba(np.stack([method.represent(clip) for clip in maps]))
    for database, expected in metadata["record"]["figures"]["mean_probabilities"].items():
        mean = probabilities[[clip.dataset == database for clip in maps]].mean(axis=0)
        np.testing.assert_allclose(mean, expected, atol=0.002)


def test_flow_linear_trained_again_gives_what_the_file_gives(maps):
    stored, metadata = weights.load(weights.shipped_file("flow-linear-megc2019"))
    again = methods.create("flow-linear", **metadata["settings"])
    x = np.stack([again.represent(clip) for clip in maps])
    again.fit(x, np.array([CLASSES.index(clip.emotion) for clip in maps]), [clip.subject for clip in maps])
    np.testing.assert_allclose(stored.predict_proba(x), again.predict_proba(x), atol=0.01)
