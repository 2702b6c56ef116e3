"""Small tables for notebooks; every text in them is escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final

_HIDDEN: Final = dict.fromkeys([*range(32), *range(127, 160), 0x061C, *range(0x200E, 0x2010), *range(0x2028, 0x202F),
                                *range(0x2066, 0x206A)])  # fmt: skip
_LIMIT: Final = 300


def text(value: object) -> str:
    """Return a value as text of a page: escaped, without control and direction characters, cut when it is long."""
    shown = str(value)[: 2 * _LIMIT].translate(_HIDDEN)
    return html.escape(shown if len(shown) <= _LIMIT else f"{shown[:_LIMIT]}…")


def table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    notes: Sequence[str] = (),
    shares: Sequence[tuple[float, str]] = (),
) -> str:
    """Return a table as HTML.

    Args:
        title: a line above it.
        header: names of the columns; empty for a list of names and values.
        rows: the cells; numbers stand to the right.
        notes: lines below it.
        shares: for each row, a share (0 to 1) and a colour: drawn as a bar behind its first cell.
    """
    lines = [f"<div><p><b>{text(title)}</b></p>", "<table>"]
    if header:
        lines.append("<thead><tr>" + "".join(f"<th>{text(name)}</th>" for name in header) + "</tr></thead>")
    lines.append("<tbody>")
    for number, row in enumerate(rows):
        cells = [_cell(value, first=place == 0) for place, value in enumerate(row)]
        if number < len(shares):
            share, colour = shares[number]
            bar = f"background:linear-gradient(to right,{colour}55 {100 * share:.1f}%,transparent 0)"
            cells[0] = f'<td style="text-align:left;{bar}">{text(row[0])}</td>'
        lines.append("<tr>" + "".join(cells) + "</tr>")
    lines.append("</tbody></table>")
    lines += [f"<p>{text(note)}</p>" for note in notes]
    return "\n".join([*lines, "</div>"])


def _cell(value: object, *, first: bool) -> str:
    side = "right" if isinstance(value, int | float) and not first else "left"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else value
    return f'<td style="text-align:{side}">{text("–" if shown is None else shown)}</td>'


def preformatted(page: str) -> str:
    """Return lines of text as they are."""
    return f"<pre>{html.escape(page.translate({code: None for code in _HIDDEN if code != 10}))}</pre>"
