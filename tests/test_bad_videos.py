"""What a user sees of a video that can't be used, or not well: one clear line or a warning, never silence."""

import pickle
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from microexpr.cli import main
from microexpr.datasets._render import Movement
from microexpr.motion.files import write_picture
from microexpr.video.files import read_events
from microexpr.video.source import open_source
from microexpr.video.write import VideoWriter
from tests.test_cli_video import weights_file
from tests.test_source import write_video as write_turned
from tests.videos import rendered

FPS = 100
SMILE = Movement(30, 44, 64, ("12",), 2.5)


def write(path, frames, fps=FPS, times=None):
    with VideoWriter(path, frames[0].shape[1::-1], fps, preset="ultrafast") as writer:
        for number, image in enumerate(frames):
            writer.write(image, number / fps if times is None else times[number])
    return path


def gray_noise(count, size=(480, 640), seed=0):
    return np.random.default_rng(seed).integers(100, 140, (count, *size, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def frames():
    """640x480, so that the default detector finds the face."""
    return rendered(FPS, 0.8, SMILE, crop=False)


@pytest.fixture(scope="module")
def crops():
    return rendered(FPS, 0.4)


@pytest.fixture(scope="module")
def film(frames, tmp_path_factory):
    return str(write(tmp_path_factory.mktemp("films") / "film.mp4", frames))


@pytest.fixture(scope="module")
def tiny(crops, tmp_path_factory):
    """Five frames that are face crops: enough to get to what is asked for."""
    return str(write(tmp_path_factory.mktemp("films") / "tiny.mp4", crops[:5]))


def refused(capsys, *arguments, status=2):
    """The one line of a wrong call."""
    assert main([str(argument) for argument in arguments]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("microexpr: ")
    return line


def warned(capsys, *arguments):
    """What was printed, and the warnings beside it."""
    assert main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert all(line.startswith("microexpr: warning: ") for line in lines)
    return captured.out, [line.removeprefix("microexpr: warning: ") for line in lines]


@pytest.mark.parametrize("verb", ["recognize", "spot", "live"])
def test_no_face(tmp_path, capsys, verb):
    film = write(tmp_path / "noise.mp4", gray_noise(8))
    place = ["--source", film] if verb == "live" else [film]
    assert main([verb, *map(str, place)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "expected a face in noise.mp4, got none in 8 frames; film the face from the front" in line
    assert "--detector precropped for face crops" in line


@pytest.mark.parametrize("level", [0, 128])
def test_one_color_is_no_face_even_where_none_is_looked_for(tmp_path, capsys, level):
    film = write(tmp_path / "even.mp4", np.full((8, 240, 320, 3), level, np.uint8))
    line = refused(capsys, "recognize", film, "--detector", "precropped")
    assert "too little texture to be followed; film the face from the front in good light" in line
    assert "--detector" not in line
    assert "got none in 8 frames" in refused(capsys, "recognize", film)


def test_a_face_too_dark(frames, tmp_path, capsys):
    film = write(tmp_path / "dark.mp4", (frames[:10] // 128).astype(np.uint8))
    assert "in good light" in refused(capsys, "recognize", film)


def test_a_face_that_is_lost_is_told(frames, tmp_path, capsys):
    images = frames.copy()
    images[20:60] = gray_noise(40)
    printed, warnings = warned(capsys, "recognize", write(tmp_path / "lost.mp4", images))
    (line,) = [line for line in warnings if "no face could be followed" in line]
    assert "of 80 frames no face could be followed, the first at 0.200 s; movements there are not found" in line
    assert 40 <= int(line.split()[1]) <= 50  # the face is looked for from time to time only
    assert "80 frames of 640x480" in printed


def test_a_whole_face_is_no_reason_to_warn(film, capsys):
    printed, warnings = warned(capsys, "recognize", film)
    assert warnings == []
    assert "positive" in printed or "unsure" in printed


def test_the_larger_of_two_faces_is_taken_and_said(frames, tmp_path, capsys):
    small = np.pad(frames[:10, ::2, ::2], ((0, 0), (0, 240), (0, 0), (0, 0)), mode="edge")
    film = write(tmp_path / "two.mp4", np.concatenate([frames[:10], small], axis=2))
    _, (line,) = warned(capsys, "recognize", film)
    assert line.startswith("2 faces in frame 0; took the largest, ")
    assert 200 < int(line.split()[8]) < 350


def test_a_slow_phone_works_and_warns(frames, tmp_path, capsys):
    printed, (line,) = warned(capsys, "recognize", write(tmp_path / "phone.mp4", frames[::10], 10))
    assert "8 frames of 640x480, 0.8 s at 10 frames a second" in printed
    assert "at most 6 frames at this rate; micro-expressions can't be seen reliably" in line


def test_a_variable_rate_keeps_its_times_and_warns(frames, tmp_path, capsys):
    times = np.cumsum(np.where(np.arange(80) % 3, 0.008, 0.016))
    film = write(tmp_path / "varies.mp4", frames, times=times)
    _, warnings = warned(capsys, "recognize", film, "--out", tmp_path / "out")
    assert any("the frame rate varies: from 8.00 ms to 16.00 ms" in line for line in warnings)
    for event in read_events(tmp_path / "out"):
        assert event.onset_seconds - times[0] == pytest.approx(times[event.onset] - times[0], abs=0.017)


def test_a_turned_video_is_read_upright(frames, film, tmp_path, capsys):
    turned = [np.ascontiguousarray(np.rot90(image, -1)) for image in frames]
    write_turned(tmp_path / "turned.mp4", turned, turn=(90,))
    printed, warnings = warned(capsys, "recognize", tmp_path / "turned.mp4")
    assert "80 frames of 640x480" in printed
    assert "micro" in printed
    assert warnings == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("noise.mp4", bytes(range(256)) * 40, "which can't be read (Invalid data found when processing input)"),
        ("empty.mp4", b"", "which is empty (0 bytes); copy or record it again"),
        ("picture.png", b"\x89PNG", "one picture; give the folder it is in"),
        (None, b"", "No such file or directory); check the path"),
    ],
)
def test_files_that_are_no_video(tmp_path, capsys, name, content, message):
    if name:
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    assert message in refused(capsys, "recognize", tmp_path / (name or "missing.mp4"), "--out", out)
    assert not out.exists()


def test_a_truncated_file_is_an_error_or_its_readable_part(film, frames, tmp_path, capsys):
    import av

    content = Path(film).read_bytes()
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])  # its index stood at the end
    assert "give a whole video file" in refused(capsys, "recognize", tmp_path / "half.mp4")
    whole = tmp_path / "whole.mkv"
    with av.open(film) as given, av.open(str(whole), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    (tmp_path / "most.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size * 9 // 10])
    printed, warnings = warned(capsys, "recognize", tmp_path / "most.mkv")
    assert any("the file breaks off at" in line for line in warnings)
    assert 0 < int(printed.split(": ")[1].split()[0]) < len(frames)


def test_picture_folders(crops, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    line = refused(capsys, "recognize", folder, "--fps", 100)
    assert "expected a folder of pictures" in line
    assert "which is empty" in line
    for number in (*range(8), *range(12, 20)):
        write_picture(folder / f"f{number:02d}.png", crops[number])
    line = refused(capsys, "recognize", folder)
    assert "expected the frame rate of the folder" in line
    assert "--fps 100" in line
    line = refused(capsys, "recognize", folder, "--fps", 100, "--out", folder)
    assert "an output folder apart from the input" in line
    printed, (line,) = warned(capsys, "recognize", folder, "--fps", 100, "--detector", "precropped")
    assert "16 frames of 224x224" in printed
    assert "gaps: 4 lacking, the first after 7; times keep them" in line
    onset = refused(capsys, "recognize", folder, "--fps", 100, "--detector", "precropped", "--onset", 9)
    assert "expected frame 9, the onset, got frames 7 and 12 and none between them; give 7 or 12" in onset
    place = [folder, "--fps", 100, "--detector", "precropped", "--onset", 2, "--apex"]
    assert "expected frame 10, the apex, got frames 7 and 12 and none between" in refused(
        capsys, "recognize", *place, 10
    )
    assert "expected frame 40, the apex, got frames 0 to 19; give an apex" in refused(capsys, "recognize", *place, 40)


def test_one_frame(crops, tmp_path, capsys):
    film = write(tmp_path / "one.mp4", crops[:1])
    printed, (line,) = warned(capsys, "recognize", film, "--detector", "precropped", "--out", tmp_path / "out")
    assert "1 frame of 224x224" in printed
    assert "no movement found" in printed
    assert "there is one frame only: nothing moves in it" in line
    assert read_events(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--onset", "900"], "expected frame 900, the onset, got frames 0 to 4; give an onset in the video"),
        (
            ["--onset", "1", "--apex", "900"],
            "expected frame 900, the apex, got frames 0 to 4; give an apex in the video",
        ),
        (["--onset", "3", "--apex", "3"], "an onset before the apex, got onset 3, apex 3"),
        (["--apex", "3"], "an onset before the apex, got no onset, apex 3"),
        (["--onset", "-3"], "an onset of 0 or more"),
        (["--fps", "0"], "a positive number of frames a second, got 0"),
        (["--fps", "1e-12"], "0.01 to 100000 frames a second, got 1e-12"),
        (["--fps", "nan"], "a positive number of frames a second, got nan"),
        (["--jobs", "0"], "at least 1 job, got 0"),
        (["--method", "nonsense"], "no method with weights in the package is called 'nonsense'"),
        (["--method", "mjfn", "--weights", "mjfn-megc2019"], "--weights or --method, got both"),
        (["--weights", "nowhere.safetensors"], "which does not exist; train one"),
        (["--detector", "harr"], "did you mean 'haar'"),
        (["--detector", "yunet"], "give its model, a face_detection_yunet ONNX file: --detector-file FILE"),
        (["--detector", "yunet", "--detector-file", "no.onnx"], "no.onnx, which is no file"),
        (["--detector", "file"], "give landmarks, an OpenFace CSV or .npz: --detector-file FILE"),
        (["--detector", "haar", "--detector-file", "x"], "got haar; leave --detector-file out"),
        (["--out", "/proc/nowhere"], "a folder that can be written, got /proc/nowhere"),
    ],
)
def test_options_that_can_not_be(tiny, capsys, options, message):
    detector = [] if "--detector" in options else ["--detector", "precropped"]
    assert message in refused(capsys, "recognize", tiny, *detector, *options)


def test_weights_that_can_not_be_read(tiny, tmp_path, capsys):
    pickled = tmp_path / "pickled.safetensors"
    pickled.write_bytes(pickle.dumps({"coefficients": 1}))
    assert "a pickle: reading one runs whatever code is in it" in refused(
        capsys, "recognize", tiny, "--weights", pickled
    )
    assert "expected a safetensors file" in refused(capsys, "recognize", tiny, "--weights", tiny)
    other = tmp_path / "other.safetensors"
    content = weights_file(tmp_path / "good.safetensors", {}).read_bytes()
    other.write_bytes(content.replace(b'\\"classes\\": 3', b'\\"classes\\": 5'))
    assert other.read_bytes() != content
    assert "the weights of flow-linear for 5 classes" in refused(capsys, "recognize", tiny, "--weights", other)


def test_outputs_that_would_replace_the_input(crops, tmp_path, capsys):
    film = write(tmp_path / "annotated.mp4", crops[:5])
    before = film.read_bytes()
    line = refused(capsys, "recognize", film, "--out", tmp_path, "--detector", "precropped")
    assert "an output folder apart from the input" in line
    assert film.read_bytes() == before
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "a folder that can be written" in refused(capsys, "recognize", film, "--out", blocked)


@pytest.mark.parametrize("name", ["ein Gesicht ü 顔 [b].mp4", "-dash.mp4", "a:b.mp4", "%03d.mp4"])
def test_odd_names(tiny, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(Path(tiny).read_bytes())
    printed, warnings = warned(capsys, "recognize", "--detector", "precropped", "--out", f"out {name}", "--", name)
    assert printed.startswith(f"{name}: 5 frames")
    assert (tmp_path / f"out {name}" / "annotated.mp4").exists()
    assert warnings == []


def test_a_missing_input_of_two(tiny, capsys):
    assert main(["recognize", "missing.mp4", tiny, "--detector", "precropped"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{tiny}: 5 frames")
    (line,) = captured.err.splitlines()
    assert line.startswith("microexpr: missing.mp4: expected a video file")


def test_several_inputs_and_one_onset(tiny, capsys):
    line = refused(capsys, "recognize", tiny, tiny, "--onset", 1)
    assert "one input with --onset, got 2; recognize them one by one" in line


def test_a_camera_that_is_not_there(capsys):
    assert "a camera, got number 77, which can't be opened" in refused(capsys, "live", "--source", 77)


def test_large_frames_are_let_go(tmp_path):
    """What is kept of a second of frames are face crops, not the frames: memory stays bounded."""
    import gc
    import weakref

    from microexpr.faces.detect import Face
    from microexpr.video.recognizer import Recognizer
    from microexpr.video.source import Frame

    class Box:
        name = version = "box"

        def __call__(self, image):
            return [Face(100.0, 100.0, 224.0, 224.0)]

    face = rendered(FPS, 0.1)
    recognizer, kept = Recognizer(Box()), []
    for number in range(10):
        image = np.full((1080, 1920, 3), 90, np.uint8)
        image[100:324, 100:324] = face[number]
        kept.append(weakref.ref(image))
        recognizer.push(Frame(number, number / FPS, image))
        del image
    gc.collect()
    assert recognizer.faces == 10
    assert sum(ref() is not None for ref in kept) <= 3


def test_a_frame_that_turns_huge_is_damage(tmp_path):
    """It is refused before it is decoded: a small file could take all memory."""
    film = tmp_path / "turns.nut"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("png", rate=100)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"
        for number in range(3):
            side = 64 if number < 2 else 4000
            encoder = av.CodecContext.create("png", "w")
            encoder.width, encoder.height, encoder.pix_fmt = side, side, "rgb24"
            encoder.time_base = Fraction(1, 100)
            image = av.VideoFrame.from_ndarray(np.zeros((side, side, 3), np.uint8), "rgb24")
            image.pts, image.time_base = number, Fraction(1, 100)
            for packet in [*encoder.encode(image), *encoder.encode(None)]:
                packet.stream = stream
                container.mux(packet)
    source = open_source(film)
    assert [frame.image.shape for frame in source.frames()] == [(64, 64, 3)] * 2
    assert any("damaged" in sentence for sentence in source.warnings)
