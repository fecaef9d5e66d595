"""The parts of the local web page that know nothing of Gradio: sessions, work, chart, words, runs."""

import json
import os
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from microexpr import api, demonstration
from microexpr.datasets._render import Movement
from microexpr.errors import BadInput
from microexpr.page import sessions as sessions_module
from microexpr.page import timeline, views
from microexpr.page.limits import Limits, typed_rate
from microexpr.page.runs import Runs
from microexpr.page.sessions import Sessions, safe_name
from microexpr.page.upload import describe
from microexpr.page.work import Settings, State, Workshop, told
from microexpr.types import Dataset
from microexpr.video.track import Track
from tests import recordings
from tests.clips import flow_clips
from tests.page import until
from tests.videos import rendered, write_video

FPS = 100
SMILE = Movement(60, 76, 95, ("6", "12"), 2.0)


@pytest.fixture
def sessions():
    with Sessions() as opened:
        yield opened


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A rendered face crop that smiles for a moment, as a file's bytes."""
    frames = rendered(FPS, 1.3, SMILE)
    return write_video(tmp_path_factory.mktemp("video") / "smile.mkv", frames, FPS).read_bytes()


def received(session, content, name="smile.mkv"):
    with session.receiving(name) as (stream, _):
        stream.write(content)


def states(shop, session, **settings):
    """All that a run says of itself."""
    return said(shop.run(session, Settings(detector="precropped", **settings)))


def said(run):
    """All states to the end, which must come."""
    deadline, seen = time.monotonic() + 90, []
    for state in run:
        seen.append(state)
        assert time.monotonic() < deadline, "it does not end"
    return seen


@pytest.fixture(scope="module")
def found(video):
    """The session and the result of the video."""
    with Sessions() as opened:
        session = opened.of_page("page")
        received(session, video)
        last = states(Workshop(Limits(), opened.root), session)[-1]
        assert last.kind == "done", last
        yield session, last.found


# ---- names ----


@settings(max_examples=50)
@given(st.text(max_size=300))
@example("../../etc/passwd")
@example("CON.mp4")
@example("con.tar.gz")
@example("lpt¹ .mkv")
@example("a" * 300 + ".mkv")
@example("é" * 99 + ".mkv")
def test_a_safe_name(name):
    safe = safe_name(name)
    assert safe
    assert not set(safe) & set('/\\<>"&%:*?|\0\n')
    assert not safe.startswith((".", "-", " "))
    assert len(safe.encode()) <= sessions_module.LONGEST_NAME
    assert safe_name(safe) == safe
    assert safe.split(".")[0].strip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1", "LPT¹"}


# ---- sessions ----


def test_an_upload_takes_the_place_of_the_one_before(sessions):
    session = sessions.of_page("page")
    received(session, b"1", "one.mkv")
    received(session, b"2", "two.mkv")
    assert session.video.read_bytes() == b"2"
    assert [file.name for file in session.folder.rglob("*.mkv")] == ["two.mkv"]
    with pytest.raises(OSError, match="broke off"), session.receiving("three.mkv"):
        raise OSError("broke off")
    assert session.video.read_bytes() == b"2"
    assert [file.name for file in session.folder.rglob("*.mkv")] == ["two.mkv"]


def test_of_two_uploads_at_once_the_one_that_began_last_is_kept(sessions):
    session = sessions.of_page("page")
    with pytest.raises(BadInput, match="the video that was chosen last"), session.receiving("slow.mkv"):
        received(session, b"2", "quick.mkv")
    assert session.video.name == "quick.mkv"
    assert [file.name for file in session.folder.rglob("*.mkv")] == ["quick.mkv"]


def test_work_that_can_not_begin_does_not_block_the_next(sessions, monkeypatch):
    session = sessions.of_page("page")

    def full(folder):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.mkdir", lambda *arguments, **options: full(arguments))
        with pytest.raises(OSError, match="No space"), session.working():
            pass
    with session.working():
        pass


