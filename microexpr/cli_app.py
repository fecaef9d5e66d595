"""The command `app`: argument text -> the local web page."""

from __future__ import annotations

import argparse
from dataclasses import fields

from microexpr import terminal
from microexpr.page.limits import Limits


def app(options: argparse.Namespace) -> None:
    """`microexpr app`: serves the page until Ctrl-C or SIGTERM, and then removes all that is left of any video."""
    limits = Limits(**{one.name: getattr(options, one.name) for one in fields(Limits)})
    from microexpr.app import serve

    console = terminal.console()

    def begun(address: str) -> None:
        console.print(address, soft_wrap=True)
        terminal.note("for this machine alone; Ctrl-C ends it and removes what is left of the videos")

    serve(options.port, options.runs, limits, begun=begun)
