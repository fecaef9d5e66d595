"""The model card of trained weights (Mitchell et al. 2019, arXiv:1810.03993): what they are, and what they are not."""

from __future__ import annotations

from typing import Any

from microexpr import methods
from microexpr.methods._settings import settings_of


def text(name: str, method: Any, record: dict[str, Any], file: str) -> str:
    """The card as Markdown.

    Args:
        name: the method as registered.
        method: fitted.
        record: what `api.train` keeps of the data and the versions.
        file: name of the weights file.
    """
    entry, usual = methods.entry(name), settings_of(methods.create(name))
    where = f"{record['dataset']} ({record['part']})" if record["part"] else record["dataset"]
    counts = ", ".join(f"{count} {label}" for label, count in record["counts"].items())
    rendered = (
        "\n**Trained on rendered clips.** All of them show one portrait; these weights know nothing of real faces.\n"
        if record["rendered"]
        else ""
    )
    settings = "\n".join(f"| {key} | {value} |" for key, value in settings_of(method).items())
    changed = [f" --set {key}={value}" for key, value in settings_of(method).items() if value != usual[key]]
    options = (f" --part {record['part']}" if record["part"] else "") + "".join(changed)
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    reference = f" doi:{entry.doi}" if entry.doi else ""
    return f"""# {file}

{entry.title}.{reference}
{rendered}
## Data

{where}: {record["clips"]} clips of {record["subjects"]} subjects ({counts}); digest `{record["data"]}`.
The terms of the data set apply to weights trained on it.

## Accuracy

All clips were trained on, so nothing was left to measure accuracy with. Evaluate the same settings under
leave-one-subject-out for that: `microexpr evaluate {name} {record["dataset"]}{options}`.

## Intended use

Research on facial micro-expressions. Not for lie detection, and not for any decision about a person: a class is a guess
about a movement of the skin, not about what somebody feels or thinks. Probabilities are not calibrated.

## Settings

| setting | value |
|---|---|
{settings}

Versions: {versions}.
"""
