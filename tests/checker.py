"""The type checker of the tests: beartype, to which an int is a float, as it is to Python's own type checkers.

A function is checked in its first calls and in each hundredth after them: one that is called for every frame would
otherwise cost more than all else.
"""

import functools
import inspect
from collections import Counter
from collections.abc import Callable
from types import CodeType
from typing import Any

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))

ALWAYS, EACH = 100, 100  # calls


def sparing(jaxtyped: Callable[..., Any]) -> Callable[..., Any]:
    """jaxtyping's decorator, whose functions are checked in some calls only."""
    calls: Counter[CodeType] = Counter()  # and definitions, of which a function inside another has many

    def skipped(code: CodeType) -> bool:
        calls[code] += 1
        return calls[code] > ALWAYS and calls[code] % EACH != 0

    def decorated(function: Any = None, *, typechecker: Any) -> Any:
        if function is None:
            return functools.partial(decorated, typechecker=typechecker)
        if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
            return jaxtyped(function, typechecker=typechecker)
        code = function.__code__
        if skipped(code):  # defined once more, in a later call of another function
            return function
        checked = jaxtyped(function, typechecker=typechecker)

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            return (function if skipped(code) else checked)(*arguments, **named)

        return call

    return decorated
