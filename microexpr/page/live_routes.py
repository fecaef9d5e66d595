"""The addresses of the tab Live: start, stop, and what there is to see, which the page asks for four times a second."""

from __future__ import annotations

import base64
import math
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from microexpr.errors import MicroexprError
from microexpr.page import views
from microexpr.page.live import LiveRun, Noted
from microexpr.page.sessions import CLOSED, Sessions
from microexpr.page.studio import Studio, chosen
from microexpr.page.timeline import kind_of
from microexpr.page.work import State


def add_routes(app: FastAPI, sessions: Sessions, studio: Studio) -> None:
    """Adds the addresses to the server of the page.

    What they are given is words; no path, address or picture is taken.
    """

    @app.post("/session/{token}/live/start")
    def start(token: str, source: str = "", camera: str = "", fps: str = "") -> Response:
        session = sessions.of_token(token)
        if session is None:
            return JSONResponse({"error": CLOSED}, 410)
        try:
            studio.start(session, chosen(source, camera, fps))
        except MicroexprError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({})

    @app.post("/session/{token}/live/stop")
    def stop(token: str) -> Response:
        session = sessions.of_token(token)
        if session is None:
            return JSONResponse({"error": CLOSED}, 410)
        studio.stop(session)
        return JSONResponse({})

    @app.get("/session/{token}/live/now")
    def now(token: str, events: str = "") -> Response:
        session = sessions.of_token(token)
        if session is None:
            return JSONResponse({"error": CLOSED}, 410)
        run = studio.of(session)
        seen = {"state": "none"} if run is None else shown(run, events)
        return JSONResponse(seen, headers={"cache-control": "no-store"})


def shown(run: LiveRun, known: str = "") -> dict[str, Any]:
    """A live run as the page draws it: words, and parts of the page in which every word is escaped.

    Args:
        run: under way or ended.
        known: how many events the page has; the list is given only where there are more.
    """
    seen = run.look()
    answer: dict[str, Any] = {"state": seen.state.kind, "words": _said(seen.state), "warnings": seen.warnings}
    if seen.status is None or seen.chart is None:
        return answer
    status, latency = seen.status, seen.latency
    answer["numbers"] = {
        "motion": "no face" if math.isnan(status.level) else f"{status.level:.2f} px",
        "rate": "…" if seen.rate is None else f"{seen.rate:.1f}",
        "frames": f"{status.frames:,}",
        "dropped": f"{status.dropped:,}",
        "median": f"{latency['p50']:.1f} ms",
        "slowest": f"{latency['p99']:.1f} ms",
    }
    answer["face"] = status.box is not None
    if seen.picture:
        answer["picture"] = f"data:image/jpeg;base64,{base64.b64encode(seen.picture).decode()}"
    chart = seen.chart
    answer["chart"] = {
        "html": views.render("live_chart", chart=chart),
        "lanes": views.render("live_lanes", chart=chart),
        "rows": chart.lanes if chart.marks else 0,
        "points": chart.points,
        "start": chart.start,
        "end": chart.end,
        "peak": chart.peak,
    }
    answer["count"] = str(seen.count)
    if answer["count"] != known:
        answer["events"] = views.render("live_events", events=[_row(one) for one in seen.events])
    return answer


def _said(state: State) -> str:
    if not state.total:
        return state.words
    return f"{state.words}: {state.done:,} of {state.total:,} frames"


def _row(noted: Noted) -> dict[str, Any]:
    event = noted.event
    return {
        "number": noted.number,
        "mark": kind_of(event),
        "event": event,
        "answer": views.looks_like(event),
        "milliseconds": round(1000 * (event.offset_seconds - event.onset_seconds)),
        "latency": f"{1000 * noted.latency:.0f}",
    }
