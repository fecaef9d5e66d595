"""The folder of a recording: an earlier result stays whole until there is a new one, and nothing of it stays then."""

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

import microexpr
from microexpr import videos
from microexpr.datasets._render import Movement
from microexpr.errors import BadInput
from microexpr.video import output
from microexpr.video.files import read_events
from microexpr.video.source import Frame, Source, open_source
from microexpr.video.track import Track
from tests.videos import rendered, write_video

FPS = 100
SMILE, BROWS = Movement(50, 62, 80, ("12",), 2.5), Movement(120, 132, 150, ("1", "2"), 2.5)
GIVEN = {"fps": FPS, "detector": "precropped"}
RESULT = ["annotated.mp4", "events.csv", "events.json", "timeline.png"]


@pytest.fixture(scope="module")
def two():
    """Two movements."""
    return rendered(FPS, 1.8, SMILE, BROWS)


@pytest.fixture(scope="module")
def one(two):
    """The first of them."""
    return two[:110]


@pytest.fixture(scope="module")
def made(two, tmp_path_factory):
    """The result of two movements, and files of somebody else."""
    folder = tmp_path_factory.mktemp("made")
    microexpr.recognize(two, folder, **GIVEN)
    (folder / "notes.txt").write_text("mine")
    (folder / "plates" / "mine.png").write_text("mine")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "out"))


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def plates(folder):
    return sorted(file.name for file in (folder / "plates").glob("event-*"))


def interrupted(step, done, total):
    raise KeyboardInterrupt


def test_nothing_of_an_earlier_recording_remains_but_what_is_not_ours(folder, one):
    before = contents(folder)
    assert len(plates(folder)) == 2
    recording = microexpr.recognize(one, folder, **GIVEN)
    after = contents(folder)
    assert sorted(after) == sorted([*RESULT, "notes.txt", "plates/mine.png", f"plates/{plates(folder)[0]}"])
    assert {name for name in after if after[name] == before.get(name)} == {"notes.txt", "plates/mine.png"}
    assert len(read_events(folder)) == 1
    assert recording.files["plates"] == [folder / "plates" / plates(folder)[0]]
    assert all(file.is_file() for file in recording.files.values() if isinstance(file, Path))


def test_a_result_without_a_plate_has_no_folder_of_plates(one, tmp_path):
    microexpr.recognize(one, tmp_path / "out", **GIVEN)
    recording = microexpr.recognize(one[:40], tmp_path / "out", **GIVEN)
    assert recording.files["plates"] == []
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == RESULT


@pytest.fixture(scope="module")
def films(two, tmp_path_factory):
    """The result with a magnified film of each movement."""
    folder = tmp_path_factory.mktemp("films")
    return folder, microexpr.recognize(two, folder, magnify=8, **GIVEN)


def test_magnified_films_last_as_long_as_their_events(films):
    folder, recording = films
    assert [file.parent for file in recording.files["magnified"]] == [folder / "magnified"] * 2
    for event, file in zip(recording.events, recording.files["magnified"], strict=True):
        assert f"frame-{event.onset}" in file.name
        with av.open(str(file)) as video:
            pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
            assert video.streams.video[0].average_rate == 25  # four times as slow
        assert len(pictures) == event.offset - event.onset + 1
        side = 448
        middle = pictures[event.apex - event.onset].astype(int)
        filmed, magnified = middle[:side, :side], middle[:side, -side:]
        rest = pictures[0].astype(int)
        # both begin alike, as far as the compression goes; at the apex the magnified one has moved much more
        assert np.abs(rest[:side, :side] - rest[:side, -side:]).mean() < 2
        assert np.abs(magnified - rest[:side, -side:]).mean() > 2 * np.abs(filmed - rest[:side, :side]).mean()


def test_films_give_way_to_a_later_result(films, one, tmp_path):
    folder = Path(shutil.copytree(films[0], tmp_path / "out"))
    (folder / "magnified" / "mine.mp4").write_text("mine")
    microexpr.recognize(one, folder, **GIVEN)
    assert [file.name for file in (folder / "magnified").iterdir()] == ["mine.mp4"]
    (folder / "magnified" / "mine.mp4").unlink()
    microexpr.recognize(one, folder, **GIVEN)
    assert not (folder / "magnified").exists()


