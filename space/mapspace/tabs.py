"""The tabs below the map: other cuts, comparison, audit, taking away, gallery."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import gradio as gr
import numpy as np

from hf_datamap.curate.strategies import STRATEGIES
from hf_datamap.data import columns
from mapspace import compare, export, findings, gallery, publish, recut, strategies
from mapspace.app import App, errors_shown, token_of
from mapspace.errors import SpaceError
from mapspace.explorer import visitor
from mapspace.sessions import Session
from mapspace.texts import plain


class Host(Protocol):
    """What the tabs need of the page that they stand on."""

    app: App
    handle: gr.State
    explorer: gr.HTML
    changing: list[Any]
    opened: list[Any]

    def session(self, handle: Any, request: gr.Request, kind: str = "filter") -> Session:  # noqa: ANN401
        """Return the visitor's session, counting the request."""
        ...

    def show_only(self, session: Session, places: np.ndarray, why: str) -> list[Any]:
        """Show certain rows and no others."""
        ...

    def on_open(self, handle: str | None, dataset: str, config: str | None, request: gr.Request) -> list[Any]:
        """Open a dataset."""
        ...


_FINDINGS: list[str | int] = ["6%", "10%", "14%", "60%", "10%"]
_SUSPECTS: list[str | int] = ["10%", "10%", "12%", "10%", "58%"]
_STRATEGIES: list[str | int] = ["20%", "9%", "9%", "9%", "9%", "9%", "35%"]


def place_of(session: Session, line: Any) -> int:  # noqa: ANN401 - a line of a table in the browser
    """Return the place of the row that a table's line names by its first two cells.

    Raises:
        SpaceError: the line names no row of this map.
    """
    names = {plain(name, 60): name for name in session.map.index.split.names}
    if isinstance(line, list) and len(line) > 1 and str(line[1]).isdecimal() and line[0] in names:
        place = session.map.index.find(names[line[0]], int(line[1]))
        if place is not None:
            return place
    raise SpaceError("this line names no row of the map")


def go(session: Session, place: int) -> gr.HTML:
    """Return the update that opens a row in the reader."""
    return gr.HTML(go={"handle": session.handle, "index": place, "turn": secrets.token_hex(4)})


