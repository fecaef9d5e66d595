"""CSV files of the benchmarks of video and weights -> Markdown tables of the pages.

<!-- figures: spotting-MACHINE detection -->   shares of events found in time, by peak
<!-- figures: spotting-MACHINE said -->        what the weights said, by rendered emotion
<!-- figures: spotting-MACHINE quiet -->       false events a minute
<!-- figures: spotting-MACHINE noisy -->       the same with sensor noise
<!-- figures: stream-MACHINE -->               frames a second, latency, memory, the command
<!-- figures: registration-MACHINE -->         alignment: correlation with the true flow
<!-- figures: weights-MACHINE -->              the shipped weights: honest figures of each database
"""

from __future__ import annotations

TOLERANCE_MS = 40.0
Rows = list[dict[str, str]]
WHERE = {"all": "all", "casme2": "CASME II", "samm": "SAMM", "smic": "SMIC"}


def video_table(name: str, measured: Rows, parts: list[str]) -> str:
    """The table of one results file."""
    kind = name.partition("-")[0]
    if kind == "stream":
        return _markdown(["part", "what", "value"], [[row["part"], row["what"], row["value"]] for row in measured])
    if kind == "registration":
        return _registration(measured)
    if kind == "weights":
        return _weights(measured)
    return {"detection": _detection, "said": _said, "quiet": _quiet, "noisy": _noisy}[parts[0]](measured)


def _detection(measured: Rows) -> str:
    rows = [row for row in measured if row["part"] == "detection"]
    lines = []
    for peak in [*sorted({float(row["peak"]) for row in rows}), None]:
        own = [row for row in rows if peak is None or float(row["peak"]) == peak]
        shares = [
            f"{sum(_in_time(row, *names) for row in own)} of {len(own)}"
            for names in (("onset", "apex"), ("onset",), ("apex",), ("offset",))
        ]
        lines.append(["all" if peak is None else f"{peak:g} px", *shares, str(sum(int(row["false"]) for row in own))])
    return _markdown(["peak", "onset and apex", "onset", "apex", "offset", "false events"], lines)


def _in_time(row: dict[str, str], *names: str) -> bool:
    """Whether the event was found and these of its times are right."""
    return row["found"] == "1" and all(abs(float(row[f"{name}_ms"])) <= TOLERANCE_MS + 1e-6 for name in names)


def _said(measured: Rows) -> str:
    rows = [row for row in measured if row["part"] == "detection"]
    said = sorted({row["said"] for row in rows if row["found"] == "1"})
    lines = []
    for emotion in dict.fromkeys(row["emotion"] for row in rows):
        own = [row for row in rows if row["emotion"] == emotion]
        lines.append([emotion, *(str(sum(row["said"] == answer for row in own)) for answer in said)])
    return _markdown(["rendered", *said], lines)


def _quiet(measured: Rows) -> str:
    rows = [row for row in measured if row["part"] == "quiet"]
    lines = []
    for kind in [*sorted({(float(row["head_pixels"]), float(row["flicker"])) for row in rows}), None]:
        own = [row for row in rows if kind in (None, (float(row["head_pixels"]), float(row["flicker"])))]
        minutes, false = sum(float(row["minutes"]) for row in own), sum(int(row["false"]) for row in own)
        blinks = str(sum(int(row["blinks"]) for row in own))
        names = ["all", ""] if kind is None else [f"{kind[0]:g} px", f"{100 * kind[1]:g} %"]
        lines.append([*names, f"{minutes:g}", blinks, str(false), f"{false / minutes:.2f}"])
    return _markdown(["head motion", "flicker", "minutes", "blinks", "false events", "a minute"], lines)


def _noisy(measured: Rows) -> str:
    rows = [row for row in measured if row["part"] == "noisy"]
    lines = []
    for kind in sorted({(float(row["fps"]), float(row["noise"])) for row in rows}):
        own = [row for row in rows if (float(row["fps"]), float(row["noise"])) == kind]
        minutes, false = sum(float(row["minutes"]) for row in own), sum(int(row["false"]) for row in own)
        blinks = str(sum(int(row["blinks"]) for row in own))
        lines.append([f"{kind[0]:g}", f"{kind[1]:g}", f"{minutes:g}", blinks, str(false), f"{false / minutes:.2f}"])
    head = ["frames a second", "noise, gray levels", "minutes", "blinks", "false events", "a minute"]
    return _markdown(head, lines)


def _registration(measured: Rows) -> str:
    shifts = [column for column in measured[0] if column.startswith("correlation")]
    lines = []
    for row in measured:
        cells = [f"{float(row[one]):.3f} ({float(row[one.replace('correlation', 'lowest')]):.3f})" for one in shifts]
        error = float(row["99th percentile of the error, px"])
        lines.append([row["alignment"], *cells, f"{error:.2f}", f"{float(row['ms']):.1f}"])
    head = [f"{one.replace('correlation at ', '')} shift" for one in shifts]
    return _markdown(["alignment", *head, "error (99 %), px", "ms a frame"], lines)


def _weights(measured: Rows) -> str:
    lines = [
        [
            f"`{row['weights']}`",
            WHERE[row["database"]],
            *(f"{row[key]} [{row[f'{key}_low']}, {row[f'{key}_high']}]" for key in ("uf1", "uar")),
            row["accuracy"],
            row["ece_calibrated"],
            f"{row['coverage']} / {row['accuracy_answered']}",
        ]
        for row in measured
    ]
    head = ["weights", "clips", "UF1 [95 %]", "UAR [95 %]", "accuracy", "ECE", "answered / of these right"]
    return _markdown(head, lines)


def _markdown(head: list[str], lines: list[list[str]]) -> str:
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n{body}"
