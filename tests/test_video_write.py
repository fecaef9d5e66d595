"""Video files as they were meant: every frame at its time, or nothing at all."""

import itertools

import av
import cv2
import numpy as np
import pytest

from microexpr.errors import BadInput
from microexpr.video import write
from microexpr.video.source import open_source
from microexpr.video.write import VideoWriter, unfinished
from tests import recordings

PICTURES = [cv2.resize(recordings.FRAMES.read(number), (96, 72)) for number in range(100, 190, 10)]
# Uneven on purpose: seconds between frames from 4 to 40 ms.
TIMES = np.cumsum([0.0, 0.005, 0.004, 0.04, 0.005, 0.005, 0.0123, 0.005, 0.02]).tolist()
HERE = [codec for codec in write.ENCODERS if codec in av.codecs_available]


def written(path, pictures=PICTURES, times=TIMES, **more):
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, (width, height), 200.0, **more) as writer:
        for picture, seconds in zip(pictures, times, strict=True):
            writer.write(picture, seconds)
    return path


def read(path):
    source = open_source(path)
    return source, list(source.frames())


@pytest.mark.parametrize("codec", HERE)
@pytest.mark.parametrize("start", [0.0, 0.35])
def test_frames_come_back_at_their_times(tmp_path, monkeypatch, codec, start):
    monkeypatch.setattr(write, "ENCODERS", (codec,))
    times = [start + seconds for seconds in TIMES]
    source, frames = read(written(tmp_path / "a.mp4", times=times))
    assert source.size == (96, 72)
    np.testing.assert_allclose([frame.seconds for frame in frames], times, atol=0.6 / write.TICKS)
    for frame, picture in zip(frames, PICTURES, strict=True):
        assert np.abs(frame.image.astype(int) - picture).mean() < 4
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == {"libx264": "h264"}.get(codec, codec)


@pytest.mark.parametrize("codec", HERE)
@pytest.mark.parametrize(("size", "expected"), [((31, 22), (32, 22)), ((32, 21), (32, 22)), ((17, 33), (18, 34))])
def test_odd_sizes_repeat_the_last_row_and_column(tmp_path, monkeypatch, codec, size, expected):
    monkeypatch.setattr(write, "ENCODERS", (codec,))
    level = np.full((size[1], size[0], 3), 60, np.uint8)
    level[-1] = level[:, -1] = 200
    source, frames = read(written(tmp_path / "a.mp4", [level, level], [0.0, 0.1]))
    assert source.size == expected
    if expected[0] != size[0]:
        assert frames[0].image[3 : size[1] - 4, -1].mean() == pytest.approx(200, abs=25)
    if expected[1] != size[1]:
        assert frames[0].image[-1, 3 : size[0] - 4].mean() == pytest.approx(200, abs=25)


@pytest.mark.parametrize("size", [(96, 72), (1280, 720)])
def test_colors_are_those_that_were_given(tmp_path, size):
    """Unmarked colors are guessed by size: BT.709 from 720 rows on would turn this red by 14 levels."""
    red = np.full((size[1], size[0], 3), (200, 40, 40), np.uint8)
    path = written(tmp_path / "a.mp4", [red, red], [0.0, 0.1])
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.colorspace == write.BT601
    _, frames = read(path)
    assert np.abs(frames[0].image.mean((0, 1)) - red[0, 0]).max() < 3


def test_a_preset_trades_time_for_size(tmp_path):
    if write.encoder() != "libx264":
        pytest.skip("this PyAV has no libx264")
    pictures = [recordings.FRAMES.read(number) for number in range(120, 126)]
    times = [number / 200 for number in range(6)]
    quick, slow = (written(tmp_path / f"{p}.mp4", pictures, times, preset=p) for p in ("ultrafast", "medium"))
    assert slow.stat().st_size < 0.7 * quick.stat().st_size