def test_an_interrupted_film_leaves_nothing(films, two, tmp_path):
    folder = Path(shutil.copytree(films[0], tmp_path / "out"))
    before = contents(folder)
    with pytest.raises(KeyboardInterrupt):
        microexpr.recognize(two, folder, magnify=3, progress=at_the_end, **GIVEN)
    assert contents(folder) == before
    assert not list(folder.rglob(".*"))


def test_magnification_is_checked_before_the_video_is_read(two, tmp_path):
    with pytest.raises(BadInput, match="an output folder for magnified films"):
        microexpr.recognize(two, magnify=10, **GIVEN)
    with pytest.raises(BadInput, match="a magnification from 0 to 50"):
        microexpr.recognize(two, tmp_path / "out", magnify=500, **GIVEN)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["no face", "torn", "interrupted", "interrupted at the end"])
def test_a_run_that_fails_leaves_the_earlier_result_whole(folder, two, monkeypatch, how):
    before, during = contents(folder), []
    source = open_source(two, fps=FPS)
    plain = source._read

    def torn():
        for frame in plain():
            if frame.index == 170:
                during.append(len(list(folder.glob(".*/plates/event-*.png"))))
                raise BadInput("a whole frame", "a torn one", "copy it again")
            yield frame

    if how == "no face":
        with pytest.raises(BadInput, match="a face in array"):
            microexpr.recognize(np.full((12, 240, 320, 3), 90, np.uint8), folder, fps=FPS)
    elif how == "torn":
        monkeypatch.setattr(source, "_read", torn)
        with pytest.raises(BadInput, match="a torn one"):
            microexpr.recognize(source, folder, detector="precropped")
        assert len(during) == 1
    else:
        progress = interrupted if how == "interrupted" else at_the_end
        with pytest.raises(KeyboardInterrupt):
            microexpr.recognize(two, folder, progress=progress, **GIVEN)
    assert contents(folder) == before
    assert not list(folder.rglob(".*"))


def at_the_end(step, done, total):
    if step == "annotate" and done == total:
        raise KeyboardInterrupt


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("good", range(11))
def test_an_error_while_files_are_put_in_place_puts_the_earlier_ones_back(folder, one, monkeypatch, error, good):
    """Six files give way and four come: an error after each number of them."""
    before, plain, moved = contents(folder), Path.replace, []

    def replace(self, target):
        if {self.parent, target.parent} & {folder, folder / "plates"} and not self.name.startswith("."):
            if len(moved) == good:
                moved.append(None)  # fails once: putting back works
                raise error
            moved.append(self)
        return plain(self, target)

    source, track = open_source(one[:5], fps=FPS), Track()
    for frame in source.frames():
        track.add(frame.index, frame.seconds, None, 0.1, 0.2)
    monkeypatch.setattr(Path, "replace", replace)
    with output.Output(folder) as place:
        if good < 10:
            with pytest.raises(BadInput if isinstance(error, OSError) else KeyboardInterrupt):
                place.finish(source, [], {}, track)
        else:
            place.finish(source, [], {}, track)
            assert len(moved) == 10
    if good < 10:
        assert contents(folder) == before
    else:
        assert sorted(contents(folder)) == sorted([*RESULT, "notes.txt", "plates/mine.png"])
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize("verb", [videos.recognize, videos.live])
def test_a_new_folder_goes_again_where_nothing_came_of_it(tmp_path, monkeypatch, verb):
    def broken(*arguments, **settings):
        raise RuntimeError

    monkeypatch.setattr(videos, "Recognizer", broken)
    with pytest.raises(RuntimeError):
        verb(np.zeros((2, 48, 48, 3), np.uint8), tmp_path / "out", **GIVEN)
    assert list(tmp_path.iterdir()) == []


def test_plates_are_written_while_the_video_runs(two, tmp_path):
    """What they are drawn from is not kept until the end."""
    seen = []

    def look(step, done, total):
        if step == "recognize":
            seen.append(len(list(tmp_path.glob("out/.*/plates/event-*.png"))))

    microexpr.recognize(two, tmp_path / "out", progress=look, **GIVEN)
    assert 1 in seen
    assert len(plates(tmp_path / "out")) == 2