def test_while_a_video_is_worked_on_nothing_else_begins(sessions):
    session = sessions.of_page("page")
    with session.working() as place:
        assert list(place.iterdir()) == []
        with pytest.raises(BadInput, match="one video at a time"), session.working():
            pass
        with pytest.raises(BadInput, match="no upload while"), session.receiving("x.mkv"):
            pass


def test_an_upload_that_ends_after_work_began_is_not_kept(sessions):
    session = sessions.of_page("page")
    upload, work = session.receiving("late.mkv"), session.working()
    _, file = upload.__enter__()
    work.__enter__()
    with pytest.raises(BadInput, match="no upload while"):
        upload.__exit__(None, None, None)
    assert not file.exists()
    work.__exit__(None, None, None)
    assert session.video is None


def test_a_closed_page_has_nothing(sessions):
    session = sessions.of_page("page")
    received(session, b"1")
    assert session.keep_report("<p>") == "report.html"
    assert session.file("report.html").read_text() == "<p>"
    assert session.file("../report.html") is None
    assert sessions.of_token(session.token) is session
    sessions.leave("page")
    assert not session.folder.exists()
    assert sessions.of_token(session.token) is None
    assert session.stop.is_set()
    for use in (session.working, lambda: session.receiving("x.mkv")):
        with pytest.raises(BadInput, match="expected an open page"), use():
            pass
    with pytest.raises(BadInput, match="expected an open page"):
        session.keep_report("")
    with pytest.raises(BadInput, match="expected an open page"):
        sessions.open_page("page")
    other = sessions.of_page("page")
    assert other is not session
    assert sessions.open_page("page") is other


def test_what_is_at_work_removes_its_files_itself(sessions):
    session = sessions.of_page("page")
    with session.working() as place:
        sessions.leave("page")
        assert session.stop.is_set()
        (place / "late").touch()  # it has not noticed yet
    assert not session.folder.exists()


def test_a_page_that_is_left_alone_loses_its_files():
    with Sessions(idle_minutes=10) as opened:
        idle, used, busy = (opened.of_page(page) for page in ("idle", "used", "busy"))
        for session in (idle, busy):
            session.touched = time.monotonic() - 601
        with busy.working():
            opened.remove_idle()
        assert [session.closed for session in (idle, used, busy)] == [True, False, False]
        assert not idle.folder.exists()


def test_the_end_waits_for_work_and_removes_everything():
    with Sessions() as opened:
        session = opened.of_page("page")

        def work():
            with session.working() as place:
                session.stop.wait(30)
                time.sleep(0.1)
                (place / "late").touch()

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: session.busy)
    assert not opened.root.exists()
    thread.join()


def test_what_a_killed_server_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, half, young, linked = (tmp_path / f"{sessions_module.PREFIX}{name}" for name in ("dead", "half", "y", "l"))
    long_ago = time.time() - sessions_module.DEAD_SECONDS - 5
    for folder in (dead, half, young):
        folder.mkdir()
        (folder / "alive").touch()
        (folder / "face.mkv").touch()
    (half / "alive").unlink()  # it was killed while it removed its files
    other = tmp_path / "other"
    shutil.copytree(dead, other)
    linked.symlink_to(other)
    for file in (dead / "alive", half, other / "alive"):
        os.utime(file, (long_ago, long_ago))
    with Sessions() as first:
        assert {file for file in (dead, half, young, linked) if file.exists()} == {young, linked}
        assert (other / "face.mkv").exists()
        os.utime(first.root / "alive", (long_ago, long_ago))  # the machine slept: nobody could touch it
        with Sessions():
            assert first.root.exists() or sys.platform == "win32"


def test_what_was_killed_a_moment_ago_is_removed_later(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sessions_module, "SWEEP_SECONDS", 0.01)
    left = tmp_path / f"{sessions_module.PREFIX}left"
    left.mkdir()
    (left / "alive").touch()
    with Sessions() as opened:
        idle = opened.of_page("idle")
        idle.touched -= 1e9
        until(lambda: idle.closed)
        assert left.exists()
        long_ago = time.time() - sessions_module.DEAD_SECONDS - 5
        os.utime(left / "alive", (long_ago, long_ago))
        until(lambda: not left.exists() or sys.platform == "win32")


# ---- uploads ----


