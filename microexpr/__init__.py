"""microexpr: facial micro-expression recognition, from flow to an evaluation that can be trusted.

The verbs of `microexpr.api` are public here; nothing heavy is imported before one is used.
"""

from typing import Any

__version__ = "0.1.0"

_VERBS = ("compare", "demo", "evaluate", "experiment", "flow", "load", "report", "synthesize", "train")
_NOUNS = ("Clip", "Dataset", "Event", "FlowMap", "Fold", "Method", "Protocol")

__all__ = ["__version__", *_VERBS, *_NOUNS]  # noqa: PLE0604 (names from the tables above)


def __getattr__(name: str) -> Any:
    if name == "experiment":
        from microexpr import experiments

        return experiments.run
    if name in _VERBS:
        from microexpr import api

        return getattr(api, name)
    if name in _NOUNS:
        from microexpr import types

        return getattr(types, name)
    raise AttributeError(f"module 'microexpr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
