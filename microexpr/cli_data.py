"""What the commands share about data sets: their options, the doctor, and the table of data sets."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from microexpr import terminal
from microexpr.errors import BadInput

if TYPE_CHECKING:
    from microexpr.datasets.doctor import Checkup
    from microexpr.types import Dataset

SHOWN = 3  # findings of one kind


def pairs(option: str, texts: Sequence[str], shape: str, example: str) -> dict[str, str]:
    """Texts "name=value" as a dictionary.

    Raises:
        BadInput: one is not of that shape, or a name comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise BadInput(f"{option} {shape}", repr(text), f"write it like {option} {example}")
        if name.strip() in found:
            raise BadInput(f"{option} {name.strip()} once", "twice", "leave one of them out")
        found[name.strip()] = value.strip()
    return found


def root_of(options: argparse.Namespace) -> Any:
    """--root as the verbs take it: one folder, a folder for each member of a composite set, or None."""
    from microexpr import datasets

    if not options.root:
        return None
    if hasattr(datasets.adapter(options.dataset), "MEMBERS"):
        return pairs("--root", options.root, "MEMBER=DIR", "casme2=/data/CASME2")
    if len(options.root) > 1:
        raise BadInput(f"one --root for {options.dataset}", f"{len(options.root)}", "leave the others out")
    return options.root[0].removeprefix(f"{options.dataset}=")


def settings_of(options: argparse.Namespace) -> dict[str, str]:
    """--data FIELD=VALUE ... as a dictionary."""
    return pairs("--data", options.data, "FIELD=VALUE", "tree=cropped")


def prepared(options: argparse.Namespace, labels: str, progress: Callable[[str, int, int], None] | None) -> Dataset:
    """The data set of a command, read and prepared."""
    from microexpr import api

    data = api.load(options.dataset, root_of(options), options.part, damaged=options.damaged, **settings_of(options))
    return api.prepare(
        data,
        labels=labels,
        faces=options.faces,
        apex_rule=options.apex_rule,
        damaged=options.damaged,
        jobs=getattr(options, "jobs", None),
        progress=progress,
    )


def check(options: argparse.Namespace) -> int:
    """`microexpr check`: exit 1 where something is missing."""
    from microexpr import api

    if options.folder is not None:
        if options.root:
            raise BadInput("the folder once", "ROOT and --root", "leave one of them out")
        options.root = [options.folder]
    with terminal.progress_bars() as progress:
        found = api.check(
            options.dataset,
            root_of(options),
            pictures=options.pictures,
            official=options.official,
            progress=progress,
            **settings_of(options),
        )
    if options.json:
        terminal.print_json(_as_json(found))
    else:
        _print(found, every=options.all)
    return 0 if found.healthy else 1


def _as_json(found: Checkup) -> dict[str, Any]:
    return {
        "dataset": found.dataset,
        "healthy": found.healthy,
        "chosen": dict(found.chosen),
        "counts": {name: {"published": published, "found": here} for name, (published, here) in found.counts.items()},
        "findings": [
            {"level": finding.level, "where": finding.where, "what": finding.what, "done": finding.done}
            for finding in found.findings
        ],
        "pictures_opened": found.pictures,
    }


def _print(found: Checkup, every: bool) -> None:
    console = terminal.console()
    chosen = ", ".join(f"{name} {value}" for name, value in found.chosen.items() if value)
    console.print(f"{found.dataset}{': ' + chosen if chosen else ''}\n", style="bold", soft_wrap=True)
    rows = [
        {
            "what": name,
            "published": "-" if published is None else f"{published}",
            "found": f"{here}",
            "difference": "" if published in (None, here) else f"{here - published:+d}",
        }
        for name, (published, here) in found.counts.items()
    ]
    if rows:
        terminal.print_table(("what", "published", "found", "difference"), rows)
    for level in ("error", "warning", "note"):
        _print_findings(found, level, every)
    if found.pictures:
        console.print(f"\n{found.pictures:,} pictures opened")
    levels = Counter(finding.level for finding in found.findings)
    told = ", ".join(
        f"{levels[level]} {level}{'s' if levels[level] != 1 else ''}" for level in ("error", "warning", "note")
    )
    console.print(f"\n{'whole' if found.healthy else 'not whole'}: {told}", style="bold")


def _print_findings(found: Checkup, level: str, every: bool) -> None:
    console = terminal.console()
    of_level = [finding for finding in found.findings if finding.level == level]
    if not of_level:
        return
    console.print(f"\n{level}s", style="bold")
    seen: Counter[str] = Counter()
    for finding in of_level:
        seen[finding.done] += 1
        if every or seen[finding.done] <= SHOWN:
            console.print(f"  {finding}", soft_wrap=True, markup=False, highlight=False)
    for done, count in seen.items():
        if not every and count > SHOWN:
            console.print(f"  {count - SHOWN} more: {done} (--all shows them)", soft_wrap=True, markup=False)


def datasets(options: argparse.Namespace) -> None:
    """`microexpr datasets`: the table, or one data set in detail."""
    from microexpr import api

    described = api.describe_datasets() if options.name is None else [api.describe_dataset(options.name)]
    if options.json:
        terminal.print_json(described if options.name is None else described[0])
    elif options.name is None:
        terminal.print_table(("name", "clips", "subjects", "carries", "what"), described)
        terminal.console().print("\nmicroexpr datasets NAME: licence, how to get it, the expected folder, how to cite")
    else:
        terminal.print_fields(described[0])
