"""The model card of trained weights (Mitchell et al. 2019, arXiv:1810.03993): what they are, and what they are not.

Weights whose record holds "figures" were judged by a nested cross-validation, and the card says how they did; of others
it says how to find out. No figure is typed: all come from the record.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from microexpr import methods
from microexpr.methods._settings import settings_of

INPUTS = {
    "flow map": """Flow maps as they were published for MEGC 2019. A video has to be brought into the same form, by the
same function: `motion.flow.published_map` resizes the flow from onset to apex to 28x28, takes the optical strain there
and stretches each channel of each picture to 0..255 between its own smallest and largest value. Amplitude is lost in
that, and the gray value of zero motion differs from map to map, so u and v are centered again on the median of the
picture (`motion.flow.centered`).""",
    "frames": """Clips with frames: what the method looks at, the flow from onset to apex or the picture of the apex, it
takes from them itself, with the settings below. Faces have to be aligned the way those of the training clips were.""",
}

LIMITS = """\
- The figures hold for published maps of annotated clips: people marked onset and apex, and the maps' authors aligned
  the faces and computed the flow. In a video of your own the program does all of it. That was not measured here;
  expect less.
- A map keeps no amplitude. Noise of a still face, stretched to 0..255, looks like a movement, and the weights will name
  a class for it. Whether anything moved has to be decided before them.
- Three classes, and no class for "something else": a blink or a spoken word gets one of the three.
- The subjects sat still in three laboratories, in front of cameras of 100 and 200 frames a second. Other people, rooms
  and cameras were not tried."""


def text(name: str, method: Any, record: Mapping[str, Any], file: str) -> str:
    """The card as Markdown.

    Args:
        name: the method as registered.
        method: fitted.
        record: what `api.train` keeps of the data and the versions; and, where they are known, "input", "temperature",
            "threshold" and "figures" (see `weights.load`).
        file: name of the weights file.
    """
    entry = methods.entry(name)
    figures = record.get("figures")
    reference = f" doi:{entry.doi}" if entry.doi else ""
    title = f"# {file}\n\n{entry.title}.{reference}"
    sections = [title, *_rendered(record), _data(record)]
    if record.get("input") in INPUTS:
        sections.append("## Input\n\n" + INPUTS[record["input"]] + _prepared(record))
    if figures:
        sections += [
            _accuracy(record, figures),
            _calibration(record, figures),
            _abstention(record, figures),
            _which(figures),
        ]
    else:
        sections.append(_unmeasured(name, method, record))
    sections.append(_use(calibrated=bool(figures)))
    if figures:
        sections.append("## Limits\n\n" + LIMITS)
    sections.append(_settings(method, record))
    return "\n\n".join(sections) + "\n"


def _prepared(record: Mapping[str, Any]) -> str:
    """How the faces of the training clips were cut out, and their apexes found; empty where nothing was done."""
    done = record.get("preparation")
    if not done:
        return ""
    told = "Their frames were taken as they are" if done["faces"] == "none" else f"Faces were found by {done['faces']}"
    if done["apexes_found"]:
        told += f"; {done['apexes_found']} clips without an annotated apex got one by the rule {done['apex_rule']}"
    if done["left_out"]:
        told += f"; {len(done['left_out'])} clips were left out"
    return f"\n{told}."


def _rendered(record: Mapping[str, Any]) -> list[str]:
    told = "**Trained on rendered clips.** All of them show one portrait; these weights know nothing of real faces."
    return [told] if record["rendered"] else []


def _data(record: Mapping[str, Any]) -> str:
    where = f"{record['dataset']} ({record['part']})" if record["part"] else record["dataset"]
    counts = ", ".join(f"{count} {label}" for label, count in record["counts"].items())
    told = f"""## Data

{where}: {record["clips"]} clips of {record["subjects"]} subjects ({counts}); digest `{record["data"]}`.
The terms of the data set apply to weights trained on it."""
    if record["dataset"] == "megc2019-flow":
        told += """
The maps were made from recordings of SMIC, CASME II and SAMM, which are licensed for academic research; no picture of a
face and no map is in this file. Use the weights for research only, and read those licenses."""
    return told


def _unmeasured(name: str, method: Any, record: Mapping[str, Any]) -> str:
    usual = settings_of(methods.create(name))
    changed = [f" --set {key}={value}" for key, value in settings_of(method).items() if value != usual[key]]
    options = (f" --part {record['part']}" if record["part"] else "") + "".join(changed)
    return f"""## Accuracy

All clips were trained on, so nothing was left to measure accuracy with. Evaluate the same settings under
leave-one-subject-out for that: `microexpr evaluate {name} {record["dataset"]}{options}`."""


def _accuracy(record: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    counts = record["counts"]
    largest = max(counts, key=counts.__getitem__)
    floor = 100 * counts[largest] / sum(counts.values())
    seeds, folds = figures["scores"][0]["seeds"], figures["folds"]
    rows = [
        [
            row["database"],
            row["clips"],
            row["subjects"],
            *(
                f"{row[score]} ({row[f'{score}_low']} to {row[f'{score}_high']}; {row[f'{score}_sd']})"
                for score in ("uf1", "uar", "accuracy")
            ),
        ]
        for row in figures["scores"]
    ]
    confusion = [cells.split() for cells in figures["scores"][0]["confusion"].split(" / ")]
    heads = ["database", "clips", "subjects", "UF1", "UAR", "accuracy"]
    truth = [[label, *cells] for label, cells in zip(counts, confusion, strict=True)]
    return f"""## Accuracy

