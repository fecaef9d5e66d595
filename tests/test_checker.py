"""The checks of shapes in the tests do check: in the first calls, and now and then in all that follow."""

import numpy as np
import pytest
from jaxtyping import Float, jaxtyped

from tests.checker import ALWAYS, EACH, check


def fails(function, given):
    with pytest.raises(Exception, match="Type-check error"):
        function(given)


def test_first_calls_and_each_hundredth_are_checked():
    good, bad = np.zeros((2, 3)), np.zeros(3)

    @jaxtyped(typechecker=check)
    def rows(x: Float[np.ndarray, "row 3"]) -> int:
        return len(x)

    fails(rows, bad)
    for _ in range(ALWAYS):
        assert rows(good) == 2
    refused = 0
    for _ in range(2 * EACH):
        try:
            rows(bad)
        except Exception:  # of jaxtyping, which has no public name for it
            refused += 1
    assert refused == 2


def test_a_function_of_the_package_is_checked():
    """Other tests may have called it often before: one of a hundred calls is checked in any case."""
    from microexpr.motion.flow import strain

    refused = []
    for _ in range(EACH):
        try:
            strain(np.zeros(3, np.float32))
        except Exception as error:  # what the function itself says of such an array is not meant
            refused.append(str(error))
    assert any("Type-check error" in line for line in refused)
