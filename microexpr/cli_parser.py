"""What the commands are called, what they take, and their help. What they do is in `cli`.

Nothing heavy is imported here: help must be quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

import microexpr
from microexpr import terminal
from microexpr.page.limits import Limits

Run = Callable[[argparse.Namespace], int | None]


class _Parser(argparse.ArgumentParser):
    """A wrong call gets one line, like any other wrong input."""

    def error(self, message: str) -> NoReturn:
        terminal.note(f"{message}; see: {self.prog} --help")
        sys.exit(2)


def build(runs: Mapping[str, Run]) -> argparse.ArgumentParser:
    """The parser of all commands; parsed options carry the command's function as ``run``."""
    parser = _Parser(
        prog="microexpr",
        description="Facial micro-expression recognition: train, evaluate and compare methods without leaks.",
        epilog="example: microexpr demo. For research; no lie detection, no decision about a person.",
    )
    parser.add_argument("--version", action="version", version=f"microexpr {microexpr.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, does: str, example: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=does, description=does, epilog=f"example: {example}")
        added.add_argument("--debug", action="store_true", help="show a traceback where something goes wrong")
        added.set_defaults(run=runs[name])
        return added

    add = command("demo", "render a video, recognize it, evaluate MJFN, write a report; no input", "microexpr demo")
    add.add_argument("--out", default="microexpr-demo", metavar="DIR", help="output folder (default: %(default)s)")
    add.add_argument("--jobs", type=int, metavar="N", help="worker processes (default: one for each core)")

    add = command(
        "recognize",
        "video files or picture folders -> events; with --out also an annotated video and plates",
        "microexpr recognize interview.mp4 --out interview-events",
    )
    _add_inputs(add)
    add.add_argument(
        "--out", metavar="DIR", help="write events.json, events.csv, pictures and an annotated video there"
    )
    _add_weights(add)
    add.add_argument("--onset", type=int, metavar="N", help="judge only the movement that begins at this frame")
    add.add_argument("--apex", type=int, metavar="N", help="the frame at which it is largest (default: searched)")
    add.add_argument(
        "--magnify",
        type=float,
        metavar="TIMES",
        help="with --out also a film of each micro-expression with its motion so many times as large, e.g. 10",
    )
    add.add_argument("--jobs", type=int, default=1, metavar="N", help="inputs at once (default: %(default)s)")
    add.add_argument("--json", action="store_true", help="print the events as JSON")

    add = command("spot", "the movements of a face without what they show", "microexpr spot interview.mp4")
    _add_inputs(add)
    add.add_argument("--json", action="store_true", help="print the intervals as JSON")

    add = command(
        "live",
        "recognize a camera, or a file paced at its own rate; print events as they end",
        "microexpr live --source 0 --record today",
    )
    add.add_argument("--source", default="0", help="number of a camera, or a file (default: %(default)s)")
    add.add_argument("--record", metavar="DIR", help="keep the video, the events and their plates in this folder")
    _add_camera(add)
    _add_weights(add)
    add.add_argument("--json", action="store_true", help="print every event as a line of JSON")

    add = command("app", "the local web page; needs the extra app", "microexpr app --port 7860")
    add.add_argument("--port", type=int, default=7860, metavar="N", help="of 127.0.0.1; 0 for any (default: 7860)")
    add.add_argument("--runs", default="runs", metavar="DIR", help="folder of run folders (default: %(default)s)")
    _add_limits(add)

    add = command(
        "export",
        "write trained weights as ONNX, checked against the method; needs the extra onnx",
        "microexpr export mjfn-megc2019 --out mjfn.onnx",
    )
    add.add_argument(
        "weights", metavar="FILE.safetensors", help="weights, or the name of some that come with the package"
    )
    add.add_argument("--out", required=True, metavar="FILE.onnx", help="the ONNX file")

    add = command(
        "evaluate",
        "run or resume an evaluation and print its figures",
        "microexpr evaluate mjfn,flow-linear megc2019-flow --root maps --part casme2 --epochs 100",
    )
    add.add_argument("method", help="a method, a comma list of methods, or 'all'")
    add.add_argument("dataset", help="a data set")
    _add_data(add)
    _add_evaluation(add, "last")
    add.add_argument(
        "--weights-dir",
        metavar="DIR",
        help="score weights that were trained elsewhere, one file for each left-out subject, instead of training",
    )

    add = command(
        "experiment",
        "run or resume an experiment of the paper; without a name, list them",
        "microexpr experiment leak megc2019-flow --root maps --part casme2 --out leak",
    )
    add.add_argument("name", nargs="?", help="an experiment")
    add.add_argument("dataset", nargs="?", help="a data set")
    _add_data(add, labels=False)
    _add_evaluation(add, None)
    add.add_argument("--out", metavar="DIR", help="write the report and the pictures into this folder")

    add = command("compare", "a table over runs", "microexpr compare runs/*casme2* --against flow-linear")
    add.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    add.add_argument("--against", metavar="METHOD", help="print each method's paired difference to this one")
    add.add_argument("--json", action="store_true", help="print the table as JSON")

    add = command("report", "one self-contained HTML page about runs", "microexpr report runs/* --out report.html")
    add.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    add.add_argument("--out", required=True, metavar="FILE.html", help="the page")

    add = command(
        "train",
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

    add = command("flow", "optical flow of two pictures", "microexpr flow onset.png apex.png --out flow.png")
    add.add_argument("first", metavar="IMAGE_A", help="the earlier picture, e.g. the onset")
    add.add_argument("second", metavar="IMAGE_B", help="the later picture of the same size, e.g. the apex")
    add.add_argument("--mode", default="clg", help="clg (default: the most accurate on small motion), tvl1 or opencv")
    add.add_argument("--preset", help="micro (default: motion up to two pixels) or general (several pixels)")
    add.add_argument("--out", metavar="FILE", help="write .flo, .npy or .png (color picture)")
    add.add_argument("--json", action="store_true", help="print the summary as JSON")

    add = command("bench", "the measurements of benchmarks/; needs a source checkout", "microexpr bench flow --quick")
    add.add_argument("what", choices=("flow", "loso", "spotting", "stream"), help="which")
    add.add_argument("options", nargs=argparse.REMAINDER, help="options of the script, e.g. --quick")

    add = command(
        "synthesize",
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

    add = command("datasets", "the data sets and how to get them", "microexpr datasets megc2019-flow")
    add.add_argument("name", nargs="?", help="one data set in detail")
    add.add_argument("--json", action="store_true", help="print as JSON")

    add = command(
        "check",
        "the data set doctor: counts against the published ones, and everything that is odd",
        "microexpr check casme2 /data/CASME2",
    )
    add.add_argument("dataset", help="a data set")
    add.add_argument("folder", nargs="?", metavar="ROOT", help="its folder (default: as for evaluate)")
    _add_root(add)
    add.add_argument("--pictures", action="store_true", help="open every picture, too")
    add.add_argument("--official", metavar="FILE", help="for 3db: your copy of the official list, to compare with")
    add.add_argument("--all", action="store_true", help="print every finding, not the first of each kind")
    add.add_argument("--json", action="store_true", help="print as JSON")

    add = command("methods", "the methods; one method's settings and layers", "microexpr methods mjfn")
    add.add_argument("name", nargs="?", help="one method in detail")
    add.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="show it with this setting")
    add.add_argument("--json", action="store_true", help="print as JSON")
    return parser


def _add_inputs(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="a video file or a folder of numbered pictures; ./-name where a name begins with a dash",
    )
    _add_camera(add)


def _add_camera(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--fps",
        type=float,
        metavar="N",
        help="frames a second; needed for folders, and for files that state a wrong rate",
    )
    add.add_argument(
        "--detector", default="haar", metavar="NAME", help="haar (default), precropped, yunet, mediapipe or file"
    )
    add.add_argument("--detector-file", metavar="FILE", help="the model of yunet, or the landmarks of file")


def _add_weights(add: argparse.ArgumentParser) -> None:
    add.add_argument("--weights", metavar="FILE", help="trained weights (default: those that come with the package)")
    add.add_argument("--method", metavar="NAME", help="the weights of this method that come with the package")


def _add_root(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--root",
        action="append",
        default=[],
        metavar="DIR",
        help="the data set's folder (default: $MICROEXPR_<DATASET>, then the config file); of a composite set "
        "MEMBER=DIR, once for each member",
    )
    add.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a setting of the data set, e.g. tree=cropped (microexpr datasets NAME lists them); may be repeated",
    )


def _add_limits(add: argparse.ArgumentParser) -> None:
    """What the page accepts: an option for every limit, by its name."""
    limits = Limits()

    def limit(name: str, letter: str, words: str) -> None:
        usual = getattr(limits, name)
        add.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(usual),
            default=usual,
            metavar=letter,
            help=f"{words} (default: %(default)g)",
        )

    limit("upload_megabytes", "MB", "largest video, in millions of bytes")
    limit("frames", "N", "longest video")
    limit("megapixels", "N", "largest frame, in millions of pixels")
    limit("workers", "N", "videos worked on at once")
    limit("waiting", "N", "videos that may wait")
    limit("idle_minutes", "N", "after so long without use, what a page left is removed")