def test_live_after_recognize_and_recognize_after_live(folder, one, two):
    recording = microexpr.live(one, folder, **GIVEN)
    assert recording.files["video"] == folder / "recording.mp4"
    live = ["events.csv", "events.json", "recording.mp4", "timeline.png"]
    assert sorted(contents(folder)) == sorted([*live, "notes.txt", "plates/mine.png", f"plates/{plates(folder)[0]}"])
    video = (folder / "recording.mp4").read_bytes()
    again = microexpr.recognize(two, folder, **GIVEN)
    assert again.files["video"] == folder / "annotated.mp4"
    assert folder / "recording.mp4" not in again.files.values()
    assert (folder / "recording.mp4").read_bytes() == video
    with pytest.raises(BadInput, match=r"a folder without a recording, got .*out with recording\.mp4; choose another"):
        microexpr.live(one, folder, **GIVEN)
    assert (folder / "recording.mp4").read_bytes() == video
    assert len(read_events(folder)) == 2


def test_a_recording_is_recognized_into_its_own_folder(one, tmp_path):
    microexpr.live(one, tmp_path / "today", **GIVEN)
    recording = microexpr.recognize(tmp_path / "today" / "recording.mp4", tmp_path / "today", detector="precropped")
    assert len(recording.events) == 1
    files = sorted([*RESULT, "plates", "recording.mp4"])
    assert sorted(file.name for file in (tmp_path / "today").iterdir()) == files


def test_two_cameras_do_not_share_a_folder(one, tmp_path):
    """While one is recorded its file has no name yet; a process that was killed may have left one behind."""
    place = tmp_path / "today"
    with output.Output(place, 0, records=True) as first, first.recording(open_source(one, fps=FPS)) as video:
        video.write(one[0], 0.0)
        with (
            pytest.raises(BadInput, match=r"got .*today with \.recording\..*\.tmp"),
            output.Output(place, records=True),
        ):
            pass
    assert [file.name for file in place.iterdir()] == ["recording.mp4"]


def test_a_recording_is_kept_where_an_error_ends_it(folder, two):
    class Unplugged(Source):
        def _read(self):
            for number, image in enumerate(two[:30]):
                yield Frame(number, number / FPS, image)
            raise BadInput("a frame", "none", "plug the camera in")

    before = contents(folder)
    with pytest.raises(BadInput, match="plug the camera in") as error:
        microexpr.live(Unplugged("camera", (224, 224), FPS), folder, detector="precropped")
    assert error.value.__notes__ == [f"the video is kept: {folder / 'recording.mp4'}"]
    after = contents(folder)
    assert len(list(open_source(folder / "recording.mp4").frames())) > 10
    del after["recording.mp4"]
    assert after == before


def test_what_somebody_else_wrote_is_not_taken_for_an_earlier_result(one, tmp_path):
    (tmp_path / "events.json").write_text('{"format": "of another program"}')
    (tmp_path / "annotated.mp4").write_bytes(b"mine")
    (tmp_path / "plates").mkdir()
    (tmp_path / "plates" / "event-001-frame-1.png").write_bytes(b"mine")
    microexpr.live(one[:40], tmp_path, **GIVEN)
    assert (tmp_path / "annotated.mp4").read_bytes() == b"mine"
    assert plates(tmp_path) == ["event-001-frame-1.png"]
    assert read_events(tmp_path) == []


@pytest.mark.parametrize("name", ["events.json", "annotated.mp4", "plates"])
def test_a_place_that_is_taken_is_told_before_the_video(one, tmp_path, name):
    (tmp_path / name).write_bytes(b"") if name == "plates" else (tmp_path / name).mkdir()
    with pytest.raises(BadInput, match=rf"a folder that can be written, got .* \({name} in it is (a|no) folder\)"):
        microexpr.recognize(one, tmp_path, **GIVEN, progress=interrupted)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["annotated.mp4", "plates", ""])
def test_the_input_is_not_replaced(one, tmp_path, name):
    given = tmp_path / "plates" / "film.mkv"
    given.parent.mkdir()
    write_video(given, one[:3], FPS)
    if name == "annotated.mp4":
        given = given.rename(tmp_path / name)
    with (
        pytest.raises(BadInput, match="an output folder apart from the input"),
        output.Output(tmp_path, tmp_path / name),
    ):
        pass
