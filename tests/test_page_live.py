"""The tab Live: a camera or the example watched while it runs, by itself, over HTTP, and in a browser."""

import contextlib
import json
import math
import threading
import time
from urllib.parse import urlencode, urlsplit

import cv2
import numpy as np
import pytest

from microexpr import videos
from microexpr.datasets._render import Movement
from microexpr.errors import BadInput
from microexpr.page import live as live_module
from microexpr.page import timeline
from microexpr.page.limits import Limits
from microexpr.page.live import Asked, LiveRun, preview
from microexpr.page.sessions import Sessions
from microexpr.page.studio import Studio, chosen
from microexpr.page.work import Workshop
from microexpr.types import Event
from microexpr.video.reader import Ahead
from microexpr.video.source import Frame, Source
from microexpr.video.track import Track
from microexpr.video.write import VideoWriter
from tests.page import serving, until
from tests.videos import rendered

FPS = 100
SMILE = Movement(50, 66, 85, ("6", "12"), 2.0)
CAMERA = Asked(0)


@pytest.fixture(scope="module")
def film():
    """A face that smiles for a moment, 1.2 seconds."""
    return rendered(FPS, 1.2, SMILE, crop=False)


class FakeCamera(Source):
    """A camera that films pictures and then the last of them for ever, or until something happens.

    Attributes:
        open: cameras that are open now.
    """

    repeats = False
    open = 0

    def __init__(self, pictures, then=None):
        super().__init__("camera 0", pictures[0].shape[1::-1], FPS)
        self._pictures, self._then = pictures, then

    def _read(self):
        FakeCamera.open += 1
        try:
            number = 0
            while number < len(self._pictures) or self._then is None:
                yield Frame(number, number / FPS, self._pictures[min(number, len(self._pictures) - 1)])
                number += 1
            return self._then()
        finally:
            FakeCamera.open -= 1


@pytest.fixture
def sessions():
    with Sessions() as opened:
        yield opened


@pytest.fixture
def studio(sessions):
    return Studio(Workshop(Limits(), sessions.root), Limits())


@pytest.fixture
def camera(monkeypatch, film):
    """Every camera films the still face, quickly."""

    def put(pictures=film[:1], then=None):
        monkeypatch.setattr(live_module, "open_source", lambda number, fps: FakeCamera(pictures, then))

    put()
    yield put
    until(lambda: FakeCamera.open == 0)


@pytest.fixture
def unhurried(monkeypatch):
    """Frames wait for their answers, however long the machine sleeps."""
    monkeypatch.setattr(videos, "Ahead", lambda source, live: Ahead(source))


def ended(run):
    """What there is to see once a run is over."""
    until(run.ended.is_set)
    until(lambda: run.look().state.kind in ("done", "failed"))
    return run.look()


# ---- one run ----


