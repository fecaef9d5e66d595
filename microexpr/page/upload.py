"""Whether what came in is a video that the page takes, asked before a frame of it is decoded for good.

FFmpeg reads some 350 formats. Among them are lists of other files and addresses, which would have it open those, and
plain text; and a picture of a megabyte may unpack to gigabytes. So only formats that hold moving pictures themselves
are let in, and the size of a frame is limited before there is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from microexpr.errors import BadInput
from microexpr.page.limits import Limits
from microexpr.video.source import open_source

if TYPE_CHECKING:
    from av.container import InputContainer

# FFmpeg's names of what cameras, phones and screen recorders write; none of them opens another file.
FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "asf", "flv", "ogg", "nut", "mxf", "ivf"),
    *("mpeg", "mpegts", "mpegvideo", "m4v", "h264", "hevc", "obu", "mjpeg", "dv", "gif", "yuv4mpegpipe", "cine", "wtv"),
)


def describe(file: Path, limits: Limits) -> list[str]:
    """Size and rate of an uploaded video, in words.

    Raises:
        BadInput: it is no video, or larger than the limits.
    """
    if file.stat().st_size:  # of an empty one the source says so
        _check(file, limits)
    source = open_source(file)
    limits.check_video(source.size, source.expected)
    rate = [f"{source.header_fps:.4g} frames a second"] if source.header_fps else []
    return [f"{source.size[0]} x {source.size[1]}", *rate]


def _check(file: Path, limits: Limits) -> None:
    import av

    most = {"max_pixels": str(limits.pixels)}
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file", **most}
    try:
        container = av.open(f"file:{file}", options=options)
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        advice = "give a whole MP4, MOV, Matroska, WebM, AVI or MPEG file, or convert it to one"
        raise BadInput("a video file", f"{file.name}, which can't be read ({reason})", advice) from error
    with container:
        try:
            _check_pictures(container, limits, most)
        except av.error.ArgumentError as error:
            wanted = f"frames of at most {limits.megapixels:g} megapixels"
            raise BadInput(wanted, f"{file.name}, whose frames are larger or broken", "make them smaller") from error
        except av.error.FFmpegError:
            pass  # it is damaged somewhere; the source says how, or gets along with it


def _check_pictures(container: InputContainer, limits: Limits, most: dict[str, str]) -> None:
    """Decodes until there is one frame, with a decoder that refuses too large ones: headers may say anything."""
    import av

    for stream in container.streams.video:
        if stream.disposition & av.stream.Disposition.attached_pic:  # the cover of a sound file
            continue
        context = stream.codec_context
        limits.check_video((context.width, context.height), None)
        context.options = most
        for packet in container.demux(stream):
            try:
                if stream.decode(packet):
                    break
            except av.error.InvalidDataError:
                continue
        return