Nobody whose clips were answered was seen in training: {folds} folds of subjects, {seeds} seeds. Setting and number of
epochs were chosen inside each fold, by the log likelihood on training subjects that were held back. These weights were
then trained on all {record["clips"]} clips with a setting chosen the same way, so the figures are those of the
procedure; nobody was left to measure the file itself with. The few settings there were to choose from come from
experience with the same data set, which no split takes back.

In percent: mean over the seeds (95 % interval over resampled subjects; standard deviation over the seeds). Always
answering {largest} has an accuracy of {floor:.1f}.

{_table(heads, rows)}

Answers of all seeds, rows the truth, columns the answer:

{_table(["", *counts], truth)}"""


def _calibration(record: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    whole = figures["scores"][0]
    compared = [
        [name, *(whole[f"{key}{kind}"] for kind in ("", "_tempered", "_inside"))]
        for name, key in (("negative log likelihood", "nll"), ("expected calibration error", "ece"))
    ]
    bins = [
        [f"{row['from']} to {row['to']}", row["answers"], row["confidence"], row["accuracy"]]
        for row in figures["reliability"]
    ]
    return f"""## Calibration

{_wrapped(_tempering(record, figures))}

{_table(["", "as trained", "tempered", "chosen inside the folds"], compared)}

How sure, and how often right, in percent, over the answers of all seeds, as shipped:

{_table(["top probability", "answers", "mean of it", "right"], bins)}

The probabilities assume the mixture of classes of the training clips. Where the classes come otherwise mixed they are
off."""


def _tempering(record: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """Whether a temperature is used, why, and what that choice itself may have done to the figures."""
    whole, used = figures["scores"][0], record["temperature"] != 1
    lowered = [float(whole[f"{key}_tempered"]) < float(whole[key]) for key in ("nll", "ece")]
    effect = {
        (True, True): "lowered both the negative log likelihood and the calibration error",
        (True, False): "lowered the negative log likelihood, but not the calibration error",
        (False, True): "lowered the calibration error, but not the negative log likelihood",
        (False, False): "lowered neither the negative log likelihood nor the calibration error",
    }[lowered[0], lowered[1]]
    return (
        "A temperature was tried: p^(1/T), normalized, every fold with the T that fits the others best. For people it "
        f"was not fitted on it {effect}. It is used only where it lowers the negative log likelihood. So the "
        f"probabilities are shipped {'tempered' if used else 'as trained'}, T = {record['temperature']:.3f}; the T "
        f"that fits all answers best is {whole['temperature_fitted']}. This is a choice between two settings on the "
        "answers that the figures come from, which flatters those of the chosen one. The last column makes the same "
        f"choice inside every fold, by the other folds alone, which tempers {whole['folds_tempered']} of "
        f"{figures['folds']}."
    )


def _abstention(record: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    whole = figures["scores"][0]
    smallest = (
        "three of four answers were right however unsure they were"
        if record["threshold"] == 0
        else ("the smallest from which on three of four answers were right")
    )
    return f"""## When no class is named

- When the motion does not rise above the noise of the video; the recognizer decides that before it asks the weights.
- When the top probability is under {record["threshold"]:.3f}: {smallest}.
  With the threshold of every fold taken from the others, {whole["coverage"]} % of the answers were given and
  {whole["accuracy_answered"]} % of those were right."""


def _which(figures: Mapping[str, Any]) -> str:
    rows = [
        [row["weights"], row["uf1"], row["uar"], row["accuracy"], row["nll_calibrated"], row["ece_calibrated"]]
        for row in figures["shipped"]
    ]
    heads = ["weights", "UF1", "UAR", "accuracy", "negative log likelihood", "calibration error"]
    return f"""## Which weights

{_table(heads, rows)}

{_wrapped(f"`{figures['default']}` are taken where none are named: {figures['why']}.")}"""


def _use(calibrated: bool) -> str:
    told = """## Intended use

Research on facial micro-expressions. Not for lie detection, and not for any decision about a person: a class is a guess
about a movement of the skin, not about what somebody feels or thinks."""
    return told if calibrated else told + " Probabilities are not calibrated."


def _settings(method: Any, record: Mapping[str, Any]) -> str:
    rows = [[key, str(value)] for key, value in settings_of(method).items()]
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    return f"## Settings\n\n{_table(['setting', 'value'], rows)}\n\n{_wrapped(f'Versions: {versions}.')}"


def _wrapped(paragraph: str) -> str:
    return "\n".join(textwrap.wrap(paragraph, 120, break_long_words=False, break_on_hyphens=False))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
