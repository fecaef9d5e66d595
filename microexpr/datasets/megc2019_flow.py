"""The published flow maps of the MEGC 2019 composite set: the paper's 3DB, without a face in it.

442 pictures of 28x28, red = u (right), green = v (down), blue = optical strain, TV-L1 flow from onset to apex, each
channel min-max normalized to 0..255 on its own after the resize. Amplitude is lost, and the grey value of zero motion
differs from map to map.

Two arrangements are read, both to the same clips in the same (the official) order:

- flat: one folder of pictures ``{subject}_{clip} .png`` (with the space) and the list
  ``combined_3_class2_for_optical_flow.csv`` in the root;
- by fold: ``<subject>/u_test/<label>/*.png``, label 0 negative, 1 positive, 2 surprise.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from microexpr.datasets._survey import Finding
from microexpr.errors import BadInput
from microexpr.types import Clip, FlowMap

CITATION = (
    "See, Yap, Li, Hong, Wang: MEGC 2019, the second facial micro-expressions grand challenge, IEEE FG 2019, "
    "doi:10.1109/FG.2019.8756611; maps: Liong, Gan, See, Khor, Huang: Shallow triple stream three-dimensional CNN "
    "(STSTNet) for micro-expression recognition, IEEE FG 2019, doi:10.1109/FG.2019.8756567"
)
LICENCE = (
    "no licence is stated for the maps; the recordings behind them (SMIC, CASME II, SAMM) are licensed for "
    "academic research"
)
HOW_TO_GET = (
    "the maps are the input released by the authors of STSTNet, redistributed with HTNet "
    "(github.com/wangzhifengharrison/HTNet, folder datasets/)"
)
EXPECTED_TREE = (
    "combined_3_class2_for_optical_flow.csv beside a folder of 442 '{subject}_{clip} .png', "
    "or 68 folders '<subject>/u_test/<label>/*.png'"
)
WHAT = "published 28x28 flow maps of the MEGC 2019 composite set, the paper's 3DB"
CARRIES = ("flow",)
CLIPS = 442
SUBJECTS = 68

TABLE = "combined_3_class2_for_optical_flow.csv"
EMOTIONS = ("negative", "positive", "surprise")  # the labels 0, 1, 2
DATABASES = ("casme2", "smic", "samm")  # the official order
FRAMES_A_SECOND = {"casme2": 200.0, "smic": 100.0, "samm": 200.0}
# Table 2 of Li et al. 2021: clips per class (negative, positive, surprise) and subjects of each database.
COUNTS = {"casme2": (88, 32, 25), "smic": (70, 51, 43), "samm": (92, 26, 15)}
SUBJECT_COUNTS = {"casme2": 24, "smic": 16, "samm": 28}
SIZE = 28

# One map: database, subject, clip, label, file.
_Row = tuple[str, str, str, int, Path]


def read(root: Path) -> list[Clip]:
    """All 442 clips in the official order.

    Args:
        root: folder in either arrangement.

    Raises:
        BadInput: a map is missing, unlisted, unreadable or of another size, or the counts are not those of Table 2.
    """
    table = root / TABLE
    rows = list(_flat_rows(root, table)) if table.is_file() else list(_fold_rows(root))
    _check_counts(rows, root)
    rows.sort(key=lambda row: (DATABASES.index(row[0]), row[1], row[2]))
    return [_clip(*row) for row in rows]


def oddities(clips: Sequence[Clip]) -> Iterator[Finding]:
    """What is odd in the maps as they were published, and what is done about it."""
    maps = [(clip.key, clip.flow.channels.reshape(3, -1)) for clip in clips if clip.flow is not None]
    plain = [key for key, channels in maps if (channels.min(1) > 0).any() or (channels.max(1) < 255).any()]
    yield Finding(
        "note",
        "the maps",
        f"{len(maps) - len(plain)} of {len(maps)} with each channel stretched to 0..255: no gray value means rest",
        "methods center each map on its own median",
    )
    if plain:
        what = f"{len(plain)} maps with a channel that does not reach from 0 to 255, which all published ones do"
        yield Finding("warning", plain[0], what, "used as they are; see that the files are the published ones")
    yield Finding("note", "the maps", "published without onset, apex and offset", "clips have no frame numbers")


def _clip(database: str, subject: str, name: str, label: int, file: Path) -> Clip:
    return Clip(
        key=f"{database}/{subject}/{name}",
        dataset=database,
        subject=f"{database}/{subject}",
        emotion=EMOTIONS[label],
        onset=None,  # the maps were published without their frame numbers
        apex=None,
        offset=None,
        fps=FRAMES_A_SECOND[database],
        flow=FlowMap(_read_map(file)),
    )


def _read_map(file: Path) -> UInt8[np.ndarray, "3 28 28"]:
    import cv2

    try:
        content = np.frombuffer(file.read_bytes() or b"\0", np.uint8)
    except OSError as error:
        raise BadInput("a file that can be read", f"{file}: {error.strerror}", "mend its permissions") from error
    picture = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise BadInput("a PNG picture", f"{file}, which can't be decoded", "copy the file again")
    if picture.shape[:2] != (SIZE, SIZE):
        height, width = picture.shape[:2]
        raise BadInput(f"{SIZE}x{SIZE} pixels", f"{width}x{height} in {file}", "use the maps as they were published")
    if picture.shape[2:] != (3,) or picture.dtype != np.uint8:
        kind = f"{picture.dtype} with {picture.shape[2] if picture.ndim == 3 else 1} channels"
        raise BadInput(
            "a picture of 8 bits with 3 channels", f"{kind} in {file}", "use the maps as they were published"
        )
    # OpenCV decodes to blue, green, red = strain, v, u.
    return np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1))


def _flat_rows(root: Path, table: Path) -> Iterator[_Row]:
    maps: dict[str, Path] = {}
    for file in [*root.glob("*.png"), *root.glob("*/*.png")]:
        if other := maps.get(file.stem.rstrip()):
            raise BadInput("every map once", f"{other} and {file}", "keep the folder of the published maps only")
        maps[file.stem.rstrip()] = file
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("a list that can be read as UTF-8", f"{table}: {error}", "use the published list") from error
    with io.StringIO(text, newline="") as stream:
        reader = csv.DictReader(stream)
        columns = {"dataset", "sub", "filename_o", "label"}
        if not columns <= set(reader.fieldnames or ()):
            raise BadInput(
                f"the columns {', '.join(sorted(columns))}",
                f"{', '.join(reader.fieldnames or ()) or 'nothing'} in {table}",
                "use the published list",
            )
        listed = list(reader)
    missing = [
        f"{row['sub']}_{row['filename_o']} .png" for row in listed if f"{row['sub']}_{row['filename_o']}" not in maps
    ]
    if missing:
        raise BadInput(
            f"a map for each of the {len(listed)} rows of {TABLE}",
            f"{len(missing)} without a file under {root}, the first {missing[0]!r}",
            "copy the folder whole",
        )
    unlisted = set(maps) - {f"{row['sub']}_{row['filename_o']}" for row in listed}
    if unlisted:
        raise BadInput(
            f"a row of {TABLE} for each map",
            f"{len(unlisted)} maps without one, the first {maps[min(unlisted)].name!r}",
            "use the published list and maps together",
        )
    for number, row in enumerate(listed, start=2):
        if row["dataset"] not in DATABASES or row["label"] not in ("0", "1", "2"):
            raise BadInput(
                f"a dataset of {', '.join(DATABASES)} and a label 0, 1 or 2",
                f"{row['dataset']!r} and {row['label']!r} in line {number} of {table}",
                "use the published list",
            )
        name = row["filename_o"]
        yield row["dataset"], row["sub"], name, int(row["label"]), maps[f"{row['sub']}_{name}"]


def _fold_rows(root: Path) -> Iterator[_Row]:
    files = sorted(root.glob("*/u_test/[012]/*.png"))
    if not files:
        raise BadInput(f"{EXPECTED_TREE} in {root}", _describe(root), "give the folder that holds them")
    for file in files:
        subject, label = file.parts[-4], int(file.parts[-2])
        if not file.stem.startswith(f"{subject}_"):
            raise BadInput(
                f"maps of subject {subject} in {file.parent}", file.name, "use the maps as they were published"
            )
        yield _database(subject, file), subject, file.stem.rstrip()[len(subject) + 1 :], label, file


def _database(subject: str, file: Path) -> str:
    """The folders by fold do not name the database; its way of writing subjects does."""
    for database, pattern in (("casme2", r"sub\d\d"), ("smic", r"s\d\d"), ("samm", r"\d\d\d")):
        if re.fullmatch(pattern, subject):
            return database
    raise BadInput(
        "a subject like sub01, s01 or 006", f"{subject!r} in {file}", "use the folders as they were published"
    )


def _describe(root: Path) -> str:
    names = sorted(entry.name for entry in root.iterdir())
    if not names:
        return "an empty folder"
    maps = sum(1 for _ in root.rglob("*.png"))
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} entries ({shown}) and {maps} PNG files below them but no {TABLE}"


def _check_counts(rows: list[_Row], root: Path) -> None:
    """Table 2 of the paper, or a line that says where the copy falls short."""
    duplicates = [key for key, count in Counter(row[:3] for row in rows).items() if count > 1]
    if duplicates:
        raise BadInput("every clip once", f"{'/'.join(duplicates[0])} twice in {root}", "use the published list")
    for database in DATABASES:
        of_database = [row for row in rows if row[0] == database]
        found = tuple(sum(row[3] == label for row in of_database) for label in range(3))
        subjects = len({row[1] for row in of_database})
        if found != COUNTS[database] or subjects != SUBJECT_COUNTS[database]:
            raise BadInput(
                f"{_counts(COUNTS[database])} clips of {SUBJECT_COUNTS[database]} subjects in {database} "
                "(negative-positive-surprise, Table 2)",
                f"{_counts(found)} of {subjects} in {root}",
                "copy the data set whole",
            )


def _counts(counts: tuple[int, ...]) -> str:
    return "-".join(str(count) for count in counts)