def test_a_camera_is_watched_until_it_is_stopped(sessions, studio, camera):
    session = sessions.of_page("page")
    run = studio.start(session, CAMERA)
    until(lambda: run.look().status is not None and run.look().status.frames > 5)
    seen = run.look()
    assert (seen.state.kind, seen.state.words) == ("working", "Running")
    assert seen.status.box is not None
    assert seen.latency["p99"] >= seen.latency["p50"] > 0
    assert seen.rate > 0
    picture = cv2.imdecode(np.frombuffer(seen.picture, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (240, 240, 3)
    studio.stop(session)
    seen = ended(run)
    assert (seen.state.kind, seen.state.words) == ("done", "Stopped. Nothing was recorded.")
    assert FakeCamera.open == 0
    assert seen.chart is not None
    assert list(session.folder.iterdir()) == []


def test_a_camera_that_gives_nothing_more_is_told(sessions, studio, camera, film):
    reached, plugged = threading.Event(), threading.Event()

    def stuck():
        reached.set()
        plugged.wait(60)
        return []

    camera(film[:5], stuck)
    session = sessions.of_page("page")
    run = studio.start(session, CAMERA)
    until(lambda: reached.is_set() and run.look().status is not None)
    studio.stop(session)
    assert run.look().state.words == "Stopping"
    plugged.set()
    assert ended(run).state.words == "Stopped. Nothing was recorded."


def test_a_closed_page_frees_the_camera(sessions, studio, camera):
    run = studio.start(sessions.of_page("page"), CAMERA)
    until(lambda: run.look().status is not None)
    sessions.leave("page")
    assert ended(run).state.kind == "done"
    assert FakeCamera.open == 0


def test_the_end_of_the_server_waits_for_the_camera(camera):
    with Sessions() as sessions:
        run = Studio(Workshop(Limits(), sessions.root), Limits()).start(sessions.of_page("page"), CAMERA)
        until(lambda: run.look().status is not None)
    assert run.ended.is_set()
    assert FakeCamera.open == 0


def test_an_event_is_listed_and_an_error_keeps_it(sessions, studio, camera, film, unhurried):
    def unplugged():
        raise BadInput("a picture of the camera", "none", "plug it in again")

    camera([*film, *film[-1:].repeat(40, 0)], unplugged)
    seen = ended(studio.start(sessions.of_page("page"), CAMERA))
    assert (seen.state.kind, seen.state.words) == (
        "failed",
        "expected a picture of the camera, got none; plug it in again",
    )
    (noted,) = seen.events
    assert (noted.number, noted.event.emotion, noted.event.kind) == (1, "positive", "micro")
    assert noted.event.apex_seconds == pytest.approx(SMILE.apex / FPS, abs=0.05)
    (mark,) = seen.chart.marks
    assert mark.middle == pytest.approx(100 * 0.675 / 10, abs=0.7)  # percent of ten seconds
    assert (seen.chart.start, seen.chart.end) == (0, 10)


def test_a_camera_that_ends_says_so(sessions, studio, camera, film, unhurried):
    camera(film[:20], lambda: ["camera 0 stopped after 20 frames"])
    seen = ended(studio.start(sessions.of_page("page"), CAMERA))
    assert (seen.state.kind, seen.state.words, seen.status.frames) == ("done", "Ended. Nothing was recorded.", 20)
    assert "camera 0 stopped after 20 frames" in seen.warnings


def test_nobody_in_the_picture(sessions, studio, camera, unhurried):
    camera(np.full((30, 120, 160, 3), 90, np.uint8), list)
    seen = ended(studio.start(sessions.of_page("page"), CAMERA))
    assert (seen.state.kind, seen.state.words) == (
        "done",
        "Ended. No face was found: film it from the front, in good light.",
    )
    assert math.isnan(seen.status.level)
    assert seen.status.box is None
    picture = cv2.imdecode(np.frombuffer(seen.picture, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (120, 160, 3)  # all of it
    assert 'class="lost"' in seen.chart.svg


def test_an_error_before_any_face_is_told(sessions, studio, camera, unhurried):
    def unplugged():
        raise BadInput("a picture of the camera", "none", "plug it in again")

    camera(np.full((5, 120, 160, 3), 90, np.uint8), unplugged)
    seen = ended(studio.start(sessions.of_page("page"), CAMERA))
    assert (seen.state.kind, "expected a picture of the camera, got none" in seen.state.words) == ("failed", True)


def test_a_run_does_not_last_for_ever(sessions, studio, camera, monkeypatch):
    monkeypatch.setattr(live_module, "LONGEST_MINUTES", 0.001)
    assert "a run lasts 0.001 minutes at most" in ended(studio.start(sessions.of_page("page"), CAMERA)).state.words


def test_the_example(sessions, studio, monkeypatch, film):
    def written(file, progress):
        with VideoWriter(file, film[0].shape[1::-1], FPS) as writer:
            for number, image in enumerate(film[:20]):
                writer.write(image, number / FPS)
                progress("render a video", number + 1, 20)
        return file

    monkeypatch.setattr("microexpr.page.work.rendered_film", written)
    seen = ended(studio.start(sessions.of_page("page"), Asked(None)))
    assert (seen.state.kind, seen.state.words) == ("done", "Ended. Nothing was recorded.")
    assert seen.status.frames + seen.status.dropped <= 20


@pytest.fixture
def long_run(sessions, monkeypatch):
    """A made-up run of a minute with 150 events, at its end; its last five seconds show a face."""

    def a_minute(source, *, each, begun, status):
        begun()
        for frame in range(6000):
            seconds, box = frame / FPS, None if frame < 5500 else (1.0, 2.0, 30.0, 40.0)
            if frame % 40 == 39:
                numbers, times = (frame - 30, frame - 20, frame - 10), (seconds - 0.3, seconds - 0.2, seconds - 0.1)
                each(Event(*numbers, *times, "micro", 1.0, 0.1, ("<b>chin</b>",), {}, "<i>unsure</i>"), 0.02)
            status(videos.Status(seconds, 0.2, 0.4, frame + 1, 7, 0.004, box))
        over.wait(60)
        raise BadInput("a", "b", "c")

    over = threading.Event()
    monkeypatch.setattr(live_module.videos, "live", a_minute)
    monkeypatch.setattr(live_module, "open_source", lambda number, fps: FakeCamera(np.zeros((1, 48, 64, 3), np.uint8)))
    run = LiveRun(sessions.of_page("page"), Workshop(Limits(), sessions.root), Limits(), CAMERA)
    run.begin()
    until(lambda: run.look().status is not None and run.look().status.frames == 6000)
    yield run
    over.set()
    assert ended(run).state.words == "expected a, got b; c"


def test_what_is_kept_is_bounded(long_run):
    seen = long_run.look()
    assert seen.count == 150
    assert [one.number for one in seen.events] == list(range(150, 50, -1))
    points = json.loads(seen.chart.points)
    assert (points[0][0], points[-1][0]) == (pytest.approx(49.99, abs=0.011), pytest.approx(59.99, abs=0.011))
    assert [mark.number for mark in seen.chart.marks] == list(range(126, 151))  # those that ended after 49.99 s
    assert seen.rate == pytest.approx(100)
    assert seen.latency == {"p50": 4.1, "p99": 4.1}  # upper edges of bins of 0.1 ms
    assert seen.chart.peak == pytest.approx(2 * 0.4)  # twice the threshold, which the motion never reaches


def test_the_answer_to_the_page(long_run):
    pytest.importorskip("fastapi", reason="the page needs the extra app")
    from microexpr.page.live_routes import shown

    answer = shown(long_run)
    assert answer["numbers"] == {
        "motion": "0.20 px",
        "rate": "100.0",
        "frames": "6,000",
        "dropped": "7",
        "median": "4.1 ms",
        "slowest": "4.1 ms",
    }
    assert answer["face"] is True
    assert answer["events"].count("<tr>") == 100
    assert "&lt;b&gt;chin" in answer["events"]  # no part of the page comes from words
    assert "&lt;i&gt;unsure" in answer["events"]
    assert "<b>" not in answer["events"] + answer["chart"]["html"] + answer["chart"]["lanes"]
    assert "events" not in shown(long_run, answer["count"])  # the page has them already


# ---- whose camera ----


def test_two_pages_do_not_share_a_camera(sessions, studio, camera):
    first, second, third = (sessions.of_page(page) for page in "abc")
    run = studio.start(first, CAMERA)
    with pytest.raises(BadInput, match="one live run on a page, got another one under way; stop it first"):
        studio.start(first, Asked(1))
    with pytest.raises(BadInput, match="a camera that is free, got camera 0, which another page of this program shows"):
        studio.start(second, CAMERA)
    studio.start(second, Asked(1))
    with pytest.raises(BadInput, match="a free place, got 2 live runs on other pages"):
        studio.start(third, Asked(2))
    studio.stop(first)
    again = studio.start(third, CAMERA)  # waits until it is free
    until(lambda: again.look().status is not None)
    assert run.ended.is_set()
    for session in (second, third):
        studio.stop(session)


def test_a_camera_is_not_opened_before_it_is_free(sessions, camera):
    shop = Workshop(Limits(), sessions.root)
    before = LiveRun(sessions.of_page("a"), shop, Limits(), CAMERA)  # ends when it is told to
    run = LiveRun(sessions.of_page("b"), shop, Limits(), CAMERA, [before])
    run.begin()
    time.sleep(0.3)
    assert (FakeCamera.open, run.look().state.words) == (0, "Opening camera 0")
    before.ended.set()
    until(lambda: run.look().status is not None)
    run.stop.set()


def test_no_camera(sessions, studio):
    seen = ended(studio.start(sessions.of_page("page"), Asked(97)))
    assert (seen.state.kind, seen.state.words) == (
        "failed",
        "expected a camera, got number 97, which can't be opened; "
        "check that it is there and free, or give the number of another one",
    )
    assert (seen.chart, seen.picture) == (None, None)
    assert ended(studio.start(sessions.of_page("page"), Asked(97))).state.kind == "failed"  # it may be tried again


def test_what_is_asked_for():
    assert chosen("example", "/etc/passwd", "x") == Asked(None)
    assert chosen("camera", "7", "") == Asked(7)
    assert chosen("camera", "0", " 59,94 ") == Asked(0, 59.94)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("/etc/passwd", "0", ""), "expected a camera or the example, got '/etc/passwd'"),
        *((("camera", name, ""), "the number of a camera, 0 to 99") for name in ("", "-1", "100", "x.mp4", "²", "1e1")),
        *((("camera", "0", rate), "a second, a number from 1 to 10000") for rate in ("0", "-5", "nan", "inf", "fast")),
    ],
)
def test_what_is_no_camera(given, told):
    with pytest.raises(BadInput) as caught:
        chosen(*given)
    assert told in str(caught.value)


# ---- parts ----


@pytest.mark.parametrize(
    ("shape", "box", "size"),
    [
        ((480, 640), None, (180, 240)),
        ((640, 480), None, (240, 180)),
        ((48, 64), None, (48, 64)),
        ((480, 640), (200.4, 100.2, 200.0, 220.0), (240, 240)),
        ((480, 640), (-50.0, -80.0, 200.0, 200.0), (240, 240)),
        ((480, 640), (600.0, 460.0, 400.0, 400.0), (240, 240)),
        ((480, 640), (2000.0, 3000.0, 40.0, 40.0), (68, 68)),
    ],
)
def test_a_preview_is_small(shape, box, size):
    content = preview(np.full((*shape, 3), (250, 10, 10), np.uint8), box)
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[:2] == size
    assert picture[5, 5, 2] > 200 > picture[5, 5, 0]  # red is red


def test_a_chart_of_a_window():
    track = Track()
    for frame in range(300):
        track.add(frame, 20 + frame / FPS, (0.0, 0.0, 9.0, 9.0), 0.05, 0.3)
    chart = timeline.draw(track, [], window=(13.0, 23.0), first=5, least=0.6)
    assert (chart.start, chart.end, chart.peak, chart.marks) == (13.0, 23.0, 0.6, ())
    assert 'd="M700.0 91.7L' in chart.svg  # seven tenths across; 0.05 of 0.6 high


# ---- over HTTP and in a browser ----


@pytest.fixture(scope="module")
def server(tmp_path_factory, film):
    """The page, whose example is the smile, and the still face for long enough."""
    pytest.importorskip("gradio", reason="the page needs the extra app")
    with serving(tmp_path_factory.mktemp("page") / "server") as served:
        (root,) = served.temporary.glob("microexpr-page-*")
        with VideoWriter(root / "rendered-example.mp4", film[0].shape[1::-1], FPS) as writer:
            for number in range(600):
                writer.write(film[min(number, len(film) - 1)], number / FPS)
        yield served


def ask(server, token, what, method="POST", **given):
    status, body, _ = server.ask(f"/session/{token}/live/{what}?{urlencode(given)}", method)
    return status, json.loads(body)


def test_only_an_open_page_may_start(server):
    for what, method in (("start", "POST"), ("stop", "POST"), ("now", "GET")):
        status, answer = ask(server, "unknown", what, method, source="example")
        assert (status, answer["error"]) == (410, "This page was closed or left alone for long. Load it again.")
    with server.page() as token:
        assert ask(server, token, "now", "GET") == (200, {"state": "none"})
        status, answer = ask(server, token, "start", source="camera", camera="/dev/video0")
        assert (status, "the number of a camera, 0 to 99" in answer["error"]) == (400, True)
        foreign = {"Origin": "http://evil.example"}
        assert server.ask(f"/session/{token}/live/start?source=example", "POST", None, foreign)[0] == 403
        assert server.ask(f"/session/{token}/live/start?source=example")[0] == 404  # no link or picture starts it
        assert ask(server, token, "now", "GET") == (200, {"state": "none"})
        assert ask(server, token, "start", source="camera", camera="97") == (200, {})
        until(lambda: ask(server, token, "now", "GET")[1]["state"] == "failed")
        assert "number 97, which can't be opened" in ask(server, token, "now", "GET")[1]["words"]


def test_the_tab_in_a_browser(server, tmp_path):
    browser_module = pytest.importorskip("tests.test_page_browser", reason="the browser is led by Selenium")
    if not (browser_module.CHROMIUM and browser_module.DRIVER):
        pytest.skip("needs Chromium and its chromedriver")
    browser = browser_module.Browser(tmp_path, server.address)
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(browser.driver.quit)
        browser.open()
        browser.tab("Live")
        line = "return document.querySelector('.me-live .motion')?.getAttribute('d')"

        def run_to(state, press):
            browser.wait(press).click()
            browser.wait(f".me-live[data-state='{state}']")

        browser.wait(".me-live-form [value='example']").click()
        for _ in range(3):  # frames are dropped where the machine sleeps, and an event may be among them
            run_to("working", ".me-start")
            until(lambda: browser.run(line))
            before = browser.run(line)
            until(lambda before=before: browser.run(line) != before)
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and not (rows := browser.all(".me-live tbody th")):
                time.sleep(0.05)
            if rows:
                break
            run_to("done", ".me-stop")
        assert "positive" in browser.text(".me-live tbody tr")
        assert browser.text(".me-live .me-lanes .me-mark") == "1"
        assert browser.wait(".me-preview img").get_attribute("src").startswith("data:image/jpeg;base64,")
        assert browser.text("[data-number='dropped']").isdecimal()
        assert browser.text("[data-number='median']").endswith(" ms")
        assert not browser.wait(".me-start").is_enabled()
        run_to("done", ".me-stop")
        assert browser.text(".me-live-said").startswith(("Stopped.", "Ended."))
        assert browser.wait(".me-start").is_enabled()
        assert browser.run("return document.activeElement.className").endswith("me-start")  # for the keyboard
        assert "no lies" in browser.text(".me-notice")
        browser.run("const one = document.querySelector('[name=me-camera]'); one.value = 97;"
                    "one.dispatchEvent(new Event('input', {bubbles: true}))")  # fmt: skip
        run_to("failed", ".me-start")  # the number chose the camera
        assert "number 97, which can't be opened" in browser.text(".me-live-said.me-wrong")
        assert browser.hosts() == {urlsplit(server.address).netloc}
        assert browser.errors() == []


def test_sigterm_ends_a_run(server):  # the last test: no server is left after it
    with server.page() as token:
        assert ask(server, token, "start", source="example") == (200, {})
        until(lambda: "numbers" in ask(server, token, "now", "GET")[1])
        server.process.terminate()
        assert server.ended() == 0
    assert list(server.temporary.iterdir()) == []
    assert len(server.messages) == 1, server.messages  # that the page is for this machine; no traceback
