"""The web server around the page: who may ask, for what, and how a video comes in.

It answers this machine only, knows only the addresses that the page needs, and tells the browser to ask nobody else.
"""

from __future__ import annotations

import mimetypes
from importlib import resources

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from microexpr.page.limits import Limits
from microexpr.page.pictures import wheel
from microexpr.page.sessions import CLOSED, Session, Sessions
from microexpr.page.upload import describe
from microexpr.page.work import told

LOCAL = {"127.0.0.1", "localhost"}
# What the page and Gradio's program in the browser ask for; Gradio's own uploads, files and proxies are none of it.
ADDRESSES = ("/page/", "/session/", "/assets/", "/static/", "/gradio_api/queue/", "/gradio_api/heartbeat/")
ADDRESS = {
    *("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/gradio_api/run/predict"),
    *("/gradio_api/startup-events", "/gradio_api/reset", "/gradio_api/cancel"),
}
POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # Gradio's page has scripts in it
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """Lets only this machine's own pages in, and only to the addresses that there are.

    A page of another site that a visitor has open could ask this server too: its name for us (the header Host, where it
    has bound a name of its own to our address), its own (Origin) or what the browser says of it (Sec-Fetch-Site) gives
    it away.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        if not _is_ours(headers, scope["path"]):
            await Response("only for pages of this machine", 403)(scope, receive, sent)
        elif not (scope["path"] in ADDRESS or scope["path"].startswith(ADDRESSES)):
            await Response("not found", 404)(scope, receive, sent)
        else:
            await self._app(scope, receive, sent)


def _is_ours(headers: dict[bytes, str], path: str) -> bool:
    host = headers.get(b"host", "")
    origin = headers.get(b"origin")
    asked_by = headers.get(b"sec-fetch-site", "none")
    name, _, _ = host.partition(":")
    return (
        name in LOCAL
        and (origin is None or origin == f"http://{host}")
        and (asked_by in ("none", "same-origin") or path == "/")  # a link elsewhere may lead to the page
    )


def routes(sessions: Sessions, limits: Limits) -> FastAPI:
    """Our own addresses: style, script, uploads, and the files of a session."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/page/{name}")
    def part(name: str) -> Response:
        if name == "wheel.png":
            return Response(wheel(), media_type="image/png")
        kinds = {"page.css": "text/css", "page.js": "text/javascript"}
        if name not in kinds:
            return Response("not found", 404)
        content = resources.files(__package__).joinpath(name).read_bytes()
        return Response(content, media_type=kinds[name], headers={"cache-control": "no-cache"})

    @app.get("/session/{token}/{name}")
    def file(token: str, name: str) -> Response:
        session = sessions.of_token(token)
        found = session and session.file(name)
        if not found or not found.is_file():
            return Response("removed: the page was closed, or another video took its place", 404)
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        saved = "inline" if kind.startswith(("image/", "video/")) else "attachment"
        headers = {"cache-control": "no-store", "content-disposition": saved}
        return FileResponse(found, media_type=kind, headers=headers)

    @app.post("/session/{token}/video")
    async def video(token: str, request: Request, name: str = "") -> Response:
        session = sessions.of_token(token)
        if session is None:
            return JSONResponse({"error": CLOSED}, 410)
        try:
            return JSONResponse(await _received(session, request, name, limits))
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            return JSONResponse({"error": told(error, session)}, 400)

    return app


async def _received(session: Session, request: Request, name: str, limits: Limits) -> dict[str, str]:
    """Takes a video in, piece by piece, and says what it is; one that is none is not kept."""
    length = request.headers.get("content-length", "")
    if length.isdecimal():
        limits.check_bytes(int(length))
    with session.receiving(name) as (stream, file):
        count = 0
        async for piece in request.stream():
            count += len(piece)
            limits.check_bytes(count)
            await run_in_threadpool(stream.write, piece)
            session.touch()
        await run_in_threadpool(stream.flush)
        words = await run_in_threadpool(describe, file, limits)
    return {"name": file.name, "words": ", ".join([*words, f"{count / 1e6:,.1f} MB"])}
