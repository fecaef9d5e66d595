"""Pictures and flow fields on disk.

Every write goes to a temporary name in the same folder and is then renamed, so a reader never meets half a file.
"""

from __future__ import annotations

import contextlib
import io
import uuid
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from microexpr.errors import BadInput
from microexpr.motion.color import flow_to_color

FLO_MAGIC = np.float32(202021.25)  # the bytes "PIEH" when written little endian
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name beside it and renames it into place.

    Raises:
        OSError: it can't be written; nothing is left behind and an older file stays as it was.
    """
    temporary = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)  # not tempfile, whose files only their owner can read
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_picture(path: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    """A picture file (png, jpg, bmp, tif) as RGB, turned upright as its EXIF says; gray is repeated, alpha dropped.

    Raises:
        BadInput: no such file, not a whole picture, or more than 8 bits a channel (how many of them the camera used is
            not in the file, so any conversion would be a guess).
    """
    import cv2

    content = _read_bytes(path, "a picture file")
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:  # an empty file, or one whose header promises more pixels than OpenCV allows
        picture = None
    if picture is None:
        kinds = " ".join(PICTURE_SUFFIXES)
        raise BadInput("a picture file", f"{path}, which can't be decoded", f"give a whole {kinds} file")
    if picture.dtype != np.uint8:
        raise BadInput(
            "a picture of 8 bits a channel",
            f"{path} with {picture.dtype} values",
            "convert it to 8 bits with the range that the camera used (0..4095 for 12 bits)",
        )
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def write_picture(path: str | Path, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
    """Writes an RGB picture in the format that the suffix names: png, bmp and tif exactly, jpg with loss.

    Raises:
        BadInput: another suffix, or the file can't be written.
    """
    import cv2

    suffix = Path(path).suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise BadInput(f"a picture suffix ({' '.join(PICTURE_SUFFIXES)})", f"{path}", "rename the file")
    _, content = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    write_file(path, content.tobytes())


def read_flo(path: str | Path) -> Float32[np.ndarray, "2 h w"]:
    """A flow field in the Middlebury .flo format: u right, v down, pixels (Baker et al. 2011).

    Little endian: float32 202021.25, int32 width, int32 height, then u and v by turns as float32, row by row.

    Raises:
        BadInput: no such file, no .flo file, or not as long as its header says.
    """
    content = _read_bytes(path, "a .flo file")
    if len(content) < 12 or np.frombuffer(content, "<f4", count=1)[0] != FLO_MAGIC:
        raise BadInput("a Middlebury .flo file", f"{path}, which does not begin like one", "check the file")
    width, height = (int(number) for number in np.frombuffer(content, "<i4", count=2, offset=4))
    if width < 1 or height < 1 or len(content) != 12 + 8 * width * height:
        raise BadInput(
            "a whole .flo file",
            f"{path}, {len(content)} bytes for a field of {width}x{height}",
            "write or download it again",
        )
    interleaved = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2)
    return np.ascontiguousarray(interleaved.transpose(2, 0, 1), np.float32)


def write_flo(path: str | Path, flow: Float[np.ndarray, "2 h w"]) -> None:
    """Writes a flow field in the Middlebury .flo format, bit by bit as float32; see `read_flo`.

    Raises:
        BadInput: the file can't be written.
    """
    _, height, width = flow.shape
    header = FLO_MAGIC.astype("<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    write_file(path, header + flow.transpose(1, 2, 0).astype("<f4").tobytes())


FLOW_SUFFIXES = (".flo", ".npy", ".png")


def check_flow_suffix(path: str | Path) -> None:
    """Raises BadInput where `save_flow` does not know the suffix; to be asked before a flow is computed."""
    if Path(path).suffix.lower() not in FLOW_SUFFIXES:
        raise BadInput("a flow file ending in .flo, .npy or .png", f"{path}", "choose one of these suffixes")


def save_flow(path: str | Path, flow: Float[np.ndarray, "2 h w"]) -> None:
    """Writes a flow field as its suffix says: .flo (Middlebury), .npy ("2 h w") or .png (the color picture).

    Raises:
        BadInput: another suffix, or the file can't be written.
    """
    check_flow_suffix(path)
    suffix = Path(path).suffix.lower()
    if suffix == ".flo":
        write_flo(path, flow)
    elif suffix == ".npy":
        content = io.BytesIO()
        np.save(content, flow, allow_pickle=False)
        write_file(path, content.getvalue())
    else:
        write_picture(path, flow_to_color(flow))


def _read_bytes(path: str | Path, expected: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadInput(expected, f"{path} ({error.strerror or error})", "check the path") from error


def write_file(path: str | Path, content: bytes) -> None:
    """`replace_file` for what a user asked for: a place that can't be written is BadInput."""
    try:
        replace_file(Path(path), content)
    except OSError as error:
        raise BadInput(
            "a file that can be written",
            f"{path} ({error.strerror or error})",
            "make its folder first, or choose another one",
        ) from error
