"""The page: what stands where, and which function answers which control."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import gradio as gr
import numpy as np
from starlette.middleware import Middleware

from hf_datamap.data import columns
from hf_datamap.errors import DataMapError
from mapspace import explorer, statistics
from mapspace.app import App, StartMap, errors_shown
from mapspace.explorer import gradio_session, visitor
from mapspace.gate import Gate
from mapspace.points import CHANNELS
from mapspace.sessions import MAX_SESSIONS, Filters, Session, polygon
from mapspace.sources import OpenMap
from mapspace.tabs import Tabs
from mapspace.texts import plain

_log = logging.getLogger("mapspace")
_FONTS: Final = ["system-ui", "sans-serif"]
#: How the app is started. No server-side rendering (the map is drawn in the browser), no fonts to load.
LAUNCH: Final[dict[str, Any]] = {
    "ssr_mode": False,
    "show_error": False,
    "max_threads": 40,
    "quiet": True,
    # The last sessions only: Gradio keeps a copy of the page's settings for each, for an hour after its end.
    "state_session_capacity": MAX_SESSIONS,
    "app_kwargs": {"middleware": [Middleware(Gate)]},
    "theme": gr.themes.Default(font=_FONTS, font_mono=["ui-monospace", "monospace"]),
    "css": ".dm-code textarea { font-family: ui-monospace, monospace; font-size: 13px; white-space: pre; }",
}
_REGION_CHOICES: Final = [(name.replace("_", " "), name) for name in columns.REGIONS]
_ADDRESS: Final = ("dataset", "config", "split", "region", "row")


class Page:
    """The components, made inside a `gr.Blocks`, and their answers."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.handle = gr.State(None, delete_callback=app.sessions.end)
        with gr.Row():
            fixed = bool(app.home.folder)
            label = "Folder" if fixed else "Dataset on the Hub"
            self.dataset = gr.Textbox(
                label=label, placeholder="owner/name", interactive=not fixed, scale=4, max_length=200
            )
            self.config = gr.Dropdown([], label="Config", scale=1, min_width=120, allow_custom_value=True)
            self.split = gr.Dropdown([("all", "")], value="", label="Split", scale=1, min_width=120)
            self.open = gr.Button("Open", variant="primary", scale=0, min_width=100, visible=not fixed)
            if app.signed_in_possible:
                gr.LoginButton(scale=0, min_width=160, size="md")
        self.explorer = explorer.component(app.server, app.files)
        with gr.Tabs():
            with gr.Tab("Filter"):
                self._filter_tab()
            self.controls: list[Any] = [
                self.regions, self.mean_low, self.mean_high, self.variance_low, self.variance_high, self.suspects,
                self.sources, self.split,
            ]  # fmt: skip
            self.changing = [self.explorer, self.table]
            self.opened = [
                self.handle, self.dataset, self.config, self.split, *self.controls[:-1], self.query, *self.changing
            ]  # fmt: skip
            Tabs(self)
        self._wire()

    def _filter_tab(self) -> None:
        self.regions = gr.CheckboxGroup(_REGION_CHOICES, value=list(columns.REGIONS), label="Regions")
        with gr.Row():
            self.mean_low = gr.Number(None, label="Mean from", min_width=110)
            self.mean_high = gr.Number(None, label="to", min_width=110)
            self.variance_low = gr.Number(None, label="Variance from", min_width=110)
            self.variance_high = gr.Number(None, label="to", min_width=110)
            self.suspects = gr.Checkbox(label="Suspects only", min_width=140)
            self.sources = gr.Dropdown([], label="Sources", multiselect=True, min_width=200)
        with gr.Row():
            self.query = gr.Textbox(label="Text in the row", max_length=200, scale=4)
            self.search = gr.Button("Search", scale=0, min_width=100)
            self.clear = gr.Button("Clear all filters", scale=0, min_width=140)
        self.table = gr.Dataframe(
            headers=list(statistics.HEADERS), datatype="str", interactive=False, label="Selection", wrap=True
        )

    def _wire(self) -> None:
        gr.on(
            [self.open.click, self.dataset.submit], self.on_open, [self.handle, self.dataset, self.config], self.opened
        )
        self.config.input(self.on_open, [self.handle, self.dataset, self.config], self.opened)
        for control in self.controls:
            event = control.submit if isinstance(control, gr.Number) else control.input
            event(
                self.on_controls,
                [self.handle, *self.controls],
                self.changing,
                show_progress="hidden",
                trigger_mode="always_last",
            )
            if isinstance(control, gr.Number):
                control.blur(
                    self.on_controls,
                    [self.handle, *self.controls],
                    self.changing,
                    show_progress="hidden",
                    trigger_mode="always_last",
                )
        self.explorer.filter(
            self.on_explorer,
            [self.handle],
            [*self.changing, self.regions],
            show_progress="hidden",
            trigger_mode="multiple",
        )
        gr.on([self.search.click, self.query.submit], self.on_search, [self.handle, self.query], self.changing)
        self.clear.click(self.on_clear, [self.handle], [*self.controls, self.query, *self.changing])
        self.load = (self.on_load, [self.handle], self.opened)

    # -- opening

    def on_load(self, handle: str | None, request: gr.Request) -> list[Any]:
        """Open what the address names, or the configured map; without either, or on failure, say what to do."""
        asked = {name: str(request.query_params.get(name, ""))[:200] for name in _ADDRESS}
        try:
            opened = self.app.open(asked["dataset"], asked["config"], request)
            return self._show(handle, opened, asked, request)
        except Exception as error:
            known = isinstance(error, DataMapError)
            if not known:
                _log.exception("opening failed")
            words = plain(str(error), 1_000) if known else "The map could not be opened; the Space's log says why."
            blank = {"message": words, "file": None}
            return [None, asked["dataset"], *[gr.skip()] * 10, gr.HTML(view=blank), gr.skip()]

    @errors_shown
    def on_open(self, handle: str | None, dataset: str, config: str | None, request: gr.Request) -> list[Any]:
        """Open the dataset that was typed in."""
        opened = self.app.open((dataset or "").strip(), config if isinstance(config, str) else None, request)
        return self._show(handle, opened, {}, request)

    def _show(
        self, handle: str | None, opened: OpenMap, asked: Mapping[str, str], request: gr.Request | None
    ) -> list[Any]:
        self.app.sessions.end(handle)
        session = self.app.sessions.start(opened, gradio_session(request))
        index, notes = opened.index, []
        regions_asked = [name for name in asked.get("region", "").split(",") if name in columns.REGIONS]
        hidden = frozenset(
            code for code, name in enumerate(columns.REGIONS) if regions_asked and name not in regions_asked
        )
        split = asked.get("split") if asked.get("split") in index.split.names else ""
        if asked.get("split") and not split:
            notes.append(f"There is no split {plain(asked['split'], 60)!r} on this map.")
        start = None
        if asked.get("row"):
            place = index.find(split or index.split.names[0], int(asked["row"])) if asked["row"].isdecimal() else None
            notes.extend([] if place is not None else [f"There is no row {plain(asked['row'], 20)} in this split."])
            start, split = place, ""  # a link to a row shows it among all splits
        shown = session.filter(Filters(hidden={"region": hidden} if hidden else {}, split=split or ""))
        share: dict[str, str] = {
            "dataset": opened.dataset or "",
            "config": opened.config if len(opened.configs) > 1 else "",
            "split": split or "",
        }
        view = explorer.view(session, self.app.base, start=start, share=share, note=" ".join(notes))
        sources = [(plain(name, 80), str(code)) for code, name in enumerate(index.source.names)]
        splits = [("all", ""), *((plain(name, 80), name) for name in index.split.names)]
        return [
            session.handle,
            opened.dataset or opened.title,
            gr.Dropdown(
                [plain(name, 100) for name in opened.configs], value=opened.config, visible=len(opened.configs) > 1
            ),
            gr.Dropdown(splits, value=split or "", visible=len(splits) > 2),
            regions_asked or list(columns.REGIONS),
            *[None] * 4,
            gr.Checkbox(value=False, visible=bool(index.suspect.any())),
            gr.Dropdown(sources, value=[], visible=bool(sources)),
            "",
            gr.HTML(view=view, mask=explorer.mask(session, shown)),
            statistics.summary(session),
        ]

    # -- filtering

    def _changed(self, session: Session, filters: Filters, turn: int | None = None) -> list[Any]:
        shown = session.filter(filters)
        return [gr.HTML(mask=explorer.mask(session, shown, turn)), statistics.summary(session)]

    def session(self, handle: Any, request: gr.Request, kind: str = "filter") -> Session:  # noqa: ANN401
        """Return the visitor's session, counting the request."""
        self.app.limits.take(kind, visitor(request))
        return self.app.sessions.get(handle, gradio_session(request))

    @errors_shown
    def on_controls(  # noqa: PLR0917 - Gradio hands the controls over by position
        self,
        handle: str | None,
        regions: list[str] | None,
        mean_low: float | None,
        mean_high: float | None,
        variance_low: float | None,
        variance_high: float | None,
        suspects: bool | None,
        sources: list[str] | None,
        split: str | None,
        request: gr.Request,
    ) -> list[Any]:
        """Filter by the controls."""
        session = self.session(handle, request)
        names, hidden = session.map.index.source.names, dict(session.filters.hidden)
        hidden["region"] = frozenset(code for code, name in enumerate(columns.REGIONS) if name not in (regions or ()))
        chosen = tuple(names[int(code)] for code in sources or () if str(code).isdecimal() and int(code) < len(names))
        filters = replace(
            session.filters,
            hidden=hidden,
            mean=(_limit(mean_low), _limit(mean_high)),
            variance=(_limit(variance_low), _limit(variance_high)),
            suspects=bool(suspects),
            sources=chosen,
            split=split if isinstance(split, str) else "",
        )
        return self._changed(session, filters)

    @errors_shown
    def on_explorer(self, handle: str | None, event: gr.EventData, request: gr.Request) -> list[Any]:
        """Filter by what was clicked or drawn on the map."""
        session, sent = self.session(handle, request), event._data or {}
        hidden = sent.get("hidden")
        classes = {
            name: frozenset(code for code in codes if isinstance(code, int) and 0 <= code < 256)
            for name, codes in (hidden.items() if isinstance(hidden, dict) else ())
            if name in (*CHANNELS, "cut") and isinstance(codes, list) and len(codes) <= 256
        }
        turn = sent.get("turn")
        turn = turn if isinstance(turn, int) and 0 < turn < 2**31 else None
        area, spread = polygon(sent.get("polygon")), sent.get("spread") is True
        with session.changing:  # answers may be computed out of turn; the latest filter wins
            if turn is not None and not session.newest(turn):
                return [gr.skip()] * (len(self.changing) + 1)
            filters = replace(session.filters, hidden=classes, polygon=area, spread=spread)
            return [*self._changed(session, filters, turn), list(filters.regions())]

    @errors_shown
    def on_search(self, handle: str | None, query: str, request: gr.Request) -> list[Any]:
        """Filter by text."""
        session, words = self.session(handle, request, "search"), (query or "").strip()
        if not words:
            return self._changed(session, replace(session.filters, only=""))
        places, note = session.search(words)
        if note:
            gr.Info(note)
        return self.show_only(session, places, f"text {words!r}")

    def show_only(self, session: Session, places: np.ndarray, why: str) -> list[Any]:
        """Show certain rows and no others."""
        session.only = places
        return self._changed(session, replace(session.filters, only=why))

    @errors_shown
    def on_clear(self, handle: str | None, request: gr.Request) -> list[Any]:
        """Forget every filter."""
        session = self.session(handle, request)
        return [list(columns.REGIONS), *[None] * 4, False, [], "", "", *self._changed(session, Filters())]


def _limit(value: Any) -> float | None:  # noqa: ANN401 - from a number field
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def page(home: StartMap) -> gr.Blocks:
    """Build the app."""
    app = App(home)
    gr.set_static_paths([str(app.files.folder)])
    blocks: gr.Blocks = gr.Blocks(
        title="Alignment Data Map", fill_width=True, analytics_enabled=False, delete_cache=(1800, 3600)
    )
    with blocks:
        made = Page(app)
        function, inputs, outputs = made.load
        blocks.load(function, inputs, outputs, show_progress="hidden")
    blocks.queue(default_concurrency_limit=20, max_size=200)
    return blocks
