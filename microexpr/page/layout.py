"""The page as Gradio has it: four tabs, their controls, and which function answers to which."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import gradio as gr

from microexpr import catalog
from microexpr.errors import BadInput
from microexpr.methods.weights import shipped
from microexpr.motion.magnify import LARGEST
from microexpr.page import views
from microexpr.page.limits import Limits, typed_rate
from microexpr.page.runs import Runs
from microexpr.page.sessions import Session, Sessions
from microexpr.page.work import Settings, State, Workshop, told

SHOWS = {"people, with some room around the face": "haar", "nothing but the face (crops)": "precropped"}
PLAIN: dict[str, Any] = {"js_on_load": None, "apply_default_css": False}
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


class Page:
    """What the functions of the page share.

    Args:
        sessions: who is there.
        limits: what is accepted.
        runs: folder of run folders.
    """

    def __init__(self, sessions: Sessions, limits: Limits, runs: Path) -> None:
        self.sessions, self.limits = sessions, limits
        self.workshop, self.runs = Workshop(limits, sessions.root), Runs(runs)

    def blocks(self) -> gr.Blocks:
        """The page."""
        with gr.Blocks(analytics_enabled=False, title="microexpr: see a micro-expression") as blocks:
            gr.HTML(views.render("header", notice=views.NOTICE), **PLAIN)
            with gr.Tabs():
                with gr.Tab("Video", id="video"):
                    self._video(blocks)
                with gr.Tab("Live", id="live"):
                    gr.HTML(views.render("live", legend=views.LEGEND), **PLAIN, elem_id="me-live")
                with gr.Tab("Evaluations", id="runs") as tab:
                    self._evaluations(tab)
                with gr.Tab("Data sets", id="datasets"):
                    described = [
                        {"settings": None, **catalog.describe_dataset(one["name"])}
                        for one in catalog.describe_datasets()
                    ]
                    for one in described:
                        one["carries"] = ", ".join(one["carries"])
                    gr.HTML(views.render("datasets", datasets=described), **PLAIN)
            blocks.unload(self._leave)
        return blocks

    def _video(self, blocks: gr.Blocks) -> None:
        names = list(shipped())
        with gr.Row(elem_classes="me-top"):
            with gr.Column(scale=3, min_width=300):
                drop = gr.HTML(views.drop("", self.limits), **PLAIN, elem_id="me-drop")
                with gr.Row(elem_classes="me-actions"):
                    run = gr.Button("Find movements", variant="primary", elem_id="me-run")
                    example = gr.Button("Try the rendered example", elem_id="me-example")
                    cancel = gr.Button("Cancel", variant="stop", visible=False, elem_id="me-cancel")
            with gr.Column(scale=2, min_width=280, elem_classes="me-settings-column"):
                shows = gr.Dropdown(list(SHOWS), value=next(iter(SHOWS)), label="The video shows", elem_id="me-shows")
                weights = gr.Dropdown(names, value=names[0], label="Weights that name what it looks like")
                fps = gr.Textbox(
                    label="Camera's frames a second", placeholder="as the file says", max_lines=1, elem_id="me-fps"
                )
                factor = gr.Slider(
                    2, LARGEST, value=10, step=1, label="Motion magnified", info="times as large, for your eye only"
                )
        now = gr.HTML("", **PLAIN, elem_id="me-state")
        result = gr.HTML(views.render("empty"), **PLAIN, elem_id="me-result")
        settings, shown = [shows, weights, fps, factor], [now, result, run, example, cancel]
        run.click(self._find, settings, shown, concurrency_limit=None, **QUIET)
        example.click(self._find_example, settings, shown, concurrency_limit=None, **QUIET)
        cancel.click(self._cancel, None, cancel, queue=False, **QUIET)
        blocks.load(self._begin, None, drop, queue=False, **QUIET)

    def _evaluations(self, tab: gr.Tab) -> None:
        reading = State("working", "Reading the runs")
        table = gr.HTML(views.state(reading), **PLAIN, elem_id="me-runs")
        with gr.Row(elem_classes="me-actions"):
            make = gr.Button("Show the report of the ticked runs", variant="primary", elem_id="me-report-button")
        chosen = gr.Textbox(visible=False)
        shown = gr.HTML("", **PLAIN, elem_id="me-report")
        tab.select(self.runs.table, None, table, concurrency_limit=None, **QUIET)
        ticked = "() => JSON.stringify([...document.querySelectorAll('.me-run:checked')].map(one => one.value))"
        make.click(self._report, chosen, shown, js=ticked, concurrency_limit=None, **QUIET)

    def _begin(self, request: gr.Request) -> str:
        return views.drop(self._session(request).token, self.limits)

    def _leave(self, request: gr.Request) -> None:
        self.sessions.leave(str(request.session_hash))

    def _session(self, request: gr.Request) -> Session:
        return self.sessions.of_page(str(request.session_hash))

    def _cancel(self, request: gr.Request) -> Any:
        self._session(request).stop.set()
        return gr.update(value="Cancelling", interactive=False)

    def _find(self, shows: Any, weights: Any, fps: Any, factor: Any, request: gr.Request) -> Generator[tuple[Any, ...]]:
        try:
            session = self.sessions.open_page(str(request.session_hash))
        except BadInput as error:  # another session would have no video, though the page shows one
            yield views.state(State("failed", str(error))), *(gr.skip(),) * 4
            return
        yield from self._states((shows, weights, fps, factor), session, example=False)

    def _find_example(
        self, shows: Any, weights: Any, fps: Any, factor: Any, request: gr.Request
    ) -> Generator[tuple[Any, ...]]:
        yield from self._states((shows, weights, fps, factor), self._session(request), example=True)

    def _states(self, given: tuple[Any, ...], session: Session, example: bool) -> Generator[tuple[Any, ...]]:
        """What the controls show while a video is worked on, and at its end."""
        off, on = gr.update(interactive=False), gr.update(interactive=True)
        controls: tuple[Any, ...] = ("", off, off, gr.update(value="Cancel", interactive=True, visible=True))
        found = ""
        try:
            shows, weights, fps, factor = given
            asked = Settings(magnify=factor) if example else Settings(typed_rate(fps), weights, SHOWS[shows], factor)
            for last in self.workshop.run(session, asked, example):
                if last.kind in ("waiting", "working"):
                    yield views.state(last), *controls
                    controls = (gr.skip(),) * 4
            if last.found:
                found = views.result(last.found, session.token)
        except Exception as error:  # whatever it is: the visitor is told, and can use the buttons again
            if session.busy:  # with what another click began, which goes on
                return
            last = State("failed", told(error, session))
        yield views.state(last), found, on, on, gr.update(visible=False)

    def _report(self, chosen: str, request: gr.Request) -> str:
        session = self._session(request)
        try:
            names = json.loads(chosen or "[]")
            page = self.runs.report([str(name) for name in names] if isinstance(names, list) else [])
            name = session.keep_report(page)
        except Exception as error:  # runs that were made elsewhere, a full disk
            return views.state(State("failed", told(error, session)))
        return views.render("report", page=page, address=f"/session/{session.token}/{name}")
