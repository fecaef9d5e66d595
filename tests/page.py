"""The local web page as a process of its own, for tests that ask it over HTTP or with a browser."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

END_SECONDS = 60
# Runs the command, and notes every connection and every program that it begins.
NOTED = """
import faulthandler, signal, sys
faulthandler.register(signal.SIGUSR1)
notes = open(sys.argv.pop(1), "a", buffering=1)
def note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec"):
        notes.write(f"{event} {arguments[1:] if event.startswith('socket.c') else arguments!r}\\n")
sys.addaudithook(note)
from microexpr.cli import run
run()
"""


class Server:
    """`microexpr app` with a temporary folder of its own.

    Attributes:
        address: of the page.
        process: that serves it.
        temporary: the folder in which it has its files.
    """

    def __init__(self, process: subprocess.Popen[str], address: str, folder: Path) -> None:
        self.process, self.address = process, address
        self.temporary, self._notes, self._messages = (folder / name for name in ("temporary", "notes", "messages"))
        self._place = urlsplit(address).netloc

    @property
    def port(self) -> int:
        return int(self._place.rpartition(":")[2])

    @property
    def notes(self) -> list[str]:
        """Connections that it opened and programs that it began."""
        return self._notes.read_text(encoding="utf-8").splitlines()

    @property
    def messages(self) -> list[str]:
        """Lines that it wrote on stderr."""
        return self._messages.read_text(encoding="utf-8").splitlines()

    @property
    def files(self) -> set[str]:
        """What there is of its visitors, relative to the folder of all of them."""
        (root,) = self.temporary.glob("microexpr-page-*")
        found = (Path(place, name).relative_to(root) for place, _, names in os.walk(root) for name in names)
        return {str(file) for file in found if file.parts[0] not in ("alive", "gradio")}

    def most_memory(self) -> int:
        """The most that the process has had, bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return 1024 * int(re.search(r"^VmHWM:\s+(\d+)", status, re.MULTILINE)[1])

    def ended(self) -> int:
        """Its exit status; where it does not end, an error that shows what its threads are at."""
        try:
            return self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(1)
            raise AssertionError("it does not end:\n" + "\n".join(self.messages)) from None

    def ask(
        self, path: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {}, encode_chunked=hasattr(body, "__next__"))
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): words for name, words in answer.getheaders()}
        finally:
            connection.close()

    def upload(self, token: str, content: Any, name: str = "video.mkv", **headers: str) -> tuple[int, dict[str, Any]]:
        """Status and answer of an upload."""
        path = f"/session/{token}/video?name={quote(name, safe='')}"
        status, answer, _ = self.ask(path, "POST", content, headers)
        return status, json.loads(answer)

    @contextlib.contextmanager
    def page(self) -> Generator[str]:
        """An open page as a browser has it: gives the token of its session; it is closed with the block."""
        page = secrets.token_hex(6)
        config = json.loads(self.ask("/config")[1])
        (begins,) = (one["id"] for one in config["dependencies"] if [name for _, name in one["targets"]] == ["load"])
        with socket.create_connection(("127.0.0.1", self.port)) as heart:
            request = f"GET /gradio_api/heartbeat/{page} HTTP/1.1\r\nHost: {self._place}\r\n\r\n"
            heart.sendall(request.encode())
            assert b"200 OK" in heart.recv(1000)
            body = json.dumps({"data": [], "fn_index": begins, "session_hash": page})
            status, answer, _ = self.ask("/gradio_api/run/predict", "POST", body, {"content-type": "application/json"})
            assert status == 200, answer
            yield re.search(r'data-token="([\w-]+)"', json.loads(answer)["data"][0])[1]


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Generator[Server]:
    """The page as the command serves it, on any free port; SIGTERM ends it."""
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    command = [sys.executable, "-c", NOTED, str(folder / "notes"), "app", "--port", "0", *options]
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    with (
        (folder / "messages").open("w") as messages,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, text=True, env=environment) as process,
    ):
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), (folder / "messages").read_text()
            server = Server(process, address, folder)
            yield server
            process.send_signal(signal.SIGTERM)
            server.ended()
        finally:
            process.kill()


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
