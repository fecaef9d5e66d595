"""microexpr: facial micro-expression recognition, from flow to an evaluation that can be trusted.

The verbs are public here; nothing heavy is imported before one is used.
"""

from typing import Any

__version__ = "0.1.0"

# verb -> where it is
_VERBS = {
    **dict.fromkeys(("compare", "evaluate", "export", "flow", "load", "report", "synthesize", "train"), "api"),
    **dict.fromkeys(("live", "recognize", "spot", "stream"), "videos"),
    "demo": "demonstration",
    "experiment": "experiments:run",
}
_NOUNS = ("Clip", "Dataset", "Event", "FlowMap", "Fold", "Method", "Protocol")

__all__ = ["__version__", *_VERBS, *_NOUNS]  # noqa: PLE0604 (names from the tables above)


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        import importlib

        module, _, attribute = _VERBS[name].partition(":")
        return getattr(importlib.import_module(f"microexpr.{module}"), attribute or name)
    if name in _NOUNS:
        from microexpr import types

        return getattr(types, name)
    raise AttributeError(f"module 'microexpr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