def test_an_error_leaves_nothing_behind_and_an_older_file_alone(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"older")
    during = []

    def stopped():
        with VideoWriter(path, (96, 72), 200.0) as writer:
            writer.write(PICTURES[0], 0.0)
            during.extend(tmp_path.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert len(during) == 2  # the temporary file lies beside it
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert path.read_bytes() == b"older"


def test_what_can_not_be_had_again_is_kept_when_an_error_ends_the_block(tmp_path):
    path = tmp_path / "a.mp4"

    def stopped(count):
        with VideoWriter(path, (96, 72), 200.0, keep=True) as writer:
            for picture, seconds in zip(PICTURES[:count], TIMES, strict=False):
                writer.write(picture, seconds)
            assert unfinished(path) == [writer._temporary]
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        stopped(0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="of the block"):
        stopped(5)
    assert list(tmp_path.iterdir()) == [path]
    assert unfinished(path) == []
    np.testing.assert_allclose([frame.seconds for frame in read(path)[1]], TIMES[:5], atol=0.6 / write.TICKS)


def test_the_error_of_the_block_is_told_not_that_of_closing(tmp_path):
    class Broken:
        def mux(self, packets):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    def stopped():
        with VideoWriter(tmp_path / "a.mp4", (96, 72), 200.0, keep=True) as writer:
            writer.write(PICTURES[0], 0.0)
            container, writer._container = writer._container, Broken()
            container.close()
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        stopped()
    assert list(tmp_path.iterdir()) == []


def test_the_name_is_given_when_all_is_written(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, (96, 72), 200.0) as writer:
        for picture, seconds in zip(PICTURES, TIMES, strict=True):
            writer.write(picture, seconds)
            assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_who_reads_the_older_file_reads_on(tmp_path):
    """A rename gives the name to the new file; the older one stays whole for whoever has it open."""
    path, other = tmp_path / "a.mp4", tmp_path / "other"
    path.write_bytes(b"older")
    other.hardlink_to(path)
    written(path)
    assert other.read_bytes() == b"older"
    assert len(read(path)[1]) == len(PICTURES)


@pytest.mark.parametrize("name", ["missing/a.mp4", "folder.mp4", "file/a.mp4"])
def test_a_place_that_can_not_be_written(tmp_path, name):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="a video file that can be written") as error:
        written(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.mp4"]


def test_a_place_is_tried_before_the_first_frame(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        VideoWriter(tmp_path / "missing" / "a.mp4", (96, 72), 200.0).__enter__()


def test_a_disk_that_fills_up_is_said_and_leaves_nothing(tmp_path):
    class Full:
        def mux(self, packets):
            raise OSError(28, "No space left on device")

        def close(self):
            raise OSError(28, "No space left on device")

    def filled():
        with VideoWriter(tmp_path / "a.mp4", (96, 72), 200.0) as writer:
            container, writer._container = writer._container, Full()
            container.close()
            writer.write(PICTURES[0], 0.0)

    with pytest.raises(BadInput, match="No space left"):
        filled()
    assert list(tmp_path.iterdir()) == []


def test_what_the_writer_refuses(tmp_path):
    path = tmp_path / "a.mp4"
    for wrong, message in (
        (lambda: VideoWriter(tmp_path / "a.avi", (96, 72), 200.0), "ending in .mp4"),
        (lambda: VideoWriter(path, (0, 72), 200.0), "0x72"),
        (lambda: VideoWriter(path, (96, 72), float("nan")), "frame rate"),
        (lambda: VideoWriter(path, (96, 72), 0.0), "frame rate"),
        (lambda: VideoWriter(path, (96, 72), 200.0, preset="quick"), "superfast"),
        (lambda: VideoWriter(path, (96, 72), 200.0).write(PICTURES[0], 0.0), "open writer"),
        (lambda: written(path, [PICTURES[0], PICTURES[0][:-2]], TIMES[:2]), "frames of 96x72"),
        (lambda: written(path, PICTURES[:2], [0.1, 0.1]), "a time after 0.1"),
        (lambda: written(path, PICTURES[:1], [-0.1]), "0 s or more"),
        (lambda: written(path, PICTURES[:1], [float("nan")]), "0 s or more"),
        (lambda: VideoWriter(path, (96, 72), 200.0).__enter__().__exit__(None, None, None), "at least one frame"),
    ):
        with pytest.raises(BadInput, match=message):
            wrong()
        assert list(tmp_path.iterdir()) == []


def test_without_libx264_the_next_encoder_is_taken(monkeypatch):
    monkeypatch.setattr(write, "ENCODERS", ("libnone", "mpeg4"))
    assert write.encoder() == "mpeg4"
    monkeypatch.setattr(write, "ENCODERS", ("libnone",))
    with pytest.raises(BadInput, match="libnone"):
        write.encoder()


@pytest.mark.parametrize("fps", [23.976, 29.97, 59.94, 199.87, 1000.0])
def test_usual_and_odd_rates(tmp_path, fps):
    times = [number / fps for number in range(5)]
    with VideoWriter(tmp_path / "a.mp4", (96, 72), fps) as writer:
        for picture, seconds in zip(PICTURES, times, strict=False):
            writer.write(picture, seconds)
    _, frames = read(tmp_path / "a.mp4")
    np.testing.assert_allclose([frame.seconds for frame in frames], times, atol=0.6 / write.TICKS)
    assert all(later.seconds > frame.seconds for frame, later in itertools.pairwise(frames))
