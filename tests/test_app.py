"""The server of the local web page: who may ask, what comes in, what is left. Asked over HTTP, without a browser."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microexpr.app import _stopped
from microexpr.cli import main
from microexpr.errors import BadInput
from microexpr.page.limits import Limits
from microexpr.page.sessions import Sessions
from tests.page import serving, until
from tests.videos import write_video

needs_gradio = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="the page needs the extra app")
MEGABYTE = bytes(1_000_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("gradio", reason="the page needs the extra app")
    with serving(tmp_path_factory.mktemp("page") / "server", "--upload-megabytes", "250") as served:
        yield served


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """The bytes of a small video."""
    frames = np.full((4, 48, 64, 3), 90, np.uint8)
    return write_video(tmp_path_factory.mktemp("video") / "gray.mkv", frames, 50).read_bytes()


def refused(capsys, *arguments):
    """The one line of a wrong call."""
    assert main(["app", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


@needs_gradio
def test_a_port_that_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"expected a free port, got {port} (Address already in use)" in refused(capsys, "--port", str(port))
    assert "expected a port from 0 to 65535, got 70000" in refused(capsys, "--port", "70000")


def test_without_gradio(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    line = refused(capsys, "--port", "0")
    assert line.endswith(
        "expected the optional dependency 'app' for the web page, got none; install it with: "
        "pip install 'microexpr[app]'"
    )


@pytest.mark.parametrize("wrong", ["0", "-1", "nan"])
def test_limits_are_positive(capsys, wrong):
    assert "expected a positive limit upload_megabytes" in refused(capsys, "--upload-megabytes", wrong)


def test_limits_of_a_video():
    limits = Limits(upload_megabytes=2, frames=100, megapixels=0.5)
    limits.check_bytes(2_000_000)
    limits.check_video((1000, 500), None)
    limits.check_video((1000, 500), 100)
    with pytest.raises(BadInput, match="at most 2 MB, got one of 3 MB"):
        limits.check_bytes(3_000_000)
    with pytest.raises(BadInput, match=r"at most 0.5 megapixels, got 1000x501"):
        limits.check_video((1000, 501), None)
    with pytest.raises(BadInput, match="at most 100 frames, got 101 or more"):
        limits.check_video((10, 10), 101)


def test_pages_of_other_sites_are_refused(server):
    own = {"Host": f"localhost:{server.port}", "Origin": f"http://localhost:{server.port}"}
    status, _, headers = server.ask("/", headers=own)
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    foreign = (
        {"Host": "evil.example"},  # a name of another site that was bound to this machine
        *({"Host": host} for host in ("127.0.0.1.evil.example", "[", "", "evil.example@127.0.0.1")),
        *({"Origin": origin} for origin in ("http://evil.example", "null", f"https://127.0.0.1:{server.port}")),
        {"Origin": "http://127.0.0.1:1"},  # another program of this machine
    )
    for site, refused_there in (("none", False), ("same-origin", False), ("same-site", True), ("cross-site", True)):
        assert (server.ask("/page/page.js", headers={"Sec-Fetch-Site": site})[0] == 403) == refused_there
        assert server.ask("/", headers={"Sec-Fetch-Site": site})[0] == 200  # a link may lead there
    for headers in foreign:
        assert server.ask("/", headers=headers)[0] == 403, headers
        assert server.ask("/gradio_api/queue/join", "POST", "{}", headers)[0] == 403, headers


def test_only_what_the_page_needs_is_there(server):
    for path in (
        *("/docs", "/openapi.json", "/gradio_api/upload", "/gradio_api/info", "/gradio_api/file=/etc/passwd"),
        *("/page/app.py", "/page/../app.py", "/page/%2e%2e%2fapp.py", "/session/x/events.json"),
        *("/static/../../../../../../etc/passwd", "/assets/..%2f..%2f..%2f..%2fetc/passwd", "/static//etc/passwd"),
    ):
        status, body, _ = server.ask(path)
        assert status in (403, 404), path
        assert b"root:" not in body
    assert server.ask("/gradio_api/upload", "POST", "x")[0] == 404


def test_movements_are_not_looked_for_on_a_page_that_was_left(tmp_path):
    """Its video is gone, and another session would have none: the visitor is told to load it again."""
    gradio = pytest.importorskip("gradio", reason="the page needs the extra app")
    from microexpr.page.layout import Page

    with Sessions() as sessions:
        page = Page(sessions, Limits(), tmp_path)
        (shown,) = page._find("a face in a scene", "", "", 10, gradio.Request(session_hash="left"))
        assert "left alone for long; load it again" in shown[0]
        assert len(sessions) == 0


def test_an_upload_needs_an_open_page(server, video):
    assert server.upload("unknown", video)[0] == 410
    with server.page() as token:
        status, answer = server.upload(token, video, "gray.mkv")
        assert (status, answer["name"]) == (200, "gray.mkv")
        assert "64 x 48, 50 frames a second" in answer["words"]
        assert [name.rpartition("/")[2] for name in server.files] == ["gray.mkv"]
        assert server.ask(f"/session/{token}/gray.mkv")[0] == 404  # it comes in, it does not go out
    until(lambda: not server.files)  # the page was closed
    assert server.upload(token, video)[0] == 410


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "expected a video file, got given.mp4, which is empty"),
        (b"no video at all", "expected a video file, got given.mp4, which can't be read"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(5000), "expected a video file, got given.mp4, which"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "expected a video file, got given.mp4, which can't be read"),
    ],
    ids=["empty", "text", "only a beginning", "a list of others"],
)
def test_what_is_no_video_is_told_and_not_kept(server, content, told):
    with server.page() as token:
        status, answer = server.upload(token, content, "given.mp4")
        assert status == 400
        assert told in answer["error"]
        assert str(server.temporary) not in answer["error"]
        assert not server.files


def test_what_is_too_large_is_not_read_to_its_end(server):
    with server.page() as token:
        large = {"content-length": str(10**11)}
        assert "at most 250 MB, got one of 100,000 MB" in server.upload(token, MEGABYTE, **large)[1]["error"]
        unsaid = (MEGABYTE for _ in range(252))  # in chunks, of which nobody knows how many will come
        try:
            status, answer = server.upload(token, unsaid)
            assert (status, "at most 250 MB" in answer["error"]) == (400, True)
        except ConnectionError:
            pass  # the answer was there before the last chunks were sent
        until(lambda: not server.files)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\secret.mkv", "secret.mkv"),
        ("/", "video"),
        ("..", "video"),
        ("", "video"),
        ("a\x00b\n.mkv", "a_b.mkv"),
        ("<img src=x onerror=alert(1)>.mkv", "img src_x onerror_alert_1.mkv"),
        ("Gesicht Größe 表情.mkv", "Gesicht Größe 表情.mkv"),
        (".hidden", "hidden"),
        ("$(reboot);`id`.mkv", "reboot_id.mkv"),
        ("x" * 5000 + ".mkv", "x" * 96 + ".mkv"),
    ],
)
def test_a_name_is_never_a_path(server, video, name, kept):
    with server.page() as token:
        status, answer = server.upload(token, video, name)
        assert (status, answer["name"]) == (200, kept)
        (file,) = server.files
        assert file.endswith(f"/upload-1/{kept}")
    until(lambda: not server.files)


def test_twenty_uploads_leave_the_last(server, video):
    with server.page() as token:
        for number in range(20):
            assert server.upload(token, video, f"{number}.mkv")[0] == 200
        (file,) = server.files
        assert file.endswith("/19.mkv")


def head_of_two_megabytes(token):
    """The beginning of an upload by hand."""
    lines = f"POST /session/{token}/video?name=half.mkv HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 2000000", "", ""
    return "\r\n".join(lines).encode()


def test_a_client_that_goes_away_in_the_middle(server):
    with server.page() as token:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head_of_two_megabytes(token) + MEGABYTE)
            until(lambda: any(file.endswith("half.mkv") for file in server.files))
        until(lambda: not server.files)
        assert server.ask("/")[0] == 200


def test_a_page_that_is_closed_in_the_middle_of_an_upload(server):
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        with server.page() as token:
            client.sendall(head_of_two_megabytes(token) + MEGABYTE)
            until(lambda: bool(server.files))
        until(lambda: not server.files)
        client.sendall(MEGABYTE)
        assert b" 400 " in client.recv(1000)
    assert not server.files


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_large_upload_takes_no_memory(server, video):
    before = server.most_memory()
    with server.page() as token:
        rest = (MEGABYTE for _ in range(200))
        pieces = iter([video, *rest])
        status, answer = server.upload(token, pieces)
        assert (status, "200.0 MB" in answer["words"]) == (200, True)
    assert server.most_memory() - before < 100e6  # the file is on the disk; the contract is 300 MB


def test_it_asks_nobody_and_starts_nothing(server, video):
    before = server.notes
    with server.page() as token:
        assert server.upload(token, video)[0] == 200
    assert [note for note in server.notes if note.startswith("socket")] == []
    assert server.notes == before  # no program because of anything that was asked
    assert len(server.messages) == 1, server.messages  # no complaint about any of the clients of these tests


@pytest.mark.skipif(os.name != "posix", reason="Windows does not send them to itself")
def test_every_way_to_end_it_is_heard():
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the last comes when its terminal is closed
        number = getattr(signal, name)
        before = signal.getsignal(number)
        with _stopped() as stopped:
            os.kill(os.getpid(), number)
            assert stopped.wait(30), name
        assert signal.getsignal(number) == before
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # by nohup
    try:
        with _stopped() as stopped:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stopped.wait(0.01)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals of threads are POSIX")
def test_a_signal_that_another_thread_gets():
    script = """
import os, signal, threading, time
from microexpr.app import _stopped, _wait

def end():
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGTERM)

with _stopped() as stopped:
    threading.Thread(target=end, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # this thread, the main one
    _wait(stopped)
print("heard")
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_sigterm_leaves_nothing(video, tmp_path):
    pytest.importorskip("gradio", reason="the page needs the extra app")
    with serving(tmp_path) as served, served.page() as token:
        assert served.upload(token, video)[0] == 200
        served.process.terminate()
        assert served.ended() == 0
    assert list(served.temporary.iterdir()) == []
    assert len(served.messages) == 1, served.messages  # that the page is for this machine; no traceback
