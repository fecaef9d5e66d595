"""Which folder was meant: what to say where the root of a data set was expected and something else was given.

Folders above, in and beside the given one are looked at to write a message, never to read a data set from them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from microexpr.datasets._files import described, entries
from microexpr.errors import BadInput

ABOVE = 7  # folders that are looked at on the way up: as deep as a picture lies
LOOKED_AT = 300  # folders within the given one, and as many beside it


@dataclass(frozen=True)
class Known:
    """How a root is recognized.

    Attributes:
        title: of the data set, as people call it.
        signs: names in its root, in lower case; all names of one sign must be there.
    """

    title: str
    signs: tuple[frozenset[str], ...]


def _known(title: str, *signs: str) -> Known:
    return Known(title, tuple(frozenset(sign.split(" + ")) for sign in signs))


# Copies of SAMM Long Videos hold the table of SAMM, too: they come first.
KNOWN = {
    "samm-lv": _known(
        "SAMM Long Videos", "samm_longvideos", *(f"samm_longvideos_v{number}_release.xlsx" for number in (1, 2, 3))
    ),
    "samm": _known("SAMM", "samm_micro_facs_codes_v2.xlsx", "samm_20181215_micro_facs_codes_v2.xlsx"),
    "smic": _known("SMIC", "smic_all_raw", "smic_all_cropped", "smic-e_raw image", "smic-e_raw_image", "hs_long"),
    "casme2": _known(
        "CASME II",
        *("casme2-coding-20140508.xlsx", "casme2-coding-20190701.xlsx"),
        *("casme2_raw_selected", "casme2-raw_selected", "casme2-raw", "casme2_raw"),
    ),
    "casme3": _known(
        "CAS(ME)^3",
        *("annotation + part_a", "annotation + part_a_me_clip", "annotation + part_c"),
        *("cas(me)3_part_a_me_label_jpgindex_v2.xlsx + part_a", "cas(me)3_part_c_me.xlsx + part_c"),
    ),
    "casme-sq": _known(
        "CAS(ME)^2",
        *("rawpic", "selectedpic", "code_final.xlsx"),
        *("cas(me)^2code_final.xlsx", "cas(me)^2code_final(updated).xlsx"),
    ),
    "mmew": _known("MMEW", "micro_expression", "macro_expression", "mmew_micro_exp.xlsx", "mmew_micro_exp_v2.xlsx"),
    "casme": _known(
        "CASME",
        *("casme_raw_selected", "casme_cropped_selected", "casme.xlsx", "casme.xls"),
        *("casme-coded-20190721.xlsx", "casme-coded-20190721.xls"),
    ),
    "4dme": _known(
        "4DME", "gray_micro", "4dme_labelling_micro_release v1.xlsx", "4dme_labelling_micro_release_v1.xlsx"
    ),
    "dfme": _known("DFME", "dfme_train", "dfme_testa", "dfme_testb", "training_full_with_au.xlsx"),
    "megc2019-flow": _known("the flow maps of MEGC 2019", "combined_3_class2_for_optical_flow.csv"),
}


def require_tree(
    name: str, root: Path, folder: Path | None, expected: str, near: Mapping[str, str] | None = None
) -> Path:
    """The folder of a tree that an adapter reads, where it is there.

    Args:
        name: of the data set, as registered.
        root: as given.
        folder: of the tree; None where there is none.
        expected: the trees in words.
        near: a name in the root -> what to do where it is there instead.

    Raises:
        BadInput: there is none; the message says which folder to give where one can be seen nearby.
    """
    if folder is not None:
        return folder
    inside = _names(root)
    special = (advice for sign, advice in (near or {}).items() if sign.lower() in inside)
    raise BadInput(f"{expected} in {root}", described(root), next(special, None) or advice(name, root))


def others(root: Path, trees: Mapping[str, Path | None]) -> dict[str, str]:
    """What `require_tree` should say where another tree of the set is there: its folder in the root -> advice."""
    there = {tree: folder for tree, folder in trees.items() if folder}
    return {folder.relative_to(root).parts[0]: f"set tree={tree}, which is there" for tree, folder in there.items()}


def advice(name: str, root: Path) -> str:
    """What to do where the root of a data set is something else.

    Args:
        name: of the data set, as registered.
        root: the folder that was given for it.
    """
    title = KNOWN[name].title
    if _shows(name, root):
        return "copy it there, as it was distributed"
    meant = next((place for place in _around(root) if _shows(name, place)), None)
    lineage = itertools.islice((root, *root.parents), 3)
    other = next((one for place in lineage for one in KNOWN if one != name and _shows(one, place)), None)
    if other is None:
        return "give the folder that holds them" if meant is None else f"give {meant}"
    this = f"this is {KNOWN[other].title}"
    return f"{this}: name the data set {other}, or give {title if meant is None else meant}"


def _shows(name: str, place: Path) -> bool:
    inside = _names(place)
    return any(sign <= inside for sign in KNOWN[name].signs)


def _around(root: Path) -> Iterator[Path]:
    """The folders above, those in the given one, those in these, and those beside it."""
    yield from itertools.islice(root.parents, ABOVE)
    children = list(itertools.islice(_folders([root]), LOOKED_AT))
    yield from children
    yield from itertools.islice(_folders(children), LOOKED_AT)
    yield from itertools.islice(_folders([root.parent]), LOOKED_AT)


def _folders(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        yield from (place / name for name in sorted(_entries(place, folders_only=True)) if not name.startswith("."))


def _names(place: Path) -> set[str]:
    return {name.lower() for name in _entries(place)}


def _entries(place: Path, folders_only: bool = False) -> list[str]:
    """What lies in a folder; nothing where it can't be looked into."""
    try:
        return entries(place, folders_only)
    except BadInput:
        return []