class Tabs:
    """The tabs' components and answers.

    Args:
        page: the page they stand on; provides sessions and the explorer.
    """

    def __init__(self, page: Host) -> None:
        self.page, self.app = page, page.app
        with gr.Tab("Other cuts"):
            self._cuts()
        with gr.Tab("Compare"):
            self._compare()
        with gr.Tab("Audit"):
            self._audit()
        with gr.Tab("Take away") as tab:
            self._take_away(tab)
        with gr.Tab("Gallery", visible=not self.app.home.folder):
            self._gallery()

    def _table(
        self, headers: list[str] | tuple[str, ...], label: str, widths: list[str | int] | None = None
    ) -> gr.Dataframe:
        """Return a table of plain text: hostile cells stay cells."""
        return gr.Dataframe(
            headers=list(headers),
            datatype="str",
            interactive=False,
            label=label,
            wrap=True,
            max_height=420,
            column_widths=widths,
        )

    # -- other cuts

    def _cuts(self) -> None:
        with gr.Row():
            variance = gr.Slider(0, 1, 0.667, step=0.001, label="Fraction of rows with low variance")
            mean = gr.Slider(0, 1, 0.5, step=0.001, label="Fraction of those with low mean")
            back = gr.Button("Back to the published cut", scale=0, min_width=200)
        table = self._table(recut.HEADERS, "What the cut changes")
        inputs, outputs = [self.page.handle, variance, mean], [self.page.explorer, table]
        for slider in (variance, mean):
            slider.input(self.on_cut, inputs, outputs, show_progress="hidden", trigger_mode="always_last")
        back.click(self.on_uncut, [self.page.handle], [*outputs, variance, mean])
        with gr.Row():
            fraction = gr.Slider(0.01, 1, 0.33, step=0.01, label="Budget: fraction of all rows", scale=2)
            keeps = gr.Button("What each strategy would keep", scale=0, min_width=240)
            strategy = gr.Dropdown(list(STRATEGIES), value="high_mean_low_variance", label="Strategy", scale=2)
            only = gr.Button("Show only what it keeps", scale=0, min_width=200)
        strategies_table = self._table(strategies.HEADERS, "Strategies under the cut that is shown", _STRATEGIES)
        keeps.click(self.on_strategies, [self.page.handle, fraction], [strategies_table])
        only.click(self.on_strategy, [self.page.handle, strategy, fraction], self.page.changing)

    @errors_shown
    def on_cut(self, handle: str | None, variance: float, mean: float, request: gr.Request) -> list[Any]:
        """Try other fractions."""
        session = self.page.session(handle, request)
        data_map = recut.attempt(session, float(variance), float(mean))
        cut = {"handle": session.handle, "boundary": data_map.thresholds, "live": True, "turn": secrets.token_hex(4)}
        return [gr.HTML(cut=cut), recut.table(session)]

    @errors_shown
    def on_uncut(self, handle: str | None, request: gr.Request) -> list[Any]:
        """Return to the published cut."""
        session = self.page.session(handle, request)
        session.filters = replace(
            session.filters, hidden={k: v for k, v in session.filters.hidden.items() if k != "cut"}
        )
        session.cut = session.cut_map = None
        boundary = session.map.data_map.thresholds
        cut = {"handle": session.handle, "boundary": boundary, "live": False, "turn": secrets.token_hex(4)}
        return [gr.HTML(cut=cut), [], 0.667, 0.5]

    @errors_shown
    def on_strategies(self, handle: str | None, fraction: float, request: gr.Request) -> list[list[str]]:
        """Say what each strategy would keep."""
        return strategies.table(self.page.session(handle, request, "search"), float(fraction))

    @errors_shown
    def on_strategy(self, handle: str | None, strategy: str, fraction: float, request: gr.Request) -> list[Any]:
        """Show what a strategy keeps, no other rows."""
        session = self.page.session(handle, request, "search")
        places = strategies.kept(session, str(strategy), float(fraction))
        return self.page.show_only(session, places, f"strategy {strategy}, fraction {fraction:g}")

    # -- comparison

    def _compare(self) -> None:
        fixed = self.app.home.against
        with gr.Row():
            other = gr.Textbox(
                label="Another map of the same rows (Hub dataset)",
                value=Path(fixed).name if fixed and Path(fixed).is_dir() else fixed,
                placeholder="owner/name",
                max_length=200,
                interactive=not (fixed and Path(fixed).is_dir()),
                scale=4,
            )
            button = gr.Button("Compare", scale=0, min_width=120)
            only = gr.Button("Show only changed rows", scale=0, min_width=180)
        counts = self._table(compare.headers(), "Rows by region: here and there")
        changed = self._table(
            compare.CHANGED_HEADERS, "Rows that change region, greatest change of mean first; choose one to read it"
        )
        gr.on([button.click, other.submit], self.on_compare, [self.page.handle, other], [counts, changed])
        only.click(self.on_changed, [self.page.handle], self.page.changing)
        changed.select(self.on_line, [self.page.handle], [self.page.explorer], show_progress="hidden")

    @errors_shown
    def on_compare(self, handle: str | None, other: str, request: gr.Request) -> list[Any]:
        """Compare with another map."""
        session = self.page.session(handle, request, "open")
        fixed = self.app.home.against
        if fixed and Path(fixed).is_dir():
            opened = self.app.maps.folder(fixed)
        else:
            opened = self.app.maps.hub((other or "").strip(), None, token_of(request))
        comparison = compare.against(session, opened)
        session.changed = comparison.changed
        return [compare.counts(comparison), compare.listed(session, comparison)]

    @errors_shown
    def on_changed(self, handle: str | None, request: gr.Request) -> list[Any]:
        """Show the rows that change region, no others."""
        session = self.page.session(handle, request)
        if session.other is None or session.changed is None:
            raise SpaceError("compare with another map first")
        return self.page.show_only(session, session.changed, f"in another region than on {session.other.map.title}")

    @errors_shown
    def on_line(self, handle: str | None, event: gr.SelectData, request: gr.Request) -> gr.HTML:
        """Open the row of a table's line."""
        session = self.page.session(handle, request)
        return go(session, place_of(session, event.row_value))

    # -- audit

    def _audit(self) -> None:
        with gr.Row():
            run = gr.Button("Audit this map", variant="primary", scale=0, min_width=160)
            export = gr.Button("Export my verdicts", scale=0, min_width=180)
            tally = gr.Textbox(
                "No verdicts yet. Judge rows with the buttons beside their text.",
                show_label=False,
                interactive=False,
                scale=4,
            )
        file = gr.File(label="Verdicts", interactive=False, visible=False)
        findings_table = self._table(
            findings.HEADERS, "Findings, most severe first; choose one to see its rows on the map", _FINDINGS
        )
        suspects = self._table(
            findings.SUSPECT_HEADERS, "Suspects, most probable first; choose one to read it", _SUSPECTS
        )
        run.click(self.on_audit, [self.page.handle], [findings_table, suspects])
        findings_table.select(self.on_finding, [self.page.handle], self.page.changing, show_progress="hidden")
        suspects.select(self.on_line, [self.page.handle], [self.page.explorer], show_progress="hidden")
        self.page.explorer.judged(
            self.on_verdict, [self.page.handle], [tally], show_progress="hidden", trigger_mode="always_last"
        )
        export.click(self.on_export, [self.page.handle], [file])

    @errors_shown
    def on_audit(self, handle: str | None, request: gr.Request) -> list[Any]:
        """Run the audit on the map's rows."""
        session = self.page.session(handle, request, "download")
        session.report = findings.report(session.map)
        return [findings.listed(session.report), findings.suspects(session)]

    @errors_shown
    def on_finding(self, handle: str | None, event: gr.SelectData, request: gr.Request) -> list[Any]:
        """Show the rows of a finding."""
        session = self.page.session(handle, request)
        number = event.row_value[0] if isinstance(event.row_value, list) and event.row_value else None
        places, title = findings.rows(session, number)
        return self.page.show_only(session, places, title)

    @errors_shown
    def on_verdict(self, handle: str | None, request: gr.Request) -> str:
        """Count the verdicts."""
        verdicts = list(self.page.session(handle, request).verdicts.values())
        return f"{len(verdicts):,} verdicts: {verdicts.count('wrong'):,} wrong, {verdicts.count('right'):,} right"

    @errors_shown
    def on_export(self, handle: str | None, request: gr.Request) -> gr.File:
        """Write the verdicts to a file."""
        session = self.page.session(handle, request, "download")
        if not session.verdicts:
            raise SpaceError("there are no verdicts yet: open a row and judge its annotation")
        path = self.app.downloads() / "verdicts.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for place, verdict in sorted(session.verdicts.items()):
                split, row = session.map.index.place(place)
                region = columns.REGIONS[session.map.index.region[place]]
                line = {"dataset": session.map.title, "revision": session.map.revision, "split": split, "row": row}
                file.write(json.dumps({**line, "verdict": verdict, "region": region}, ensure_ascii=False) + "\n")
        return gr.File(str(path), visible=True)

    # -- take away

    def _take_away(self, tab: gr.Tab) -> None:
        show = gr.Button("Show code for the current selection", scale=0, size="sm")
        with gr.Row():
            options: dict[str, Any] = {"lines": 8, "max_lines": 24, "buttons": ["copy"], "interactive": False}
            python = gr.Textbox(label="Python", elem_classes="dm-code", **options)
            sql = gr.Textbox(label="SQL (DuckDB, SQL console)", elem_classes="dm-code", **options)
        with gr.Row():
            kind = gr.Radio(
                [("Parquet", "parquet"), ("JSON lines", "jsonl"), ("Row numbers", "rows")],
                value="parquet",
                label="File",
            )
            make = gr.Button("Make file", scale=0, min_width=120)
            file = gr.File(label="Download", interactive=False, visible=False)
        with gr.Group(visible=self.app.signed_in_possible):
            with gr.Row():
                name = gr.Textbox(
                    label="New dataset in your account", placeholder="my-selection", max_length=96, scale=4
                )
                private = gr.Checkbox(True, label="Private", min_width=100)
                push = gr.Button("Push selection", scale=0, min_width=140)
            outcome = gr.Textbox(label="Outcome", interactive=False)
        gr.on([show.click, tab.select], self.on_code, [self.page.handle], [python, sql])
        make.click(self.on_file, [self.page.handle, kind], [file])
        push.click(self.on_push, [self.page.handle, name, private], [outcome])

    @errors_shown
    def on_code(self, handle: str | None, request: gr.Request) -> list[str]:
        """Write the selection as code."""
        code = export.code(self.page.session(handle, request))
        return [code.python, code.sql]

    @errors_shown
    def on_file(self, handle: str | None, kind: str, request: gr.Request) -> gr.File:
        """Write the selection to a file."""
        if kind not in ("parquet", "jsonl", "rows"):
            raise SpaceError("files are parquet, jsonl or rows")
        session = self.page.session(handle, request, "download")
        return gr.File(str(export.write(session, kind, self.app.downloads())), visible=True)

    @errors_shown
    def on_push(self, handle: str | None, name: str, private: bool, request: gr.Request) -> str:
        """Push the selection to the visitor's account."""
        if (token := token_of(request)) is None:
            raise SpaceError("sign in with Hugging Face first: the selection goes to your own account")
        session = self.page.session(handle, request, "push")
        return publish.push(
            session, (name or "").strip(), private=bool(private), token=token, folder=self.app.downloads()
        )

    # -- gallery

    def _gallery(self) -> None:
        button = gr.Button("List maps on the Hub", scale=0)
        table = self._table(gallery.HEADERS, "Datasets with the datamap tag; choose one to open it")
        button.click(self.on_gallery, None, [table])
        table.select(self.on_choice, [self.page.handle], self.page.opened)

    @errors_shown
    def on_gallery(self, request: gr.Request) -> list[list[str]]:
        """List the maps of the Hub."""
        self.app.limits.take("open", visitor(request))
        return gallery.maps()

    @errors_shown
    def on_choice(self, handle: str | None, event: gr.SelectData, request: gr.Request) -> list[Any]:
        """Open the map of a line of the gallery."""
        chosen = event.row_value[0] if isinstance(event.row_value, list) and event.row_value else ""
        opened: list[Any] = self.page.on_open(handle, str(chosen), None, request)
        return opened
