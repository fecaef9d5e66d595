"""Argument text -> api verb -> print. Nothing is computed here, and nothing heavy is imported before it is needed.

Results go to stdout, messages and progress to stderr. Exit 0 done, 1 the work failed, 2 wrong usage or input.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import microexpr
from microexpr import terminal
from microexpr.errors import FoldFailed, MicroexprError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    options.command_line = shlex.join(["microexpr", *given])
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return options.run(options) or 0
    except MicroexprError as error:
        if options.debug:
            raise
        terminal.note(str(error))
        return 1 if isinstance(error, FoldFailed) else 2
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        kept = "; finished folds are kept, the same command goes on from there" if options.run is _evaluate else ""
        terminal.note(f"stopped{kept}")
        return 1
    except Exception as error:
        if options.debug:
            raise
        terminal.note(f"unexpected {type(error).__name__}: {error}; run again with --debug to see where")
        return 1


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    terminal.note(f"warning: {message}")


class _Parser(argparse.ArgumentParser):
    """A wrong call gets one line, like any other wrong input."""

    def error(self, message: str) -> NoReturn:
        terminal.note(f"{message}; see: {self.prog} --help")
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="microexpr",
        description="Facial micro-expression recognition: train, evaluate and compare methods without leaks.",
        epilog="example: microexpr demo. For research; no lie detection, no decision about a person.",
    )
    parser.add_argument("--version", action="version", version=f"microexpr {microexpr.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int | None], does: str, example: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=does, description=does, epilog=f"example: {example}")
        added.add_argument("--debug", action="store_true", help="show a traceback where something goes wrong")
        added.set_defaults(run=run)
        return added

    add = command(
        "demo", _demo, "render clips, evaluate MJFN on them, write a report; needs no input", "microexpr demo"
    )
    add.add_argument("--out", default="microexpr-demo", metavar="DIR", help="output folder (default: %(default)s)")
    add.add_argument("--jobs", type=int, metavar="N", help="worker processes (default: one for each core)")

    add = command(
        "evaluate",
        _evaluate,
        "run or resume an evaluation and print its figures",
        "microexpr evaluate mjfn,flow-linear megc2019-flow --root maps --part casme2 --epochs 100",
    )
    add.add_argument("method", help="a method, a comma list of methods, or 'all'")
    add.add_argument("dataset", help="a data set")
    _add_data(add)
    add.add_argument(
        "--protocol", default="loso", help="loso, leave-one-dataset-out or subject-k-fold (default: %(default)s)"
    )
    add.add_argument(
        "--folds", type=int, default=10, metavar="N", help="folds of subject-k-fold (default: %(default)s)"
    )
    add.add_argument("--select", default="last", help="which epoch counts: last (default)")
    add.add_argument("--seeds", type=int, default=1, metavar="N", help="runs with the seeds 0..N-1 (default: 1)")
    _add_settings(add)
    add.add_argument("--jobs", type=int, metavar="N", help="worker processes (default: one for each core)")
    add.add_argument("--runs", default="runs", metavar="DIR", help="folder of run folders (default: %(default)s)")
    add.add_argument("--json", action="store_true", help="print the figures as JSON")

    add = command("compare", _compare, "a table over runs", "microexpr compare runs/*casme2* --against flow-linear")
    add.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    add.add_argument("--against", metavar="METHOD", help="print each method's paired difference to this one")
    add.add_argument("--json", action="store_true", help="print the table as JSON")

    add = command(
        "report", _report, "one self-contained HTML page about runs", "microexpr report runs/* --out report.html"
    )
    add.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    add.add_argument("--out", required=True, metavar="FILE.html", help="the page")

    add = command(
        "train",
        _train,
        "train on all clips; write weights and a card",
        "microexpr train flow-linear megc2019-flow --root maps --out flow-linear.safetensors",
    )
    add.add_argument("method", help="a method")
    add.add_argument("dataset", help="a data set")
    _add_data(add)
    _add_settings(add)
    add.add_argument(
        "--out", required=True, metavar="FILE.safetensors", help="the weights; a card is written beside them"
    )

    add = command("flow", _flow, "optical flow of two pictures", "microexpr flow onset.png apex.png --out flow.png")
    add.add_argument("first", metavar="IMAGE_A", help="the earlier picture, e.g. the onset")
    add.add_argument("second", metavar="IMAGE_B", help="the later picture of the same size, e.g. the apex")
    add.add_argument("--mode", default="clg", help="clg (default: the most accurate on small motion), tvl1 or opencv")
    add.add_argument("--preset", help="micro (default: motion up to two pixels) or general (several pixels)")
    add.add_argument("--out", metavar="FILE", help="write .flo, .npy or .png (color picture)")
    add.add_argument("--json", action="store_true", help="print the summary as JSON")

    add = command(
        "bench", _bench, "the measurements of benchmarks/; needs a source checkout", "microexpr bench flow --quick"
    )
    add.add_argument("what", choices=("flow", "loso"), help="which")
    add.add_argument("options", nargs=argparse.REMAINDER, help="options of the script, e.g. --quick")

    add = command(
        "synthesize",
        _synthesize,
        "write a rendered data set: frames and truth; about 90 frames of 0.5 MB a clip",
        "microexpr synthesize rendered --subjects 4",
    )
    add.add_argument("out", metavar="OUT", help="a new or empty folder")
    add.add_argument("--subjects", type=int, default=6, metavar="N", help="(default: %(default)s)")
    add.add_argument("--clips-per-subject", type=int, default=6, metavar="N", help="(default: %(default)s)")
    add.add_argument("--fps", type=float, default=200.0, metavar="N", help="frames a second (default: %(default)g)")
    add.add_argument(
        "--peak", type=float, default=2.0, metavar="PX", help="largest motion in pixels (default: %(default)g)"
    )
    add.add_argument("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")

    add = command("datasets", _datasets, "the data sets and how to get them", "microexpr datasets megc2019-flow")
    add.add_argument("name", nargs="?", help="one data set in detail")
    add.add_argument("--json", action="store_true", help="print as JSON")

    add = command("methods", _methods, "the methods; one method's settings and layers", "microexpr methods mjfn")
    add.add_argument("name", nargs="?", help="one method in detail")
    add.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="show it with this setting")
    add.add_argument("--json", action="store_true", help="print as JSON")
    return parser


def _add_data(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--root", metavar="DIR", help="the data set's folder (default: $MICROEXPR_<DATASET>, then the config file)"
    )
    add.add_argument("--part", metavar="NAME", help="one member database of a composite set: smic, casme2 or samm")


def _add_settings(add: argparse.ArgumentParser) -> None:
    add.add_argument("--epochs", type=int, metavar="N", help="epochs, for methods that have them")
    add.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="a setting of the method; may be repeated"
    )
    add.add_argument("--device", metavar="NAME", help="cpu or cuda, for methods that have it")


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
    settings = {**_settings(options), **wanted}
    methods.create(name, **settings)
    return settings


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
                select=options.select,
                seeds=options.seeds,
                settings=settings[name],
                jobs=options.jobs,
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
    from microexpr import api
    from microexpr.evaluation import tables

    terminal.note("rendering a small data set and evaluating MJFN on it, leaving one rendered subject out at a time")
    with terminal.progress_bars() as progress:
        made = api.demo(options.out, jobs=options.jobs, command=options.command_line, progress=progress)
    console = terminal.console()
    tables.print_run(made.run, console)
    console.print(f"\nreport   {made.report}\nplates   {made.plates}\nrun      {made.run.folder}", soft_wrap=True)
