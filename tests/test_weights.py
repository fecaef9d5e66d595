"""Weights in files: what 16 bits keep, what is refused, and the files that ship with the package."""

import csv
import pickle
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microexpr import datasets, methods
from microexpr.errors import BadInput, DatasetNotFound, UnknownName
from microexpr.methods import card, weights
from tests.clips import flow_clips

CLASSES = ("negative", "positive", "surprise")
CLIPS = flow_clips(subjects=4, each=6)
LABELS = np.arange(len(CLIPS)) % 3
ROOT = Path(__file__).parents[1]


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


def test_numbers_that_16_bits_do_not_hold_are_refused():
    method, _ = fitted("flow-linear", epochs=1)
    method.coefficients_[3, 1] = 7e4
    with pytest.raises(BadInput, match=r"16 bits.*coefficients"):
        weights.to_bytes(method, "flow-linear", CLASSES, {}, half=True)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_weights_that_are_not_finite_are_neither_written_nor_read(value, tmp_path):
    method, _ = fitted("flow-linear", epochs=1)
    whole = weights.to_bytes(method, "flow-linear", CLASSES, {})
    first = method.coefficients_.ravel()[:1].tobytes()
    place = whole.index(method.coefficients_.tobytes())
    method.coefficients_[0, 0] = value
    with pytest.raises(BadInput, match=r"finite weights of flow-linear, got others in coefficients; .*learning_rate"):
        weights.to_bytes(method, "flow-linear", CLASSES, {})
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(whole[:place] + np.float32(value).tobytes() + whole[place + len(first) :])
    with pytest.raises(BadInput, match=r"finite weights in .*damaged\.safetensors, got others in coefficients"):
        weights.load(damaged)


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
    whole = figures()[name]["all"]
    assert (record["temperature"], record["threshold"]) == (float(whole["temperature"]), float(whole["threshold"]))
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
    for told, key in (("negative log likelihood", "nll"), ("expected calibration error", "ece")):
        assert f"| {told} | {whole[key]} | {whole[f'{key}_tempered']} | {whole[f'{key}_inside']} |" in text
    lines = " ".join(text.split())
    used = float(whole["temperature"]) != 1
    assert f"are shipped {'tempered' if used else 'as trained'}, T = {whole['temperature']};" in lines
    assert f"fits all answers best is {whole['temperature_fitted']}." in lines
    assert "a choice between two settings on the answers that the figures come from" in lines
    assert f"which tempers {whole['folds_tempered']} of 5." in lines
    calibration = text.partition("## Calibration")[2]
    means = re.findall(r"^\| 0\.\d to [01]\.\d \| (\d+) \| ([\d.]+) \| ([\d.]+) \|", calibration, re.M)
    error = sum(int(count) * abs(float(mean) - float(right)) / 100 for count, mean, right in means)
    assert error / (442 * int(whole["seeds"])) == pytest.approx(float(whole["ece_calibrated"]), abs=0.0011)
    assert f"is under {whole['threshold']}" in text
    assert f"{whole['coverage']} % of the answers were given" in text
    assert f"{whole['accuracy_answered']} % of those were right" in text
    for line, label in zip(whole["confusion"].split(" / "), CLASSES, strict=True):
        assert f"| {label} | {' | '.join(line.split())} |" in text
    for other, theirs in figures().items():
        cells = [theirs["all"][key] for key in ("uf1", "uar", "accuracy", "nll_calibrated", "ece_calibrated")]
        assert f"| {other} | {' | '.join(cells)} |" in text
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
        used = float(whole["nll_tempered"]) < float(whole["nll"])
        assert whole["temperature"] == (whole["temperature_fitted"] if used else "1.000")
        for row in rows.values():
            kept = ("nll_tempered", "ece_tempered") if used else ("nll", "ece")
            assert (row["nll_calibrated"], row["ece_calibrated"]) == tuple(row[key] for key in kept)


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
