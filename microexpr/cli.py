"""Argument text -> api verb -> print. Nothing is computed here, and nothing heavy is imported before it is needed.

Results go to stdout, messages and progress to stderr. Exit 0 done, 1 the work failed, 2 wrong usage or input.
"""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import microexpr
from microexpr import cli_app, cli_data, cli_evaluate, cli_parser, cli_video, terminal
from microexpr.errors import FoldFailed, MicroexprError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    options.command_line = shlex.join(["microexpr", *given])
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            status = options.run(options) or 0
            if sys.stdout is not None:
                sys.stdout.flush()  # a reader that has gone is noticed here, not when the process ends
            return status
    except MicroexprError as error:
        if options.debug:
            raise
        terminal.note(str(error))
        return 1 if isinstance(error, FoldFailed) else 2
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        kept = (
            "; finished folds are kept, the same command goes on from there"
            if options.run in (cli_evaluate.evaluate, cli_evaluate.experiment)
            else ""
        )
        terminal.note(f"stopped{kept}")
        return 1
    except Exception as error:
        if options.debug:
            raise
        terminal.note(f"unexpected {type(error).__name__}: {error}; run again with --debug to see where")
        return 1


def run() -> None:
    """The command `microexpr`: `main` in a process that ends with it.

    Two things make a short command quicker by a fifth each (0.4 s and 0.2 s of 2.4 s for a video of two seconds). Numba
    and its like make so many objects when they are imported that the garbage collector would run through them a hundred
    times; and taking all modules apart at the end is work for nothing. What other packages registered for the end of
    the process is left alone.
    """
    gc.set_threshold(100_000, 20, 20)
    status = main()
    if not {"joblib", "torch", "ray", "distributed"} & sys.modules.keys():
        os._exit(status)
    sys.exit(status)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    terminal.note(f"warning: {message}")


def _parser() -> argparse.ArgumentParser:
    return cli_parser.build(
        {
            "demo": _demo,
            "recognize": cli_video.recognize,
            "spot": cli_video.spot,
            "live": cli_video.live,
            "app": cli_app.app,
            "export": cli_video.export,
            "evaluate": cli_evaluate.evaluate,
            "experiment": cli_evaluate.experiment,
            "compare": cli_evaluate.compare,
            "report": cli_evaluate.report,
            "train": cli_evaluate.train,
            "flow": _flow,
            "bench": _bench,
            "synthesize": _synthesize,
            "datasets": cli_data.datasets,
            "check": cli_data.check,
            "methods": _methods,
        }
    )


def _flow(options: argparse.Namespace) -> None:
    from pathlib import Path

    from microexpr import api
    from microexpr.motion.files import check_flow_suffix, save_flow
    from microexpr.motion.flow import check_mode

    check_mode(options.mode, options.preset)
    if options.out:
        check_flow_suffix(Path(options.out))
    field = api.flow(options.first, options.second, mode=options.mode, preset=options.preset)
    preset = options.preset or ("" if options.mode == "opencv" else "micro")
    summary = {**api.summarize_flow(field), "mode": f"{options.mode} {preset}".strip()}
    if options.out:
        save_flow(Path(options.out), field)
        summary["out"] = options.out
    if options.json:
        terminal.print_json(summary)
        return
    console = terminal.console()
    console.print(f"{summary['width']}x{summary['height']}, {summary['mode']}", soft_wrap=True)
    console.print(f"motion   mean {summary['mean_motion_px']:.3f} px, largest {summary['largest_motion_px']:.3f} px")
    console.print(f"u, v     mean {summary['mean_u_px']:+.3f} px right, {summary['mean_v_px']:+.3f} px down")
    console.print(f"strain   largest {summary['largest_strain']:.4f}")
    if options.out:
        console.print(options.out, soft_wrap=True)


def _bench(options: argparse.Namespace) -> None:
    import runpy
    from pathlib import Path

    from microexpr.errors import BadInput

    script = Path(microexpr.__file__).parent.parent / "benchmarks" / f"{options.what}.py"
    if not script.is_file():
        raise BadInput("a source checkout with benchmarks/", f"none at {script.parent}", "clone the repository")
    sys.argv = [str(script), *options.options]
    runpy.run_path(str(script), run_name="__main__")


def _synthesize(options: argparse.Namespace) -> None:
    from microexpr import api

    with terminal.progress_bars() as progress:
        place = api.synthesize(
            options.out,
            subjects=options.subjects,
            clips_per_subject=options.clips_per_subject,
            fps=options.fps,
            peak=options.peak,
            seed=options.seed,
            progress=progress,
        )
    terminal.console().print(str(place), soft_wrap=True)


def _methods(options: argparse.Namespace) -> None:
    from microexpr import api

    if options.name is None:
        described = api.describe_methods()
        if options.json:
            terminal.print_json(described)
        else:
            terminal.print_table(("name", "needs", "what", "doi"), described)
            terminal.console().print("\nmicroexpr methods NAME: its settings and layers")
        return
    one = api.describe_method(options.name, cli_evaluate.given_settings(options))
    if options.json:
        terminal.print_json(one)
        return
    layers, settings = one.pop("layers"), one.pop("settings")
    terminal.print_fields(one)
    terminal.console().print()
    terminal.print_table(("setting", "value"), [{"setting": name, "value": value} for name, value in settings.items()])
    if layers:
        terminal.console().print()
        terminal.print_table(("layer", "kind", "output", "parameters"), layers)


def _demo(options: argparse.Namespace) -> None:
    from microexpr import demonstration
    from microexpr.evaluation import tables

    terminal.note("rendering a video of three micro-expressions and recognizing them; then rendering a small data set")
    terminal.note("and evaluating MJFN on it, leaving one rendered subject out at a time")
    with terminal.progress_bars() as progress:
        made = demonstration.demo(options.out, jobs=options.jobs, command=options.command_line, progress=progress)
    for warning in made.recording.warnings:
        terminal.note(f"warning: {warning}")
    console = terminal.console()
    cli_video.print_recording(str(made.video), made.recording)
    console.print()
    tables.print_run(made.run, console)
    console.print(f"\nreport   {made.report}\nplates   {made.plates}\nrun      {made.run.folder}", soft_wrap=True)
