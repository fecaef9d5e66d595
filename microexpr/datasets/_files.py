"""Pictures on a disk: the numbered files of a clip, listed without opening one and decoded when asked for.

File names are never composed: the folder is listed and the numbers are parsed, because the width of a number differs
between clips, and even within one.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from microexpr.errors import BadInput

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})
# What a frame shows; see `NumberedFrames.shows`.
SHOWS = ("frame", "crop")
LAST_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class NumberedFrames:
    """The pictures of one clip by the numbers of their files.

    A number between the first and the last that has no file gives the frame before it: recordings drop frames.

    Attributes:
        folder: where they lie.
        numbers: in their order.
        names: of the files, in the same order.
        shows: ``"frame"``, the whole picture of the camera, or ``"crop"``, a face that the data set's authors cut out.
    """

    folder: Path
    numbers: tuple[int, ...]
    names: tuple[str, ...]
    shows: str = "frame"

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, number: int) -> UInt8[np.ndarray, "h w 3"]:
        """One frame, RGB; gray pictures have three equal channels.

        Raises:
            BadInput: the number lies outside the clip's files, or the file is no picture.
        """
        import cv2

        file = self.file(number)
        content = np.frombuffer(self.content(number) or b"\0", np.uint8)
        picture = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if picture is None:
            raise BadInput("a picture", f"{file}, which can't be decoded", "copy the file again")
        return np.ascontiguousarray(picture[..., ::-1])

    def file(self, number: int) -> Path:
        """The file that a number is read from: its own, or that of the frame before it.

        Raises:
            BadInput: the number lies outside the clip's files.
        """
        if not self.numbers or not self.numbers[0] <= number <= self.numbers[-1]:
            found = f"{self.numbers[0]} to {self.numbers[-1]}" if self.numbers else "none"
            raise BadInput(f"frame {number} in {self.folder}", f"frames {found}", "check the annotation of this clip")
        return self.folder / self.names[bisect_right(self.numbers, number) - 1]

    def content(self, number: int) -> bytes:
        """What the file of a frame holds: says what the frame is without decoding it.

        Raises:
            BadInput: it can't be read.
        """
        file = self.file(number)
        try:
            return file.read_bytes()
        except OSError as error:
            came = f"{file}: {error.strerror}"
            raise BadInput("a file that can be read", came, "copy it again or mend its permissions") from error


def frames_in(folder: Path, pattern: re.Pattern[str] = LAST_NUMBER, shows: str = "frame") -> NumberedFrames | None:
    """The pictures of a folder by number; None where there is no such folder or no picture in it.

    Other files (``Thumbs.db``, links, ``._img1.jpg`` and other hidden ones) are not looked at.

    Args:
        folder: of one clip.
        pattern: is searched in the name without its ending; its first group is the number.
        shows: see `NumberedFrames`.

    Raises:
        BadInput: two files have one number.
    """
    found: dict[int, str] = {}
    for name in entries(folder):
        stem, ending = os.path.splitext(name)  # noqa: PTH122 - a Path for each of thousands of names takes seconds
        if ending.lower() not in PICTURES or name.startswith("."):
            continue
        if match := pattern.search(stem):
            number = int(match[1])
            if number in found:
                came = f"{found[number]} and {name} in {folder}"
                raise BadInput("one picture for each frame number", came, "keep the one that was distributed")
            found[number] = name
    if not found:
        return None
    numbers = sorted(found)
    return NumberedFrames(folder, tuple(numbers), tuple(found[number] for number in numbers), shows)


def entries(folder: Path, folders_only: bool = False) -> list[str]:
    """Names in a folder, or those of the folders in it; none where there is no such folder."""
    try:
        # What a name is comes with the listing: asking of each of thousands of files takes seconds.
        with os.scandir(folder) as inside:
            return [entry.name for entry in inside if not folders_only or entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise BadInput(f"to read {folder}", error.strerror or str(error), "mend its permissions") from error


def folders_by_name(folder: Path) -> dict[str, Path]:
    """The folders in a folder by their names in lower case: some copies change upper and lower case.

    Raises:
        BadInput: two differ in case only.
    """
    found: dict[str, Path] = {}
    for name in sorted(entries(folder, folders_only=True)):
        if name.startswith((".", "__MACOSX")):
            continue
        if other := found.get(name.lower()):
            raise BadInput(f"one folder {name} in {folder}", f"also {other.name}", "keep the one that was distributed")
        found[name.lower()] = folder / name
    return found


def inner(root: Path, *names: str) -> Path | None:
    """The first of some folders that is there, in any case; entered twice where an archive nests a folder in itself.

    Args:
        root: where to look.
        names: of folders, or of folders in folders ("HS_long/SMIC-HS-E"), the preferred one first.
    """
    for name in names:
        place: Path | None = root
        for part in name.split("/"):
            place = None if place is None else folders_by_name(place).get(part.lower())
            if place is not None:
                place = folders_by_name(place).get(part.lower(), place)
        if place is not None:
            return place
    return None


def described(root: Path, shown: int = 4) -> str:
    """What lies in a folder, for a message."""
    names = sorted(name for name in entries(root) if not name.startswith("."))
    if not names:
        return "an empty folder"
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
