"""Arrays that are expensive to compute, kept in files that are named by what went in.

The name of a file is the sha256 of everything that determines its content, so an entry is never out of date and two
processes that write the same entry write the same bytes: no locks. Delete the folder at any time.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import platformdirs

from microexpr.motion.files import replace_file

# The one piece of state: a folder that can't be written is worth one warning, not one per clip.
_warned_of: set[Path] = set()


def cache_folder() -> Path:
    """Where the files lie: the environment variable MICROEXPR_CACHE, else the user's cache folder of the system."""
    named = os.environ.get("MICROEXPR_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("microexpr")


def cached(digest_parts: Sequence[bytes | str], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array of `digest_parts`: from its file, else from `compute`, which is then kept.

    A file that is damaged is computed again and replaced. A folder that can't be written costs the reuse, not the
    result: one warning, and work goes on.

    Args:
        digest_parts: everything that the result depends on: contents, settings, versions of the code behind it.
        compute: called without arguments, only when there is no usable file; returns a plain numeric array.
    """
    digest = _digest(digest_parts)
    path = cache_folder() / digest[:2] / f"{digest[2:]}.npy"
    kept = _read(path)
    if kept is not None:
        return kept
    array = compute()
    payload = io.BytesIO()
    np.lib.format.write_array(payload, array, allow_pickle=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, payload.getvalue())
    except OSError as error:
        _warn_once(path.parent.parent, error)
    return array


def _digest(parts: Sequence[bytes | str]) -> str:
    """sha256 of the parts; each is preceded by its length, so that ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _read(path: Path) -> np.ndarray | None:
    """The array in a file; None where there is no file or it holds no whole array."""
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except Exception:
        return None


def _warn_once(folder: Path, error: OSError) -> None:
    if folder in _warned_of:
        return
    _warned_of.add(folder)
    warnings.warn(
        f"the cache folder {folder} can't be written ({error.strerror or error}), so nothing is kept for the next run; "
        "set MICROEXPR_CACHE to a folder that can",
        stacklevel=3,
    )