def moving(path, sizes, fps=50):
    """A video of PNG pictures of these sizes, whose header tells only the first."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "rgb24"
        for number, (width, height) in enumerate(sizes):
            _, content = cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))
            packet = av.Packet(content.tobytes())
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, number, number, True
            packet.time_base = Fraction(1, fps)
            container.mux(packet)
    return path


def test_an_upload_is_described(tmp_path):
    assert describe(moving(tmp_path / "a.mov", [(60, 40)] * 3), Limits()) == ["60 x 40", "50 frames a second"]


@pytest.mark.parametrize("kind", ["playlist", "list", "session", "text"])
def test_what_names_other_files_is_no_video(tmp_path, kind):
    other = moving(tmp_path / "other.mov", [(64, 48)] * 3)
    name, content = {
        "playlist": ("p.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n"),
        "list": ("l.mp4", "ffconcat version 1.0\nfile other.mov\n"),
        "session": (
            "s.sdp",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        ),
        "text": ("t.txt", "hello world\n" * 50),
    }[kind]
    (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=f"expected a video file, got {name}, which can't be read"):
        describe(tmp_path / name, Limits())


@pytest.mark.parametrize("name", ["a.mov", "a.avi"])
def test_frames_that_are_too_large_are_never_decoded(tmp_path, monkeypatch, name):
    monkeypatch.setattr("microexpr.page.upload.open_source", lambda file: pytest.fail("it was opened"))
    # "broken": FFmpeg looks into a file when it opens it, and did not unpack a picture there either
    with pytest.raises(
        BadInput, match=r"frames of at most 0\.05 megapixels, got a\..*, whose frames are larger or broken"
    ):
        describe(moving(tmp_path / name, [(300, 200)] * 2), Limits(megapixels=0.05))


def test_a_file_that_is_damaged_at_its_beginning_is_taken(tmp_path):
    file = moving(tmp_path / "a.avi", [(60, 40)] * 6)
    content = file.read_bytes()
    first = content.index(b"\x89PNG")
    file.write_bytes(content[: first + 40] + bytes(30) + content[first + 70 :])
    assert describe(file, Limits())[0] == "60 x 40"


# ---- work ----


def test_a_video_becomes_events_pictures_and_files(found):
    session, result = found
    (event,) = result.recording.events
    assert abs(event.onset - SMILE.onset) <= 10
    assert event.emotion == "positive"
    pictures = result.pictures[event.onset]
    assert pictures.regions[0][0] in ("left mouth corner", "right mouth corner")
    assert [pixels for _, pixels in pictures.regions] == sorted((p for _, p in pictures.regions), reverse=True)
    assert set(session.files) == {
        *("events.json", "events.csv", "annotated.mp4", "timeline.png", "plates.zip"),
        f"event-001-frame-{event.onset}.mp4",
        *(f"event-001-{kind}.png" for kind in ("onset", "apex", "magnified", "flow")),
    }
    assert all(file.is_file() and session.folder in file.parents for file in session.files.values())
    with zipfile.ZipFile(session.files["plates.zip"]) as pack:
        names = {file.partition("/")[0] for file in pack.namelist()}
    assert names == {"plates", "magnified", "timeline.png"}


def test_work_is_cancelled_on_its_way(sessions, video):
    session = sessions.of_page("page")
    received(session, video)
    seen = []
    for state in Workshop(Limits(), sessions.root).run(session, Settings(detector="precropped")):
        seen.append(state)
        session.stop.set()
    assert seen[-1].kind == "cancelled"
    assert not session.busy
    assert session.files == {}
    assert sorted(file.name for file in session.folder.rglob("*") if file.is_file()) == ["smile.mkv"]
    received(session, video)  # and the next one can come


def test_a_cancel_at_the_very_beginning_is_heard(sessions, video):
    session = sessions.of_page("page")
    received(session, video)
    work = Workshop(Limits(), sessions.root).run(session, Settings(detector="precropped"))
    assert next(work).kind in ("waiting", "working")
    assert session.busy
    session.stop.set()
    assert said(work)[-1].kind == "cancelled"


def test_a_second_start_of_a_page_is_refused_and_the_first_goes_on(sessions, video):
    session, shop = sessions.of_page("page"), Workshop(Limits(), sessions.root)
    received(session, video)
    first = shop.run(session, Settings(detector="precropped"))
    next(first)
    with pytest.raises(BadInput, match="one video at a time"):
        next(shop.run(session, Settings(), example=True))
    session.stop.set()
    assert said(first)[-1].kind == "cancelled"


def test_who_waits_can_cancel_and_who_is_too_many_is_told(sessions, video):
    shop = Workshop(Limits(workers=1, waiting=1), sessions.root)
    first, second, third = (sessions.of_page(page) for page in "abc")
    for session in (second, third):
        received(session, video)
    with shop.worker(first):
        waiting = shop.run(second, Settings(detector="precropped"))
        assert next(waiting).kind == "waiting"
        (refused,) = (state for state in states(shop, third) if state.kind == "failed")
        assert "expected a free place, got 2 videos before yours" in refused.words
        second.stop.set()
        assert said(waiting)[-1].kind == "cancelled"


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(frames=100), "at most 100 frames"),
        (Limits(megapixels=0.05), "at most 0.05 megapixels, got 224x224"),
    ],
)
def test_limits_hold_while_it_works(sessions, video, limits, told):
    session = sessions.of_page("page")
    received(session, video)
    last = states(Workshop(limits, sessions.root), session)[-1]
    assert last.kind == "failed"
    assert told in last.words


def test_work_without_a_video(sessions):
    last = states(Workshop(Limits(), sessions.root), sessions.of_page("page"))[-1]
    assert (last.kind, last.words) == (
        "failed",
        "expected a video, got none; drop one, or choose the rendered example",
    )


def test_the_example_is_rendered_once(sessions, monkeypatch):
    made = []

    def film(file, progress):
        made.append(file)
        return demonstration.rendered_film(file, 0.3, progress)

    monkeypatch.setattr("microexpr.page.work.rendered_film", film)
    shop = Workshop(Limits(), sessions.root)
    for page in "ab":
        last = list(shop.run(sessions.of_page(page), Settings(), example=True))[-1]
        assert last.kind == "done", last
        assert last.found.name == "rendered-example.mp4"
    assert len(made) == 1


def test_errors_do_not_name_our_folders(sessions):
    session = sessions.of_page("page")
    assert told(BadInput("a", f"{session.folder}/upload-3/my film.mkv broken", "b"), session) == (
        "expected a, got my film.mkv broken; b"
    )
    assert told(OSError(28, "No space left on device"), session) == (
        "a file can't be written or read: No space left on device; see whether the disk is full"
    )


def test_an_error_that_nobody_foresaw_is_logged(sessions, caplog):
    words = told(ZeroDivisionError("by\nzero"), sessions.of_page("page"))
    assert words == "unexpected ZeroDivisionError: by zero; please report it, with what the terminal says"
    assert "ZeroDivisionError" in caplog.text


def test_advice_is_about_the_page(sessions):
    session = sessions.of_page("page")
    frames = np.full((4, 48, 64, 3), 90, np.uint8)
    with session.receiving("wall.mkv") as (_, file):
        write_video(file, frames, 50)
    last = list(Workshop(Limits(), sessions.root).run(session, Settings()))[-1]
    assert last.words == (
        "expected a face in wall.mkv, got none in 4 frames; film the face from the front in good light, "
        "or choose that the video shows nothing but the face"
    )


@pytest.mark.parametrize(("typed", "rate"), [("", None), (None, None), (" 200 ", 200), ("59,94", 59.94)])
def test_a_typed_rate(typed, rate):
    assert typed_rate(typed) == rate


@pytest.mark.parametrize("typed", ["fast", "0", "-5", "nan", "inf", "1e-12", "1e12"])
def test_a_typed_rate_that_can_not_be(typed):
    with pytest.raises(BadInput, match="a number from 1 to 10000, got"):
        typed_rate(typed)


# ---- the chart ----


def test_the_chart_shows_every_event_in_its_place():
    drawn = timeline.draw(recordings.track(), recordings.EVENTS)
    whole = recordings.LENGTH / recordings.FPS
    assert (drawn.start, drawn.end) == (0, pytest.approx(whole))
    assert [mark.kind for mark in drawn.marks] == ["named", "unsure", "macro"]
    for mark, event in zip(drawn.marks, recordings.EVENTS, strict=True):
        assert mark.left == pytest.approx(100 * event.onset_seconds / whole)
        assert mark.left + mark.width == pytest.approx(100 * event.offset_seconds / whole)
    lost = recordings.LOST
    x, width = 1000 * lost.start / recordings.LENGTH, 1000 * len(lost) / recordings.LENGTH
    assert f'<rect class="lost" x="{x:.2f}" y="0" width="{width:.2f}"' in drawn.svg
    points = json.loads(drawn.points)
    assert len(points) == recordings.LENGTH
    assert points[lost.start] == [lost.start / recordings.FPS, None, points[lost.start][2]]
    assert drawn.svg.count("M") == 3  # the motion in two pieces around the lost face, the threshold in one


def test_the_chart_of_a_long_video_keeps_its_peak():
    track = Track()
    for number in range(25_000):
        track.add(number, number / 200, (0.0, 0.0, 9.0, 9.0), 3.0 if number == 12_345 else 0.1, 0.3)
    points = json.loads(timeline.draw(track, []).points)
    assert len(points) == timeline.COLUMNS
    assert max(points, key=lambda point: point[1])[:2] == [pytest.approx(12_345 / 200, abs=1e-3), 3.0]


def test_a_grimace_does_not_flatten_the_rest():
    drawn = timeline.draw(recordings.track(), [recordings.POSITIVE, recordings.GRIMACE])
    micro = recordings.POSITIVE.strength
    assert drawn.peak <= timeline.HEADROOM * timeline.CROP * micro
    huge = replace(recordings.POSITIVE, strength=0.2)
    assert timeline.draw(recordings.track(), [huge]).cut


def test_buttons_of_neighbors_are_in_lanes():
    track = recordings.track()
    shifts = (1.0, 1.1, 2.0)
    near = [replace(recordings.POSITIVE, onset_seconds=shift, offset_seconds=shift + 0.1) for shift in shifts]
    drawn = timeline.draw(track, near)
    assert [mark.lane for mark in drawn.marks] == [0, 1, 0]
    assert drawn.lanes == 2


def test_the_chart_of_one_frame_and_of_no_face():
    track = Track()
    track.add(0, 0.0, None, np.nan, np.nan)
    drawn = timeline.draw(track, [])
    assert "NaN" not in drawn.points
    assert "nan" not in drawn.svg


@pytest.mark.parametrize(
    ("seconds", "step", "words"),
    [
        (3.0, 1, "3"),
        (3.25, 0.05, "3.25"),
        (59.9, 0.1, "59.9"),
        (60, 10, "1:00"),
        (61.5, 0.5, "1:01.5"),
    ],
)
def test_clock(seconds, step, words):
    assert timeline.clock(seconds, step) == words


# ---- words ----


def test_what_came_from_outside_is_escaped(found):
    session, result = found
    name = "<script>alert(1)</script>\"'.mkv"
    recording = replace(result.recording, warnings=["<b>warned</b>"])
    shown = views.result(replace(result, name=name, recording=recording), session.token)
    assert "<script>" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "&lt;b&gt;warned" in shown
    assert "<i>" not in views.state(State("failed", "<i>"))


def test_how_far_the_work_is():
    known = views.state(State("working", "Following the face", 1200, 2400))
    assert "1,200 of 2,400 frames" in known
    assert '<progress max="2400" value="1200"' in known
    unknown = views.state(State("working", "Following the face", 1200))
    assert "1,200 frames" in unknown
    assert "<progress aria-label" in unknown  # a bar without an end
    assert views.state(State("done", "")) == ""


def test_a_file_that_does_not_say_its_length(sessions, video, monkeypatch):
    monkeypatch.setattr("microexpr.page.work.POLL_SECONDS", 0.001)
    session = sessions.of_page("page")
    received(session, video)
    following = [state for state in states(Workshop(Limits(), sessions.root), session) if "Following" in state.words]
    assert any(state.done for state in following)
    assert not any(state.total for state in following)  # a stream of Matroska says no number of frames


def test_an_answer_an_abstention_and_a_longer_movement(found):
    session, result = found
    (event,) = result.recording.events
    shown = views.result(result, session.token)
    assert f"Micro-expression: positive, {100 * event.probabilities['positive']:.0f} %" in shown
    assert "Not named" not in shown
    unsure = replace(event, abstained="the motion does not rise above the noise")
    shown = views.result(replace(result, recording=replace(result.recording, events=[unsure])), session.token)
    assert "Micro-expression, not named" in shown
    assert "Not named: the motion does not rise above the noise." in shown
    assert 'class="me-best"' not in shown
    longer = replace(event, kind="macro", probabilities={}, abstained="it is longer than 500 ms")
    shown = views.result(replace(result, recording=replace(result.recording, events=[longer])), session.token)
    assert "No micro-expression and 1 longer movement" in shown
    assert "Not judged: it is longer than 500 ms." in shown
    shown = views.result(replace(result, recording=replace(result.recording, events=[])), session.token)
    assert "No movement found" in shown
    assert "me-event" not in shown


def test_every_address_of_a_result_is_one_of_its_files(found):
    session, result = found
    shown = views.result(result, session.token)
    for attribute in ("src", "href"):
        for piece in shown.split(f'{attribute}="')[1:]:
            address = piece.partition('"')[0]
            assert address == "/page/wheel.png" or session.file(address.removeprefix(f"/session/{session.token}/"))


# ---- runs ----


def test_runs_are_listed_and_reported(tmp_path):
    runs = Runs(tmp_path / "runs")
    assert "No runs in" in runs.table()
    data = Dataset("replica", tuple(flow_clips(4, 3)))
    run, other = (api.evaluate(method, data, jobs=1, runs=tmp_path / "runs")[0] for method in ("majority", "prior"))
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    table = runs.table()
    assert table.count('class="me-run"') == 2
    assert run.folder.name in table
    assert "broken" in table
    assert str(tmp_path / "runs" / "broken") not in table
    page = runs.report([run.folder.name, other.folder.name])
    assert "majority" in page
    assert "prior" in page
    for names, words in (
        ([], "at least one run"),
        (["../runs"], "runs of this folder"),
        ([str(run.folder)], "runs of this folder"),
        (["broken"], "runs of this folder"),
        ([run.folder.name] * 50, "at most 40 runs"),
    ):
        with pytest.raises(BadInput, match=words):
            runs.report(names)


def test_runs_that_are_not_listed_are_told(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    assert "are listed" not in Runs(tmp_path).table()
    monkeypatch.setattr("microexpr.page.runs.MOST", 1)
    table = Runs(tmp_path).table()
    assert "only the first 1 runs by name are listed" in table
    assert "two" not in table


@pytest.mark.parametrize(
    ("changed", "listed"),
    [
        ({"settings": None}, False),
        ({"data": 5}, False),
        ({"dataset": ["x"]}, False),
        ({"machine": "<script>alert(1)</script>"}, True),
        ({"select": "<script>alert(1)</script>"}, True),
        ({"method": "<script>alert(1)</script>"}, True),
    ],
)
def test_a_run_that_is_damaged_hides_no_other(tmp_path, changed, listed):
    data = Dataset("replica", tuple(flow_clips(4, 3)))
    good, bad = (api.evaluate(method, data, jobs=1, runs=tmp_path)[0] for method in ("majority", "prior"))
    file = bad.folder / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    table = Runs(tmp_path).table()
    assert f'value="{good.folder.name}"' in table
    assert (f'value="{bad.folder.name}"' in table) == listed
    assert (f"{bad.folder.name}: damaged (" in table) != listed
    assert "<script>" not in table
    if listed and "method" not in changed:
        with pytest.raises(BadInput, match=r"whose run\.json is damaged"):
            Runs(tmp_path).report([bad.folder.name])
    elif listed:
        assert "<script>alert" not in Runs(tmp_path).report([bad.folder.name])
