"""The explorer: one ``gr.HTML`` with map and reader, and the functions its script calls.

Nothing a dataset says is ever put into a template: texts reach the page as JSON and become ``textContent``.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import gradio as gr
import numpy as np

from hf_datamap.data import columns
from hf_datamap.errors import DataMapError
from mapspace import points, reader
from mapspace.errors import SpaceError
from mapspace.gate import SESSION
from mapspace.points import BrowserFiles
from mapspace.sessions import Limits, Session, Sessions
from mapspace.texts import plain

_STATIC: Final = Path(__file__).parent / "static"
_SCRIPTS: Final = ("raster.js", "palette.js", "map.js", "reader.js", "explorer.js")
# One script file with a scope of its own; the component's own code is one line.
_SCRIPT: Final = "window.startDatamap = (() => {{ 'use strict';\n{}\nreturn makeExplorer; }})();\n"
# Gradio makes an event of every quoted name of a public method call in this text.
_START: Final = """const events = ['filter', 'judged'];
startDatamap(element.querySelector('.dm-root'), {props, server, trigger, watch});"""
_log = logging.getLogger("mapspace")

#: Requests of each kind from one address: at once, and a minute. A class of students may share an address.
RATES: Final = {
    "row": (200, 3000),
    "filter": (200, 2000),
    "open": (60, 120),
    "search": (20, 30),
    "download": (20, 20),
    "push": (5, 5),
}


def visitor(request: gr.Request | None) -> str:
    """Return who asks, as far as can be told: the first address a proxy names (it can be made up), else the peer's."""
    if request is None:
        return "local"
    forwarded = request.headers.get("x-forwarded-for", "")
    peer = request.client.host if request.client else "local"
    return forwarded.partition(",")[0].strip()[:64] or str(peer)


def gradio_session(request: gr.Request | None) -> str | None:
    """Return the Gradio session that a request belongs to, as the gate has found it; None outside of the app."""
    return request.headers.get(SESSION) if request is not None else None


class ExplorerApi:
    """The functions the page's script calls; every argument is checked, every failure becomes a sentence."""

    def __init__(self, sessions: Sessions, limits: Limits) -> None:
        self._sessions, self._limits = sessions, limits

    def functions(self) -> list[Callable[..., dict[str, Any]]]:
        """Return the public functions, named as the script calls them."""
        return [self._public(name) for name in ("row", "step", "channel", "judge")]

    def _public(self, name: str) -> Callable[..., dict[str, Any]]:
        action: Callable[[Session, Mapping[str, Any]], dict[str, Any]] = getattr(self, f"_{name}")

        def call(asked: Any, request: gr.Request) -> dict[str, Any]:  # noqa: ANN401 - anything can be posted
            try:
                self._limits.take("row", visitor(request))
                if not isinstance(asked, dict):
                    raise SpaceError("malformed request")
                return action(self._sessions.get(asked.get("handle"), gradio_session(request)), asked)
            except DataMapError as error:
                return {"error": plain(str(error), 2_000)}
            except Exception:
                _log.exception("%s failed", name)
                return {"error": "something went wrong here; the Space's log says what"}

        call.__name__ = name
        call.__annotations__ = {"asked": Any, "request": gr.Request, "return": dict}
        return call

    def _row(self, session: Session, asked: Mapping[str, Any]) -> dict[str, Any]:
        return reader.row(session, _whole(asked, "index"))

    def _step(self, session: Session, asked: Mapping[str, Any]) -> dict[str, Any]:
        by = 1 if _whole(asked, "by") > 0 else -1
        place = session.step(_whole(asked, "index"), by)
        if place is None:
            return {"end": "This is the last selected row." if by > 0 else "This is the first selected row."}
        return reader.row(session, place)

    def _channel(self, session: Session, asked: Mapping[str, Any]) -> dict[str, Any]:
        name = asked.get("name")
        if name not in (*points.CHANNELS, "cut"):
            raise SpaceError(f"no colouring {name!r:.40}")
        channel = session.channel(str(name))
        return {"channel": channel.to_json(), "file": session.publish(channel.codes)}

    def _judge(self, session: Session, asked: Mapping[str, Any]) -> dict[str, Any]:
        place, verdict = _whole(asked, "index"), asked.get("verdict")
        if not 0 <= place < len(session.map.index) or verdict not in ("right", "wrong", None):
            raise SpaceError("a verdict is right or wrong, about a row of this map")
        session.judge(place, verdict)
        return {"verdicts": len(session.verdicts)}


def _whole(asked: Mapping[str, Any], name: str) -> int:
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpaceError(f"{name} must be a whole number")
    return value


def component(server: ExplorerApi, files: BrowserFiles) -> gr.HTML:
    """Return the explorer component; its script is one of the files for the browser."""
    script = _SCRIPT.format("\n".join((_STATIC / name).read_text(encoding="utf-8") for name in _SCRIPTS))
    name = f"explorer-{hashlib.sha256(script.encode()).hexdigest()[:16]}.js"
    (files.folder / name).write_text(script, encoding="utf-8")
    return gr.HTML(
        html_template='<div class="dm-root dm-empty"></div>',
        css_template=(_STATIC / "explorer.css").read_text(encoding="utf-8"),
        head=f'<script src="/gradio_api/file={files.folder}/{name}"></script>',
        js_on_load=_START,
        apply_default_css=False,
        server_functions=server.functions(),
        elem_id="explorer",
        view=None,
        mask=None,
        cut=None,
        go=None,
    )


def view(session: Session, base: str, *, start: int | None, share: Mapping[str, str], note: str = "") -> dict[str, Any]:
    """Return what the script needs to draw a map."""
    opened, index = session.map, session.map.index
    channel = session.channel("region")
    thresholds = opened.data_map.thresholds
    hidden = {name: sorted(codes) for name, codes in session.filters.hidden.items()}
    return {
        "handle": session.handle,
        "base": base,
        "file": session.files.shared(opened, lambda: points.pack(opened.positions, channel)),
        "channel": channel.to_json(),
        "channels": list(
            dict.fromkeys([*points.available(index), *(["language"] if any(opened.splits.values()) else [])])
        ),
        "regions": list(columns.REGIONS),
        "extent": {"x": opened.positions.extent.x, "y": opened.positions.extent.y},
        "boundary": thresholds,
        "tied": opened.positions.tied,
        "reach": opened.positions.reach,
        "hidden": hidden,
        "start": start,
        "share": dict(share),
        "message": note,
        "alt": alternative(session),
    }


def mask(session: Session, shown: np.ndarray, turn: int | None = None) -> dict[str, Any]:
    """Return which points the script shows, after a change of the filters; ``turn`` is the script's own count."""
    return {
        "handle": session.handle,
        "turn": turn,
        "file": None if shown.all() else session.publish(np.packbits(shown)),
        "count": int((session.selected() & session.map.positions.drawn).sum()),
        "area": bool(session.filters.polygon),
        "hidden": {name: sorted(codes) for name, codes in session.filters.hidden.items()},
    }


def alternative(session: Session) -> str:
    """Return the map in words, for those who cannot see it."""
    data_map = session.map.data_map
    parts = [f"{region.rows:,} rows {region.name.replace('_', ' ')}" for region in data_map.regions if region.rows]
    return (
        f"Alignment Data Map of {plain(session.map.title, 200)}: {data_map.rows:,} rows, mean score upwards, variance "
        f"of the scores to the right. {', '.join(parts)}. Arrow keys move, plus and minus zoom, Enter opens the row "
        "at the cross, N and P go to the next and previous row."
    )
