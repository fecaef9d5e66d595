"""The commands that evaluate, compare and train methods: argument text -> api verb -> print."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from microexpr import cli_data, terminal
from microexpr.errors import BadInput


def given_settings(options: argparse.Namespace) -> dict[str, str]:
    """--set field=value ... as a dictionary."""
    given = cli_data.pairs("--set", options.set, "FIELD=VALUE", "dropout=0.3")
    return {name.replace("-", "_"): value for name, value in given.items()}


def _settings_for(name: str, options: argparse.Namespace, alone: bool) -> dict[str, Any]:
    """The settings of one of the named methods: of several, --epochs and --device go to those that have them."""
    from microexpr import methods

    shared = {"epochs": options.epochs, "device": options.device}
    fields = {field.name for field in dataclasses.fields(methods.kind_of(name))}
    wanted = {key: value for key, value in shared.items() if value is not None and (alone or key in fields)}
    if twice := wanted.keys() & given_settings(options).keys():
        name = min(twice)
        raise BadInput(f"--{name} or --set {name}=...", "both", "leave one of them out")
    settings = {**given_settings(options), **wanted}
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


def evaluate(options: argparse.Namespace) -> None:
    """`microexpr evaluate`: one method, several or all of them on a data set."""
    from microexpr import api, methods
    from microexpr.evaluation import tables

    listed = dict.fromkeys(name.strip() for name in options.method.split(",") if name.strip())
    names = list(methods.names() if options.method == "all" else listed)
    if not names:
        raise BadInput("a method, several with commas, or all", repr(options.method), "see: microexpr methods")
    if options.weights_dir is not None and len(names) != 1:
        raise BadInput("one method with --weights-dir", f"{len(names)}", "name the method whose weights these are")
    # A wrong name or setting is told before any data is read.
    alone = len(names) == 1
    settings = {name: _settings_for(name, options, alone) for name in names}
    with terminal.progress_bars() as progress:
        data = cli_data.prepared(options, options.labels, progress)
    left_out = api.unsuited(settings, data, options.labels)  # told before any is trained
    if left_out and (options.method != "all" or len(left_out) == len(names)):
        raise BadInput(*next(iter(left_out.values())))
    for name, (expected, got, _) in left_out.items():
        terminal.note(f"left out: {name}: expected {expected}, got {got}")
    console = terminal.console()
    gathered = []
    for name in (name for name in names if name not in left_out):
        with terminal.progress_bars() as progress:
            runs = api.evaluate(
                name,
                data,
                labels=options.labels,
                protocol=options.protocol,
                folds=options.folds,
                seeds=options.seeds,
                settings=settings[name],
                **_verbs_for(name, options, alone),
                jobs=options.jobs,
                engine=options.engine,
                weights_dir=options.weights_dir,
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


def experiment(options: argparse.Namespace) -> None:
    """`microexpr experiment`: one of the paper's; without a name, the list of them."""
    from microexpr import experiments
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
            cli_data.prepared(options, "megc", progress),
            protocol=options.protocol,
            folds=options.folds,
            select=options.select,
            seeds=options.seeds,
            epochs=options.epochs,
            settings=given_settings(options),
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


def compare(options: argparse.Namespace) -> None:
    """`microexpr compare`: a table over runs."""
    from microexpr import api
    from microexpr.evaluation import tables

    runs = api.read_runs(options.runs)
    if options.json:
        terminal.print_json(tables.compare_to_json(api.compare(runs, options.against)))
    else:
        tables.print_compare(runs, terminal.console(), options.against)


def report(options: argparse.Namespace) -> None:
    """`microexpr report`: one page about runs."""
    from microexpr import api

    terminal.console().print(str(api.report(options.runs, options.out)), soft_wrap=True)


def train(options: argparse.Namespace) -> None:
    """`microexpr train`: weights and their card."""
    from microexpr import api

    with terminal.progress_bars() as progress:
        written = api.train(
            options.method,
            cli_data.prepared(options, options.labels, progress),
            options.out,
            labels=options.labels,
            epochs=options.epochs,
            device=options.device,
            settings=given_settings(options),
            progress=progress,
        )
    for file in written:
        terminal.console().print(str(file), soft_wrap=True)