def _add_data(add: argparse.ArgumentParser, labels: bool = True) -> None:
    _add_root(add)
    add.add_argument("--part", metavar="NAME", help="one member database of a composite set: smic, casme2 or samm")
    if labels:
        add.add_argument(
            "--labels",
            default="megc",
            metavar="NAME",
            help="the classes: megc (negative, positive, surprise; default), casme2-5, samm-5, objective-5, "
            "objective-7, or own (the data set's emotions)",
        )
    add.add_argument(
        "--faces",
        default="haar",
        metavar="NAME",
        help="of clips with whole frames, what finds the face: haar (default), yunet=MODEL, mediapipe, precropped, or "
        "none",
    )
    add.add_argument(
        "--apex-rule",
        default="mean-flow",
        metavar="NAME",
        help="for clips without a usable apex: mean-flow (default), middle, peak, or drop to leave them out",
    )
    add.add_argument(
        "--damaged",
        default="stop",
        metavar="WHAT",
        help="at a clip that can't be read or shows no face: stop (default) or skip it",
    )


def _add_settings(add: argparse.ArgumentParser) -> None:
    add.add_argument("--epochs", type=int, metavar="N", help="epochs, for methods that have them")
    add.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="a setting of the method; may be repeated"
    )
    add.add_argument("--device", metavar="NAME", help="cpu or cuda, for methods that have it")


