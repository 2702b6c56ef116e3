"""The map as one HTML file: no server, no other file, no request; dataset text is only ever shown as text."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.data.shards import splits_of
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.datamap.index import build_index, layout_of, read_rows
from hf_datamap.errors import LayoutError, RowError
from hf_datamap.publish.card.escape import plain
from hf_datamap.publish.card.render import HUB
from hf_datamap.publish.space_app import space_files

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.data import Layout

_TEXT: Final = 300
_MOST_TEXTS: Final = 20_000


def static_map(
    index: pa.Table,
    data_map: DataMap,
    *,
    title: str,
    repo_id: str | None = None,
    config: str = "default",
    texts: Sequence[str] | None = None,
) -> str:
    """Return a self-contained HTML page with every point of a map.

    Args:
        index: the map's index (`hf_datamap.datamap.index.SCHEMA`).
        data_map: its thresholds.
        title: heading.
        repo_id: dataset on the Hub, for links to its rows.
        config: configuration there.
        texts: something to show for each row of the index, for example the beginning of its prompt.
    """
    order = np.array(columns.REGIONS)
    names = index["region"].cast(pa.string()).to_numpy(zero_copy_only=False)
    codes = np.array(
        [{name: code for code, name in enumerate(order)}.get(name, len(order) - 1) for name in names], "u1"
    )
    counts = np.bincount(codes, minlength=len(order))
    suspect = index["suspect"].to_pylist()
    data = {
        "title": plain(title, 200),
        "about": f"{index.num_rows:,} rows. Up: mean of the alignment scores. Right: their variance. Dashed: the cut.",
        "regions": [{"name": name, "rows": int(count)} for name, count in zip(columns.REGIONS, counts, strict=True)],
        "thresholds": data_map.thresholds,
        **{name: _base64(index[name].to_numpy().astype("<f4")) for name in ("mean", "variance", "margin", "agreement")},
        "region": _base64(codes),
        "suspect": _base64(np.array([2 if value is None else int(value) for value in suspect], "u1")),
        "splits": _bounds(index),
        "sources": [value and plain(value, 80) for value in index["source"].to_pylist()]
        if index["source"].null_count < index.num_rows
        else None,
        "texts": [plain(text, _TEXT) for text in texts] if texts is not None else None,
        "viewer": f"{HUB}/datasets/{repo_id}/viewer/{quote(config)}/" if repo_id else None,
    }
    template = (Path(__file__).parent / "static_map.html").read_text(encoding="utf-8")
    head, _, tail = template.partition("__DATA__")
    return (
        head.replace("__TITLE__", html.escape(plain(title, 200)))
        + _inline(data)
        + tail.replace("__SCRIPTS__", _shared())
    )


@cache
def _shared() -> str:
    """The scripts that the page shares with the Space: colours, and how density is painted."""
    files = space_files()
    return "\n".join(
        files[f"mapspace/static/{name}"].read_text(encoding="utf-8") for name in ("raster.js", "palette.js")
    )


def page_of(ds: Dataset | DatasetDict, data_map: DataMap, *, title: str) -> str:
    """Return the page of a mapped dataset, with the beginning of each prompt while the page stays small."""
    from datasets import DatasetDict

    ordered = DatasetDict(dict(sorted(splits_of(ds).items())))
    layout = layout_of(data_map.provenance)
    total = sum(len(split) for split in ordered.values())
    texts = [text for split in ordered.values() for text in _prompts(split, layout)] if total <= _MOST_TEXTS else None
    return static_map(build_index(ds), data_map, title=title, texts=texts)


def _prompts(split: Dataset, layout: Layout | None) -> list[str]:
    try:
        examples = list(read_rows(split, layout))
    except (LayoutError, RowError):
        return [""] * len(split)
    return [
        "" if isinstance(example, RowError) else " ".join(str(message["content"]) for message in example.prompt)
        for example in examples
    ]


def _bounds(index: pa.Table) -> list[dict[str, Any]]:
    names = index["split"].to_pylist()
    bounds: list[dict[str, Any]] = []
    for name in dict.fromkeys(names):
        start = names.index(name)
        bounds.append({"name": name, "start": start, "end": start + names.count(name)})
    return bounds


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _inline(data: object) -> str:
    """JSON that cannot end its script element or start a comment in it (HTML standard, 4.12.1.3)."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
