"""Errors a user can act on: each says what was expected, what came, and what to do next.

Everything that a user's input can cause derives from `MicroexprError`. The command line prints its text as one
line and exits with status 2; a traceback is never the answer to a wrong input.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class MicroexprError(Exception):
    """Base of the errors that carry their own advice."""

    def __reduce__(self) -> tuple[type[MicroexprError], tuple[str]]:
        """Goes from a worker to its parent as its text; the parts it was composed of stay behind."""
        return MicroexprError, (str(self),)


class BadInput(MicroexprError):
    """What came is not what was expected.

    Args:
        expected: what would have been right.
        got: what came instead.
        advice: what to do next.
    """

    def __init__(self, expected: str, got: str, advice: str) -> None:
        super().__init__(f"expected {expected}, got {got}; {advice}")


class UnknownName(MicroexprError):
    """A name that no table holds; the nearest spelling is suggested."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = list(known)
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        super().__init__(f"no {kind} is called {name!r}; {advice}")


class DatasetNotFound(MicroexprError):
    """No usable root for a data set: says where it was looked for, what it should hold and where to get it."""

    def __init__(self, dataset: str, root: Path | None, variable: str, expected_tree: str, how_to_get: str) -> None:
        looked = (
            f"{root} is not a folder"
            if root is not None
            else f"no --root, {variable} is not set and the config file names none"
        )
        super().__init__(
            f"data set {dataset!r} not found: {looked}; expected {' '.join(expected_tree.split())}; "
            f"get it: {' '.join(how_to_get.split())}"
        )


class RunMismatch(MicroexprError):
    """A run folder that this version or these settings can't continue."""


class FoldFailed(MicroexprError):
    """One or more folds of a run failed; the finished ones are kept."""


class MissingExtra(MicroexprError):
    """A command needs an optional dependency that is not installed."""

    def __init__(self, extra: str, wanted_by: str) -> None:
        super().__init__(
            f"expected the optional dependency {extra!r} for {wanted_by}, got none; "
            f"install it with: pip install 'microexpr[{extra}]'"
        )
