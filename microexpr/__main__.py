"""`python -m microexpr` is `microexpr`."""

from microexpr.cli import run

run()
