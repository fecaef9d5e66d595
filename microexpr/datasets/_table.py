"""Annotation tables: the cells of a workbook as they were typed, with the rows' numbers for messages."""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microexpr.datasets._files import described, entries
from microexpr.errors import BadInput


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        number: as a spreadsheet counts, from 1.
        cells: column -> value; text as typed, a number where the cell holds one, None where it is empty.
        place: "file, row n", for messages.
    """

    number: int
    cells: Mapping[str, Any]
    place: str

    def text(self, column: str) -> str:
        """A cell as text without blanks around it; a whole number without decimals; empty where there is nothing."""
        value = self.cells.get(column)
        if value is None:
            return ""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return str(value).strip()

    def number_in(self, column: str) -> float | None:
        """A cell as a number, also where it was stored as text; None where it is none, as ``/`` or ``MISSING``."""
        try:
            value = float(self.text(column))
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    def whole(self, column: str) -> int | None:
        """A cell as a whole number; None where it is none or has a fraction."""
        value = self.number_in(column)
        return int(value) if value is not None and value == int(value) else None


def sheet(file: Path, names: Sequence[str] = ()) -> list[tuple[int, tuple[Any, ...]]]:
    """The rows of a sheet that are not empty: (number of the row, values); formulas as the values they had when saved.

    Args:
        file: .xlsx.
        names: of the sheet, the preferred one first; empty for the first sheet.

    Raises:
        BadInput: the file is no workbook or has no such sheet.
    """
    rows = _rows(file, names, computed=True)
    return [(number, values) for number, values in rows if any(value is not None for value in values)]


def table(file: Path, columns: Sequence[str], names: Sequence[str] = ()) -> list[Row]:
    """The rows under the header, which is the first row that names all of `columns` (upper or lower case).

    Columns without a name are left out; what stands above the header is passed over.

    Args:
        file, names: as for `sheet`.
        columns: that must be there.

    Raises:
        BadInput: no row names them all, the file was saved without the values of formulas in these columns, or as for
            `sheet`.
    """
    rows = sheet(file, names)
    wanted = {name.lower(): name for name in columns}
    titles: list[str] = []
    while rows and not titles:
        _, values = rows.pop(0)
        header = [str(value).strip() if value is not None else "" for value in values]
        if wanted.keys() <= {name.lower() for name in header}:
            titles = [wanted.get(name.lower(), name) for name in header]
    if not titles:
        seen = [str(value) for value in next(iter(sheet(file, names)), (0, ()))[1] if value is not None]
        came = f"{', '.join(seen[:8]) or 'an empty sheet'} in {file}"
        raise BadInput(f"the columns {', '.join(columns)}", came, "give the table as it was distributed")
    found = [Row(number, _by_title(titles, values), f"{file}, row {number}") for number, values in rows]
    _require_computed(file, names, columns, titles, found)
    return found


def _by_title(titles: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return {title: value for title, value in zip(titles, values, strict=False) if title}


def _require_computed(
    file: Path, names: Sequence[str], columns: Sequence[str], titles: Sequence[str], rows: Sequence[Row]
) -> None:
    """Raises BadInput where a formula has no value: a program that is no spreadsheet saved the file."""
    lacking = [row for row in rows if any(row.cells.get(column) is None for column in columns)]
    formulas = dict(_rows(file, names, computed=False)) if lacking else {}
    for row in lacking:
        typed = _by_title(titles, formulas.get(row.number, ()))
        for column in columns:
            if row.cells.get(column) is None and str(typed.get(column) or "").startswith("="):
                came = f"{row.place}, column {column}: a formula that was never computed"
                raise BadInput("numbers", came, "open the file in a spreadsheet program and save it")


def find_table(root: Path, releases: Mapping[str, Sequence[str]], release: str = "") -> tuple[str, Path]:
    """The annotation table of a release.

    Args:
        root: the folder it lies in, or in one of whose folders.
        releases: name of a release -> names of its file, in lower case.
        release: which one; empty takes the only one that is there.

    Returns:
        The release and its file.

    Raises:
        BadInput: no such table; or several releases, and none was asked for.
    """
    known = ", ".join(releases)
    if release and release not in releases:
        raise BadInput(f"a release of the table: {known}", repr(release), "set release to one of them")
    found = releases_in(root, releases)
    wanted = [release] if release else list(releases)
    usable = {name: file for name, file in found.items() if name in wanted}
    if not usable:
        spelled = " or ".join(files[0] for name, files in releases.items() if name in wanted)
        came = ", ".join(sorted(file.name for file in _present(root).values())) or described(root)
        names = {file for name in wanted for file in releases[name]}
        above = next((place for place in (root.parent, root.parent.parent) if names & _present(place).keys()), None)
        advice = f"give {above}, which holds it" if above else "put it there as it was distributed"
        raise BadInput(f"the table {spelled} in {root}", came, advice)
    if len(usable) > 1:
        files = ", ".join(file.name for file in usable.values())
        raise BadInput(
            f"one release of the table in {root}", files, f"say which: release={' or release='.join(usable)}"
        )
    return next(iter(usable.items()))


def releases_in(root: Path, releases: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """The releases of a table that are there -> their files; `root` and `releases` as for `find_table`."""
    present = _present(root)
    return {name: present[file] for name, files in releases.items() for file in reversed(files) if file in present}


def _present(root: Path) -> dict[str, Path]:
    """The workbooks in a folder and in its folders, by name in lower case; those nearer the root count."""
    places = [root, *(root / name for name in sorted(entries(root)) if not name.startswith("."))]
    found: dict[str, Path] = {}
    for place in places:
        for name in sorted(entries(place)):
            if name.lower().endswith((".xlsx", ".xls")) and not name.startswith((".", "~$")):
                found.setdefault(name.lower(), place / name)
    return found


def _rows(file: Path, names: Sequence[str], computed: bool) -> list[tuple[int, tuple[Any, ...]]]:
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    advice = "copy it again, as it was distributed"
    if file.suffix.lower() == ".xls":
        raise BadInput(f"a workbook of the newer kind (.xlsx) at {file}", ".xls", "save it as .xlsx beside it")
    damaged = (OSError, KeyError, ValueError, EOFError, SyntaxError, zlib.error, zipfile.BadZipFile)
    try:
        # Sheets are parsed when their rows are asked for: a damaged one is noticed there.
        with contextlib.closing(openpyxl.load_workbook(file, read_only=True, data_only=computed)) as book:
            by_name = {name.lower().strip(): name for name in book.sheetnames}
            chosen = next((by_name[name.lower()] for name in names if name.lower() in by_name), None)
            if chosen is None and names:
                raise BadInput(f"a sheet {' or '.join(names)} in {file}", ", ".join(book.sheetnames), advice)
            page = book[chosen or book.sheetnames[0]]
            page.reset_dimensions()  # some programs write a wrong extent, behind which rows would be lost
            return [(number, tuple(row)) for number, row in enumerate(page.iter_rows(values_only=True), start=1)]
    except (*damaged, InvalidFileException) as error:
        raise BadInput(f"a workbook (.xlsx) at {file}", f"a file that can't be read ({error})", advice) from error
