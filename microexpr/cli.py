"""Argument text -> api verb -> print. Nothing is computed here, and nothing heavy is imported before it is needed.

Results go to stdout, messages and progress to stderr. Exit 0 done, 1 the work failed, 2 wrong usage or input.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import microexpr
from microexpr import cli_parser, cli_video, terminal
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
            if options.run in (_evaluate, _experiment)
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
            "export": cli_video.export,
            "evaluate": _evaluate,
            "experiment": _experiment,
            "compare": _compare,
            "report": _report,
            "train": _train,
            "flow": _flow,
            "bench": _bench,
            "synthesize": _synthesize,
            "datasets": _datasets,
            "methods": _methods,
        }
    )


def _settings(options: argparse.Namespace) -> dict[str, str]:
    """--set field=value ... as a dictionary."""
    from microexpr.errors import BadInput

    pairs = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadInput("--set FIELD=VALUE", repr(text), "write it like --set dropout=0.3")
        pairs[name.strip().replace("-", "_")] = value.strip()
    return pairs


def _settings_for(name: str, options: argparse.Namespace, alone: bool) -> dict[str, Any]:
    """The settings of one of the named methods: of several, --epochs and --device go to those that have them."""
    from microexpr import methods

    shared = {"epochs": options.epochs, "device": options.device}
    fields = {field.name for field in dataclasses.fields(methods.kind_of(name))}
    wanted = {key: value for key, value in shared.items() if value is not None and (alone or key in fields)}
    if twice := wanted.keys() & _settings(options).keys():
        from microexpr.errors import BadInput

        name = min(twice)
        raise BadInput(f"--{name} or --set {name}=...", "both", "leave one of them out")
    settings = {**_settings(options), **wanted}
    methods.create(name, **settings)
    return settings


def _verbs_for(name: str, options: argparse.Namespace, alone: bool) -> dict[str, Any]:
    """--select and --stacked for one of the named methods: of several, they go to those that have epochs."""
    from microexpr import methods

    kind = methods.kind_of(name)
    wanted = {"select": options.select, "stacked": options.stacked}
    if alone:
        return wanted
    if not hasattr(kind, "trace"):
        wanted["select"] = "last"
    if not hasattr(kind, "fit_folds"):
        wanted["stacked"] = None
    return wanted


def _evaluate(options: argparse.Namespace) -> None:
    from microexpr import api, methods
    from microexpr.evaluation import tables

    listed = dict.fromkeys(name.strip() for name in options.method.split(",") if name.strip())
    names = methods.names() if options.method == "all" else list(listed)
    # A wrong name or setting is told before any data is read.
    settings = {name: _settings_for(name, options, alone=len(names) == 1) for name in names}
    data = api.load(options.dataset, options.root, options.part)
    console = terminal.console()
    gathered = []
    for name in names:
        with terminal.progress_bars() as progress:
            runs = api.evaluate(
                name,
                data,
                protocol=options.protocol,
                folds=options.folds,
                seeds=options.seeds,
                settings=settings[name],
                **_verbs_for(name, options, alone=len(names) == 1),
                jobs=options.jobs,
                engine=options.engine,
                runs=options.runs,
                command=options.command_line,
                progress=progress,
            )
        gathered += runs
        if not options.json:
            for run in runs:
                tables.print_run(run, console)
                console.print()
    if options.json:
        terminal.print_json([tables.to_json(run) for run in gathered])
    elif len(gathered) > 1:
        tables.print_compare(gathered, console)
    if not options.json:
        for run in gathered:
            console.print(f"run: {run.folder}", soft_wrap=True)


def _experiment(options: argparse.Namespace) -> None:
    from microexpr import experiments
    from microexpr.errors import BadInput
    from microexpr.evaluation import pictures, tables

    if options.name is None:
        described = experiments.describe()
        if options.json:
            terminal.print_json(described)
            return
        terminal.print_table(("name", "paper", "select", "what"), described)
        terminal.console().print("\nmicroexpr experiment NAME DATASET: run or resume it")
        return
    shown = experiments.entry(options.name).pictures
    if options.dataset is None:
        raise BadInput(f"a data set after {options.name}", "none", "choose one: microexpr datasets")
    with terminal.progress_bars() as progress:
        made = experiments.run(
            options.name,
            options.dataset,
            options.root,
            part=options.part,
            protocol=options.protocol,
            folds=options.folds,
            select=options.select,
            seeds=options.seeds,
            epochs=options.epochs,
            settings=_settings(options),
            device=options.device,
            jobs=options.jobs,
            engine=options.engine,
            stacked=options.stacked,
            runs=options.runs,
            out=options.out,
            command=options.command_line,
            progress=progress,
        )
    for method, reason in made.skipped.items():
        terminal.note(f"left out: {method}: expected {reason}")
    if options.json:
        terminal.print_json(
            {
                "experiment": made.name,
                "skipped": dict(made.skipped),
                "comparison": tables.compare_to_json(tables.compare_rows(made.runs)),
                "runs": [tables.to_json(run) for run in made.runs],
                "written": [str(file) for file in made.written],
            }
        )
        return
    console = terminal.console()
    tables.print_compare(made.runs, console)
    if shown == "confusion":
        for title, rows in pictures.confusion_tables(made.runs).items():
            console.print(f"\n{title}", style="bold")
            terminal.print_table(list(rows[0]), rows)
    console.print()
    for run in made.runs:
        console.print(f"run: {run.folder}", soft_wrap=True)
    for file in made.written:
        console.print(str(file), soft_wrap=True)


def _compare(options: argparse.Namespace) -> None:
    from microexpr import api
    from microexpr.evaluation import tables

    runs = api.read_runs(options.runs)
    if options.json:
        terminal.print_json(tables.compare_to_json(api.compare(runs, options.against)))
    else:
        tables.print_compare(runs, terminal.console(), options.against)


def _report(options: argparse.Namespace) -> None:
    from microexpr import api

    terminal.console().print(str(api.report(options.runs, options.out)), soft_wrap=True)


def _train(options: argparse.Namespace) -> None:
    from microexpr import api

    with terminal.progress_bars() as progress:
        written = api.train(
            options.method,
            options.dataset,
            options.out,
            options.root,
            part=options.part,
            epochs=options.epochs,
            device=options.device,
            settings=_settings(options),
            progress=progress,
        )
    for file in written:
        terminal.console().print(str(file), soft_wrap=True)


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


def _datasets(options: argparse.Namespace) -> None:
    from microexpr import api

    described = api.describe_datasets() if options.name is None else [api.describe_dataset(options.name)]
    if options.json:
        terminal.print_json(described if options.name is None else described[0])
    elif options.name is None:
        terminal.print_table(("name", "clips", "subjects", "carries", "what"), described)
        terminal.console().print("\nmicroexpr datasets NAME: licence, how to get it, the expected folder, how to cite")
    else:
        terminal.print_fields(described[0])


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
    one = api.describe_method(options.name, _settings(options))
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
