"""Replicas that tests only read: tens of thousands of files each, so they are written once for all test workers."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def shared(
    factory: pytest.TempPathFactory, write: Callable[..., Path], *arguments: Any, folder: str = "data", **options: Any
) -> Path:
    """The root of a replica that `write` has written for whoever asked first; it must not be changed.

    Args:
        factory: of temporary folders.
        write: as `tests.fake.casme2.full`; called with the root, then the other arguments.
        folder: name of the root.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # that of all workers
    words = f"{write.__module__.rpartition('.')[2]} {write.__name__} {folder} {arguments} {sorted(options.items())}"
    place = base / "replicas" / re.sub(r"\W+", "-", words).strip("-")
    if not place.exists():
        made = factory.mktemp("replica")
        write(made / folder, *arguments, **options)
        place.parent.mkdir(exist_ok=True)
        try:
            made.rename(place)
        except OSError:  # another worker was quicker
            shutil.rmtree(made)
    return place / folder
