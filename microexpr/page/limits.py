"""What the page accepts, and for how long it keeps it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from microexpr.errors import BadInput

SLOWEST, FASTEST = 1.0, 10_000.0  # frames a second of cameras; far beyond them nothing is a movement


@dataclass(frozen=True)
class Limits:
    """Settings of the page that keep one visitor from taking all of the machine.

    Attributes:
        upload_megabytes: size of a video, in millions of bytes.
        frames: of a video; as many as ten minutes have at 200 frames a second.
        megapixels: of a frame; 4K has 8.3.
        workers: videos that are worked on at once.
        waiting: videos that may wait for a worker.
        idle_minutes: after so long without use, what a visitor left is removed although the page is open.

    Raises:
        BadInput: one of them is not a positive number.
    """

    upload_megabytes: float = 500.0
    frames: int = 120_000
    megapixels: float = 9.0
    workers: int = 2
    waiting: int = 8
    idle_minutes: float = 120.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not (math.isfinite(value) and value > 0):
                raise BadInput(f"a positive limit {one.name}", str(value), "leave it out to have the usual one")

    @property
    def upload_bytes(self) -> int:
        return round(1e6 * self.upload_megabytes)

    @property
    def pixels(self) -> int:
        return round(1e6 * self.megapixels)

    def check_bytes(self, count: int) -> None:
        """Raises BadInput for a file of more bytes."""
        if count > self.upload_bytes:
            came = f"one of {count / 1e6:,.0f} MB" if count < 1e12 else "a larger one"
            raise BadInput(f"a video of at most {self.upload_megabytes:g} MB", came, "cut it or use the command line")

    def check_video(self, size: tuple[int, int], frames: int | None) -> None:
        """Raises BadInput for a video whose frames are larger, or that says that it is longer.

        Args:
            size: of a frame, width and height.
            frames: as many as the file says that it has; None where it does not say.
        """
        width, height = size
        if width * height > self.pixels:
            came = f"{width}x{height}"
            raise BadInput(f"frames of at most {self.megapixels:g} megapixels", came, "make them smaller")
        self.check_frames(frames or 0)

    def check_frames(self, count: int) -> None:
        """Raises BadInput for more frames."""
        if count > self.frames:
            came = f"{count:,} or more"
            raise BadInput(f"a video of at most {self.frames:,} frames", came, "cut it or use the command line")


def typed_rate(words: str | None) -> float | None:
    """Frames a second as they were typed; None where nothing was.

    Raises:
        BadInput: it is no number, or none that a camera has.
    """
    if not (words := (words or "").strip()):
        return None
    try:
        rate = float(words.replace(",", "."))
    except ValueError:
        rate = math.nan
    if not SLOWEST <= rate <= FASTEST:
        wanted = f"the camera's frames a second, a number from {SLOWEST:g} to {FASTEST:g}"
        raise BadInput(wanted, repr(words[:40]), "type e.g. 200, or leave it empty")
    return rate
