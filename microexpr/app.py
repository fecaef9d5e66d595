"""The local web page: drop a video, see its micro-expressions; look at evaluations and data sets.

It needs the extra ``app`` (Gradio). The parts are in `microexpr.page`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microexpr.errors import BadInput, MissingExtra
from microexpr.page.limits import Limits
from microexpr.page.sessions import Sessions

if TYPE_CHECKING:
    import uvicorn

HOST = "127.0.0.1"
HEAR_SECONDS = 0.25  # after which the main thread looks whether it was to hear a signal
GRACE_SECONDS = 2  # that open connections have at the end
# What Gradio reads when it is imported: nothing is sent or kept, and no other machine is asked for anything.
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")
HEAD = '<link rel="stylesheet" href="/page/page.css"><script defer src="/page/page.js"></script>'


def serve(
    port: int = 7860,
    runs: Path | str = "runs",
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    begun: Callable[[str], object] = lambda address: None,
) -> None:
    """Serves the page to this machine until Ctrl-C, SIGTERM or the end of its terminal; nothing of any video is left.

    Args:
        port: of 127.0.0.1; 0 for any free one.
        runs: folder of run folders for the tab Evaluations.
        limits: what is accepted.
        begun: called with the address as soon as it can be opened.

    Raises:
        MissingExtra: Gradio is not installed.
        BadInput: the port is taken or none.
    """
    with _stopped() as stopped, served(port, runs, limits) as address:
        begun(address)
        _wait(stopped)


@contextlib.contextmanager
def served(
    port: int = 0,
    runs: Path | str = "runs",
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Generator[str]:
    """The page in a thread of its own while the block runs; gives its address. Arguments as for `serve`."""
    with _prepared(port, Path(runs), limits) as (server, listener, address):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="microexpr-page")
        thread.start()
        try:
            yield address
        finally:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # that open pages are cut off is no error
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def _stopped() -> Generator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and a closed terminal set; only the main thread hears them.

    The server must not: it would raise them again at its end, and SIGTERM then ends the process before it is
    cleaned up.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    heard = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup and signal.getsignal(hangup) != signal.SIG_IGN:  # as nohup has it
        heard.append(hangup)
    before = [signal.signal(one, lambda number, frame: event.set()) for one in heard]
    try:
        yield event
    finally:
        for one, handler in zip(heard, before, strict=True):
            signal.signal(one, signal.SIG_DFL if handler is None else handler)


def _wait(event: threading.Event) -> None:
    """Waits for an event that a signal sets.

    The system may give a signal to any thread, and only the main thread may answer it: were that to sleep without an
    end, it would not wake up.
    """
    while not event.wait(HEAR_SECONDS):
        pass


@contextlib.contextmanager
def _prepared(port: int, runs: Path, limits: Limits) -> Generator[tuple[uvicorn.Server, socket.socket, str]]:
    """A server that listens but does not answer yet; at the end all that its visitors left is removed."""
    if importlib.util.find_spec("gradio") is None:
        raise MissingExtra("app", "the web page")
    with contextlib.closing(_listener(port)) as listener, Sessions(limits.idle_minutes) as sessions:
        os.environ.update(QUIET, GRADIO_TEMP_DIR=str(sessions.root / "gradio"))
        import uvicorn

        application = _application(sessions, limits, runs)
        settings = uvicorn.Config(
            application, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_SECONDS
        )
        yield uvicorn.Server(settings), listener, f"http://{HOST}:{listener.getsockname()[1]}"


def _listener(port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise BadInput("a port from 0 to 65535", str(port), "choose another one: --port N")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # a port that was just given back; elsewhere this would take one in use
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise BadInput("a free port", f"{port} ({reason})", "choose another one: --port N") from error
    return listener


def _application(sessions: Sessions, limits: Limits, runs: Path) -> Any:
    import gradio as gr

    from microexpr.page.layout import Page
    from microexpr.page.live_routes import add_routes
    from microexpr.page.server import Guard, routes
    from microexpr.page.studio import Studio

    application = routes(sessions, limits)
    page = Page(sessions, limits, runs)
    add_routes(application, sessions, Studio(page.workshop, limits))
    application.add_middleware(Guard)
    theme = gr.themes.Base(
        primary_hue="sky", secondary_hue="sky", neutral_hue="slate", radius_size="md", font=FONT, font_mono=MONO
    )
    return gr.mount_gradio_app(
        application,
        page.blocks(),
        path="/",
        server_name=HOST,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=1,
        theme=theme,
        head=HEAD,
    )
