"""The file cache: computes once, heals itself, and never stops work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from microexpr.motion import cache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MICROEXPR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_warned_of", set())
    return tmp_path / "cache"


def counting(array: np.ndarray) -> tuple[Callable[[], np.ndarray], list[int]]:
    calls: list[int] = []

    def compute() -> np.ndarray:
        calls.append(1)
        return array

    return compute, calls


def test_second_call_reads_the_file(folder: Path) -> None:
    compute, calls = counting(np.arange(6, dtype=np.float32).reshape(2, 3))
    first = cache.cached(["a", b"b"], compute)
    second = cache.cached(["a", b"b"], compute)
    assert len(calls) == 1
    assert second.dtype == np.float32
    np.testing.assert_array_equal(first, second)
    second[0, 0] = 9  # a caller may write into what it was given


def test_file_is_named_by_the_sha256_of_the_parts_with_their_lengths(folder: Path) -> None:
    cache.cached(["a", b"bc"], lambda: np.zeros(2))
    # The format written out: each part's length as 8 bytes, little endian, then the part.
    digest = hashlib.sha256(b"\1\0\0\0\0\0\0\0a\2\0\0\0\0\0\0\0bc").hexdigest()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files == [folder / digest[:2] / f"{digest[2:]}.npy"]  # and no temporary file is left
    np.testing.assert_array_equal(np.load(files[0]), np.zeros(2))


def test_parts_do_not_run_into_each_other(folder: Path) -> None:
    compute, calls = counting(np.zeros(1))
    for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""]):
        cache.cached(parts, compute)
    assert len(calls) == 4


@pytest.mark.parametrize("damage", ["empty", "half", "noise", "header", "pickle"])
def test_damaged_file_is_computed_again_and_replaced(folder: Path, damage: str) -> None:
    compute, calls = counting(np.arange(100.0))
    cache.cached(["x"], compute)
    (path,) = folder.rglob("*.npy")
    whole = path.read_bytes()
    if damage == "pickle":
        np.save(path, np.array([{"an": "object"}], dtype=object), allow_pickle=True)
    else:
        broken = {
            "empty": b"",
            "half": whole[: len(whole) // 2],
            "noise": bytes(range(256)) * 3,
            "header": whole.replace(b"(100,)", b"(999,)"),
        }
        path.write_bytes(broken[damage])
    np.testing.assert_array_equal(cache.cached(["x"], compute), np.arange(100.0))
    assert len(calls) == 2
    assert path.read_bytes() == whole


def test_folder_that_cannot_be_written_warns_once_and_work_goes_on(folder: Path) -> None:
    folder.write_bytes(b"")  # a file in the folder's place; permissions would not stop root
    compute, calls = counting(np.ones(3))
    with pytest.warns(UserWarning, match="MICROEXPR_CACHE") as caught:
        np.testing.assert_array_equal(cache.cached(["x"], compute), np.ones(3))
    assert str(folder) in str(caught[0].message)
    np.testing.assert_array_equal(cache.cached(["x"], compute), np.ones(3))  # warnings are errors: no second one
    assert len(calls) == 2


def test_errors_of_the_computation_reach_the_caller_and_leave_nothing(folder: Path) -> None:
    def fail() -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.cached(["x"], fail)
    assert not list(folder.rglob("*.npy"))


def test_object_arrays_are_never_pickled(folder: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        cache.cached(["x"], lambda: np.array([{}], dtype=object))
    assert not list(folder.rglob("*.npy"))


def test_default_folder_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    for unset in (
        lambda: monkeypatch.delenv("MICROEXPR_CACHE", raising=False),
        lambda: monkeypatch.setenv("MICROEXPR_CACHE", ""),
    ):
        unset()
        assert cache.cache_folder() == platformdirs.user_cache_path("microexpr")
