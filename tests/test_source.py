"""Frames as they are in the file: content, time, and every oddity said."""

import gc
import itertools
import struct
import subprocess
import sys
import tracemalloc
import wave
import weakref
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from microexpr.errors import BadInput
from microexpr.video import _video_file, source
from microexpr.video.source import open_source

WIDTH, HEIGHT = 64, 48


def brightness(number):
    """The frame's number as a gray value, far enough from its neighbors to survive the coding."""
    return 20 + 6 * number


def picture(number):
    return np.full((HEIGHT, WIDTH, 3), brightness(number), np.uint8)


def number_in(image):
    return round((float(image[HEIGHT // 3 :, : WIDTH // 3].mean()) - 20) / 6)


def write_video(path, images, rate=100, stamps=None, codec="mpeg4", pixels="yuv420p", turn=None, options=None):
    """Writes a video; `stamps` in milliseconds give a variable rate."""
    base = Fraction(1, 1000) if stamps is not None else Fraction(1, rate)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.bit_rate = 8_000_000  # little loss
        stream.pix_fmt, stream.time_base = pixels, base
        stream.codec_context.time_base = base
        if turn is not None:
            stream.set_display_rotation(*turn)
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "gray16le" if image.ndim == 2 else "rgb24")
            frame.pts = number if stamps is None else stamps[number]
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(given, fps=None):
    opened = open_source(given, fps)
    return opened, list(opened.frames())


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.mkv", "clip.ts"])
def test_every_frame_in_order_with_its_time(tmp_path, name):
    opened, frames = read(write_video(tmp_path / name, [picture(n) for n in range(30)]))
    assert [number_in(frame.image) for frame in frames] == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(30) / 100, atol=1e-9)
    assert (opened.name, opened.size, opened.count, opened.warnings) == (name, (WIDTH, HEIGHT), 30, [])
    assert opened.header_fps == pytest.approx(100)
    assert opened.effective_fps == pytest.approx(100)


@pytest.mark.parametrize("rate", [60, 120, 240])
def test_rounded_time_stamps_are_no_variable_rate(tmp_path, rate):
    """Matroska counts milliseconds: at 240 frames a second the intervals are 4 and 5 ms."""
    opened, frames = read(write_video(tmp_path / "clip.mkv", [picture(n) for n in range(24)], rate=rate))
    assert len({round(b.seconds - a.seconds, 4) for a, b in itertools.pairwise(frames)}) > 1
    assert opened.warnings == []


def test_colors_are_red_green_blue(tmp_path):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[...] = (200, 90, 30)
    _, frames = read(write_video(tmp_path / "clip.mkv", [image] * 3, codec="ffv1", pixels="bgr0"))
    np.testing.assert_array_equal(frames[1].image, image)


def test_gray_is_repeated_and_alpha_dropped(tmp_path):
    images = [picture(n) for n in range(3)]
    for pixels in ("gray", "bgra"):
        _, frames = read(write_video(tmp_path / f"{pixels}.mkv", images, codec="ffv1", pixels=pixels))
        np.testing.assert_array_equal(frames[2].image, images[2])


def test_more_than_eight_bits_are_reduced_and_said(tmp_path):
    images = [np.full((HEIGHT, WIDTH), 257 * value, np.uint16) for value in (10, 100, 250)]
    opened, frames = read(write_video(tmp_path / "clip.mkv", images, codec="ffv1", pixels="gray16le"))
    np.testing.assert_allclose([frame.image[0, 0, 1] for frame in frames], [10, 100, 250], atol=1)
    assert opened.warnings == ["the video has 16 bits a channel; they were reduced to 8"]


def test_variable_rate_keeps_the_stamps(tmp_path):
    stamps = [10 * n + 35 * (n > 10) for n in range(30)]
    opened, frames = read(write_video(tmp_path / "clip.mp4", [picture(n) for n in range(30)], stamps=stamps))
    np.testing.assert_allclose([1000 * frame.seconds for frame in frames], stamps, atol=0.04)
    assert [number_in(frame.image) for frame in frames] == list(range(30))
    assert opened.effective_fps == pytest.approx(29 / 0.325, rel=1e-3)
    assert opened.warnings == ["the frame rate varies: from 10.00 ms to 45.00 ms lie between two frames"]


def test_header_and_time_stamps_differ(tmp_path):
    """Matroska's header states the rate it was told (100); the stamps say 80."""
    stamps = [round(12.5 * n) for n in range(30)]
    opened, _ = read(write_video(tmp_path / "clip.mkv", [picture(n) for n in range(30)], stamps=stamps))
    assert opened.warnings == [f"the header says 100 frames a second, the time stamps say {29 / 0.362:.6g}"]


def test_given_rate_replaces_the_clock_of_the_file(tmp_path):
    """A high-speed recording that was stored to be shown at 25 frames a second."""
    path = write_video(tmp_path / "slow.mp4", [picture(n) for n in range(20)], rate=25)
    stored, _ = read(path)
    (warning,) = stored.warnings
    assert warning.startswith("25 frames a second: a movement of 40 to 500 ms has at most 13 frames at this rate")
    opened, frames = read(path, 200)
    assert [frame.seconds for frame in frames] == [n / 200 for n in range(20)]
    assert (opened.header_fps, opened.effective_fps) == (25, pytest.approx(200))
    assert opened.warnings == ["the given rate of 200 frames a second replaces the clock of the file"]


def display_matrix(path):
    """a, b, c, d of the track header in an mp4 file (ISO 14496-12, 8.3.2), read byte by byte."""
    content = path.read_bytes()
    start = content.index(b"tkhd") + 4 + 40
    a, b, _, c, d = struct.unpack(">5i", content[start : start + 20])
    return [number / 65536 for number in (a, b, c, d)]


@pytest.mark.parametrize(
    "turn", [(0,), (90,), (180,), (270,), (-90,), (0, True), (0, False, True), (90, True), (90, False, True)]
)
def test_frames_are_turned_upright(tmp_path, turn):
    image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    image[:12, :24] = 240  # one bright corner
    path = write_video(tmp_path / "turned.mp4", [image] * 4, turn=turn)
    a, b, c, d = display_matrix(path)
    opened, frames = read(path)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    shown_x, shown_y = a * x + c * y, b * x + d * y
    expected = np.empty((int(np.ptp(shown_y)) + 1, int(np.ptp(shown_x)) + 1))
    expected[(shown_y - shown_y.min()).astype(int), (shown_x - shown_x.min()).astype(int)] = image[..., 0]
    assert opened.size == expected.shape[::-1]
    assert np.abs(frames[0].image[..., 0] - expected).mean() < 8  # the coding's own loss, at the edges of the corner


def test_a_phone_held_upright(tmp_path):
    """Turned a quarter counterclockwise: what was right is up."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    image[:, WIDTH // 2 :] = 220
    _, frames = read(write_video(tmp_path / "turned.mp4", [image] * 3, turn=(90,)))
    assert frames[0].image.shape == (WIDTH, HEIGHT, 3)
    assert frames[0].image[:24].mean() > 200
    assert frames[0].image[-24:].mean() < 60


def grainy(count):
    """Noise of mean zero fills the file, so that every frame has its share of the bytes."""
    noise = np.random.default_rng(0).integers(-15, 16, (count, HEIGHT, WIDTH, 1))
    return [(picture(number) + noise[number]).astype(np.uint8) for number in range(count)]


def test_truncated_file_gives_its_readable_part(tmp_path):
    for name, options in (("clip.mkv", {}), ("clip.mp4", {"movflags": "faststart"}), ("clip.avi", {})):
        path = write_video(tmp_path / name, grainy(30), options=options)
        whole, _ = read(path)
        assert whole.warnings == []
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        opened, frames = read(path)
        assert 5 < len(frames) < 25
        assert [number_in(frame.image) for frame in frames[:-1]] == list(range(len(frames) - 1))
        said = " ".join(opened.warnings)
        # an avi file's index is gone with its end, and its duration is then guessed: the count tells
        assert (
            f"{len(frames)} could be read" in said if name.endswith("avi") else f" at {len(frames) / 100:.3f} s" in said
        )


LATE = [5000 + 10 * number for number in range(30)]  # milliseconds


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])  # the second sends frames in another order than they are shown
@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.avi", "late.ts"])
def test_a_clock_that_begins_late_is_no_broken_file(tmp_path, name, codec):
    opened, frames = read(write_video(tmp_path / name, grainy(30), stamps=LATE, codec=codec))
    assert len(frames) == 30
    assert frames[-1].seconds == pytest.approx(5.29, abs=0.05)
    assert not [line for line in opened.warnings if "breaks off" in line]


def test_a_clock_that_begins_late_beside_sound_from_the_start(tmp_path):
    """The sound lasts as long as the pictures are late; neither stream's end is taken for the other's."""
    for name in ("late.mp4", "late.mkv", "late.ts"):
        with av.open(str(tmp_path / name), "w") as container:
            pictures, sound = container.add_stream("mpeg4", rate=100), container.add_stream("aac", rate=8000)
            pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for number in range(60):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                silence.sample_rate, silence.pts = 8000, 1024 * number
                container.mux(sound.encode(silence))
            for number in range(30):
                frame = av.VideoFrame.from_ndarray(picture(number), "rgb24")
                frame.pts = 500 + number
                container.mux(pictures.encode(frame))
            for stream in (pictures, sound):
                container.mux(stream.encode())
        opened, frames = read(tmp_path / name)
        assert frames[0].seconds == pytest.approx(5, abs=0.2)  # a .ts is moved by the sound's own delay
        assert (len(frames), opened.warnings) == (30, [])


@pytest.mark.parametrize(("name", "options"), [("late.mkv", {}), ("late.mp4", {"movflags": "faststart"})])
def test_a_file_that_begins_late_and_breaks_off(tmp_path, name, options):
    path = write_video(tmp_path / name, grainy(30), stamps=LATE, options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    opened, frames = read(path)
    assert 5 < len(frames) < 25
    (line,) = [line for line in opened.warnings if "breaks off" in line]
    assert line == f"the file breaks off at {5 + len(frames) / 100:.3f} s, its header says 5.300 s"


def test_damage_in_the_middle_is_said_and_passed_over(tmp_path):
    path = write_video(tmp_path / "clip.mkv", grainy(30))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = np.random.default_rng(0).bytes(200)
    path.write_bytes(content)
    opened, frames = read(path)
    assert number_in(frames[-1].image) == 29
    damaged = [warning for warning in opened.warnings if "damaged at" in warning]
    assert len(damaged) == 1
    assert 0.1 < float(damaged[0].split()[5]) < 0.2
    assert [number_in(frame.image) for frame in frames[:10]] == list(range(10))


def test_a_disk_that_fails_gives_what_was_read(tmp_path, monkeypatch):
    class Failing:
        def __init__(self, container):
            self.container = container

        def __getattr__(self, name):
            return getattr(self.container, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.container.close()

        def demux(self, stream):
            for number, packet in enumerate(self.container.demux(stream)):
                if number == 12:
                    raise av.error.FFmpegError(5, "Input/output error")
                yield packet

    path = write_video(tmp_path / "clip.mp4", [picture(n) for n in range(20)], codec="libx264")
    opened = open_source(path)
    whole = _video_file._opened
    monkeypatch.setattr(_video_file, "_opened", lambda path: Failing(whole(path)))
    frames = list(opened.frames())
    assert len(frames) == 12  # those that the decoder held back, too
    assert [number_in(frame.image) for frame in frames[:8]] == list(range(8))
    end = frames[-1].seconds + 1 / opened.effective_fps
    assert f"the file is damaged at {end:.3f} s; frames there are missing or wrong" in opened.warnings
    assert "the header says 20 frames, 12 could be read" in opened.warnings


def test_missing_time_stamps(tmp_path):
    path = write_video(tmp_path / "raw.h264", [picture(n) for n in range(20)], codec="libx264")
    opened, frames = read(path)
    assert opened.warnings[0].startswith("time stamps missing: 20; each was put 1/")
    np.testing.assert_allclose(np.diff([frame.seconds for frame in frames]), 1 / opened.header_fps)
    given, frames = read(path, 200)
    assert [frame.seconds for frame in frames] == [n / 200 for n in range(20)]
    assert given.warnings[-1] == "the given rate of 200 frames a second replaces the clock of the file"


def test_time_never_runs_backward(tmp_path, monkeypatch):
    opened = open_source(write_video(tmp_path / "clip.mkv", [picture(n) for n in range(12)]))
    decoded = opened._decoded

    def disturbed(*given):
        for number, frame in enumerate(decoded(*given)):
            frame.pts = 20 if number == 5 else frame.pts
            yield frame

    monkeypatch.setattr(opened, "_decoded", disturbed)
    seconds = [frame.seconds for frame in opened.frames()]
    np.testing.assert_allclose(seconds, np.arange(12) / 100, atol=1e-9)
    (warning,) = opened.warnings
    assert warning.startswith("time stamps not later than the one before: 1; each was put 1/100 s")


def test_one_frame(tmp_path):
    path = write_video(tmp_path / "one.mp4", [picture(7)])
    for opened, frames in (read(path), read(picture(7)[None], 100)):
        assert [number_in(frame.image) for frame in frames] == [7]
        assert (opened.count, opened.effective_fps) == (1, 100)
        assert opened.warnings == ["there is one frame only: nothing moves in it, and its rate is not measured"]


def open_handles(path):
    here = Path("/proc/self/fd")
    if not here.exists():
        pytest.skip("needs /proc to see open files")
    return [handle for handle in here.iterdir() if handle.is_symlink() and str(handle.readlink()) == str(path)]


def test_file_is_closed_when_the_iterator_ends_or_is_dropped(tmp_path):
    path = write_video(tmp_path / "clip.mp4", [picture(n) for n in range(20)])
    opened = open_source(path)
    assert not open_handles(path)
    frames = opened.frames()
    next(frames)
    assert len(open_handles(path)) == 1
    del frames
    gc.collect()
    assert not open_handles(path)
    assert (opened.count, opened.warnings) == (1, [])
    assert len(list(opened.frames())) == 20
    assert not open_handles(path)
    assert opened.count == 20


def test_memory_holds_a_few_frames_only(tmp_path):
    large = [np.full((480, 640, 3), brightness(n % 30), np.uint8) for n in range(2)]
    opened = open_source(write_video(tmp_path / "large.mp4", large * 20))
    seen, most = [], 0
    tracemalloc.start()
    for frame in opened.frames():
        seen.append(weakref.ref(frame))
        most = max(most, sum(reference() is not None for reference in seen))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (opened.count, most) == (40, most)
    assert most <= 2
    assert peak < 6 * large[0].nbytes


def test_decoded_frames_do_not_wait_for_the_garbage_collector(tmp_path):
    opened = open_source(write_video(tmp_path / "clip.mp4", [picture(n) for n in range(30)]))
    gc.collect()
    gc.disable()
    try:
        for frame in opened.frames():
            alive = (
                sum(issubclass(type(thing), av.VideoFrame) for thing in gc.get_objects()) if frame.index == 25 else 0
            )
            assert alive <= 8
    finally:
        gc.enable()


def write_pictures(folder, names):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), picture(number))
    return folder


def test_folder_in_natural_order_keeps_its_gaps(tmp_path):
    numbers = [1, 2, 3, 9, 10, 11, 100]
    folder = write_pictures(tmp_path / "s01_take3", [f"s01_frame_{number}.png" for number in numbers])
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_bytes(b"x")
    opened, frames = read(folder, 100)
    assert [number_in(frame.image) for frame in frames] == list(range(7))
    assert [frame.index for frame in frames] == [number - 1 for number in numbers]
    np.testing.assert_allclose([frame.seconds for frame in frames], [(number - 1) / 100 for number in numbers])
    assert (opened.name, opened.size, opened.header_fps) == ("s01_take3", (WIDTH, HEIGHT), 100)
    assert opened.warnings[0] == (
        "the numbers of the pictures have gaps: 93 lacking, the first after 3; times keep them"
    )


def test_folder_without_gaps_is_quiet(tmp_path):
    opened, frames = read(write_pictures(tmp_path / "f", [f"{number:03d}_face.bmp" for number in range(95, 105)]), 200)
    assert [frame.index for frame in frames] == list(range(10))
    assert (opened.warnings, opened.effective_fps) == ([], pytest.approx(200))


@pytest.mark.parametrize("names", [["left_1.png", "right_1.png"], ["1.png", "01.png"], ["a1_1.png", "a2_2.png"]])
def test_folder_whose_names_give_no_single_number(tmp_path, names):
    opened, frames = read(write_pictures(tmp_path / "f", names), 100)
    assert [frame.index for frame in frames] == [0, 1]
    assert "do not differ by one number alone" in opened.warnings[0]


def test_two_readers_at_once_do_not_mix(tmp_path):
    """The second begins when the first has read a while; each finds what one alone finds."""
    folder = write_pictures(tmp_path / "gaps", [f"{number}.png" for number in (*range(8), *range(12, 20))])
    stamps = [10 * n + 35 * (n > 10) for n in range(16)]
    film = write_video(tmp_path / "varies.mp4", [picture(n) for n in range(16)], stamps=stamps)
    broken = write_video(tmp_path / "broken.mkv", grainy(30))
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size * 6 // 10])
    for given, fps in ((folder, 100), (film, None), (broken, None), (np.stack([picture(n) for n in range(16)]), 20)):
        alone, whole = read(given, fps)
        assert alone.warnings or given is not folder
        opened = open_source(given, fps)
        first = opened.frames()
        earlier = [next(first) for _ in range(5)]
        second = opened.frames()
        later = [next(second) for _ in range(3)]
        assert (opened.count, opened.warnings) == (3, [])
        earlier += first
        assert (opened.count, opened.warnings) == (3, [])  # those of the second, which is not through
        later += second
        for found in (earlier, later):
            assert [frame.index for frame in found] == [frame.index for frame in whole]
            assert [frame.seconds for frame in found] == [frame.seconds for frame in whole]
            assert all((one.image == other.image).all() for one, other in zip(found, whole, strict=True))
        assert opened.warnings == alone.warnings
        assert (opened.count, opened.effective_fps) == (alone.count, alone.effective_fps)


def test_array_and_sequence(tmp_path):
    images = [picture(number) for number in range(5)]
    for given in (np.stack(images), images, tuple(images)):
        opened, frames = read(given, 100)
        assert [number_in(frame.image) for frame in frames] == list(range(5))
        assert [frame.seconds for frame in frames] == [0, 0.01, 0.02, 0.03, 0.04]
        assert (opened.name, opened.size, opened.warnings) == ("array", (WIDTH, HEIGHT), [])


class FakeCapture:
    """A camera of 100 frames a second that is unplugged after five."""

    alive = 0

    def __init__(self, _number):
        self.read_so_far = 0
        FakeCapture.alive += 1

    def isOpened(self):  # noqa: N802
        return True

    def get(self, what):
        return {cv2.CAP_PROP_FPS: 100.0}[what]

    def read(self):
        self.read_so_far += 1
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[..., 0] = 255  # blue comes first in OpenCV
        return (True, image) if self.read_so_far <= 5 else (False, None)

    def release(self):
        FakeCapture.alive -= 1


def test_camera_counts_seconds_from_its_first_frame(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    ticks = iter(100 + 0.01 * number for number in range(9))
    monkeypatch.setattr(source.time, "perf_counter", lambda: next(ticks))
    opened, frames = read(0)
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(5) / 100, atol=1e-9)
    assert [frame.index for frame in frames] == list(range(5))
    assert tuple(frames[0].image[0, 0]) == (0, 0, 255)
    assert (opened.name, opened.warnings) == ("camera 0", ["camera 0 stopped after 5 frames"])
    assert FakeCapture.alive == 0
    live = opened.frames()
    next(live)
    live.close()
    assert FakeCapture.alive == 0


def test_a_camera_has_one_reader_at_a_time(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    opened = open_source(0)
    first = opened.frames()
    next(first)
    with pytest.raises(BadInput, match="one reader of camera 0 at a time, got a second one; end the first one"):
        next(opened.frames())
    assert FakeCapture.alive == 1
    assert len(list(first)) == 4  # the first goes on undisturbed
    assert opened.count == 5
    assert opened.warnings[0] == "camera 0 stopped after 5 frames"
    assert len(list(opened.frames())) == 5  # after it, another may begin
    dropped = opened.frames()
    next(dropped)
    dropped.close()
    assert len(list(opened.frames())) == 5
    assert FakeCapture.alive == 0


def test_a_camera_that_gives_no_picture(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(FakeCapture, "read", lambda self: (False, None))
    assert "number 3, which gives no picture" in fails(3)
    assert FakeCapture.alive == 0


def test_no_camera_is_one_line(capfd):
    with pytest.raises(BadInput, match="camera, got number 97, which can't be opened"):
        open_source(97)
    assert capfd.readouterr() == ("", "")


def fails(given, fps=None):
    with pytest.raises(BadInput) as caught:
        for _ in open_source(given, fps).frames():
            pass
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_files_that_hold_no_video(tmp_path):
    assert "No such file" in fails(tmp_path / "none.mp4")
    assert "No such file" in fails("http://somewhere/clip.mp4")
    for name, content, said in (
        ("empty.mp4", b"", "0 bytes"),
        ("noise.mp4", np.random.default_rng(1).bytes(5000), "can't be read"),
        ("text.avi", b"hello world\n" * 50, "can't be read"),
        ("one.png", b"x", "one picture"),
    ):
        (tmp_path / name).write_bytes(content)
        assert said in fails(tmp_path / name)
    cut = write_video(tmp_path / "cut.mp4", [picture(n) for n in range(20)])  # its index stands at the end
    cut.write_bytes(cut.read_bytes()[:-900])
    assert "give" in fails(cut)


def test_sound_alone_is_no_video(tmp_path):
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", "none"))
        sound.writeframes(bytes(8000))
    assert "expected a file with a video stream" in fails(tmp_path / "sound.wav")
    assert "no moving pictures (audio)" in fails(tmp_path / "sound.wav")


def test_the_cover_of_a_sound_file_is_no_video(tmp_path):
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        sound, cover = container.add_stream("aac", rate=8000), container.add_stream("png", rate=25)
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        image = av.VideoFrame.from_ndarray(picture(3), "rgb24")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        silence.sample_rate, silence.pts, image.pts = 8000, 0, 0
        for stream, frame in ((cover, image), (sound, silence)):
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    assert "no moving pictures (audio, video)" in fails(tmp_path / "song.mp4")


def test_a_file_name_that_reads_like_a_protocol(tmp_path, monkeypatch):
    write_video(tmp_path / "clip.mp4", [picture(n) for n in range(3)]).rename(tmp_path / "pipe:0%d.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(read("pipe:0%d.mp4")[1]) == 3


def test_folders_that_give_no_frames(tmp_path):
    assert "which is empty" in fails(tmp_path, 100)
    (tmp_path / "notes.txt").write_text("x")
    assert "with 1 other files" in fails(tmp_path, 100)
    folder = write_pictures(tmp_path / "pictures", ["1.png", "2.png"])
    assert "expected the frame rate of the folder" in fails(folder)
    cv2.imwrite(str(folder / "3.png"), np.zeros((10, 20, 3), np.uint8))
    assert "64x48 like the first, got 3.png of 20x10" in fails(folder, 100)
    cv2.imwrite(str(folder / "3.png"), np.zeros((HEIGHT, WIDTH), np.uint16))
    assert "8 bits a channel" in fails(folder, 100)


@pytest.mark.parametrize(
    ("fps", "got"),
    [
        *((0, "got 0;"), (-5.0, "got -5;"), (float("nan"), "got nan;"), (float("inf"), "got inf;"), (10**400, "inf")),
        *(("100", "got '100' (str);"), (True, "got True (bool);"), ([100], "got [100] (list);"), (1j, "(complex);")),
    ],
)
def test_rates_that_are_none(fps, got):
    with pytest.raises(BadInput, match="a positive number of frames a second") as caught:
        source._checked_rate(fps)
    assert got in str(caught.value)
    assert str(caught.value).endswith("give the camera's rate, like fps=100")


@pytest.mark.parametrize("given", ["'one.mp4'", "'.'", "0", "[]"])
def test_a_rate_that_is_text_is_told_before_anything_is_opened(tmp_path, given):
    """In a process of its own: while testing, types are checked before the function is."""
    code = f"from microexpr.video.source import open_source; open_source({given}, fps='100')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "BadInput: expected a positive number of frames a second, got '100' (str);" in ran.stderr


@pytest.mark.parametrize("fps", [100, np.int64(100), np.float32(100), Fraction(100)])
def test_rates_of_any_kind_of_number(fps):
    found = source._checked_rate(fps)
    assert (found, type(found)) == (100.0, float)


@pytest.mark.parametrize(
    "given",
    [
        *(np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.float32), np.zeros((2, 8, 8, 4), np.uint8)),
        *(np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 0, 8, 3), np.uint8), np.zeros((), np.uint8), []),
        [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)],
        [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)],
    ],
)
def test_arrays_that_are_no_frames(given):
    assert "got" in fails(given, 100)


def test_arrays_need_a_rate():
    assert "expected the frame rate of an array of frames, got none" in fails(picture(0)[None])