def _add_evaluation(add: argparse.ArgumentParser, select: str | None) -> None:
    """The options of an evaluation; `select` is the default, None where the experiment has its own."""
    add.add_argument(
        "--protocol", default="loso", help="loso, leave-one-dataset-out or subject-k-fold (default: %(default)s)"
    )
    add.add_argument(
        "--folds", type=int, default=10, metavar="N", help="folds of subject-k-fold (default: %(default)s)"
    )
    add.add_argument(
        "--select",
        default=select,
        metavar="NAME",
        help="which epoch counts: last, inner (chosen on training subjects), oracle (LEAKS), or a comma list "
        f"(default: {select or 'that of the experiment'})",
    )
    add.add_argument("--seeds", type=int, default=1, metavar="N", help="runs with the seeds 0..N-1 (default: 1)")
    _add_settings(add)
    add.add_argument("--jobs", type=int, metavar="N", help="worker processes (default: one for each core)")
    add.add_argument("--engine", default="local", help="local (default), or the workers of a cluster: ray or dask")
    add.add_argument(
        "--stacked",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train all folds and seeds in one job (default: on a GPU only)",
    )
    add.add_argument("--runs", default="runs", metavar="DIR", help="folder of run folders (default: %(default)s)")
    add.add_argument("--json", action="store_true", help="print the figures as JSON")
