"""One row as the page shows it: plain strings and numbers in a JSON object, never markup."""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from hf_datamap.data import columns
from hf_datamap.data.independence import map_label_basis
from hf_datamap.errors import DataMapError
from mapspace.errors import SpaceError
from mapspace.sessions import Session
from mapspace.sources import OpenMap
from mapspace.texts import plain

_MAX_RESPONSES: Final = 64
_MAX_MESSAGES: Final = 200
_DIFF_WORDS: Final = 1_500
_WORD: Final = re.compile(r"\s*\S+|\s+$")


def row(session: Session, i: int) -> dict[str, Any]:
    """Return everything the page shows of the row at place ``i``.

    Raises:
        SpaceError: there is no such row.
    """
    index = session.map.index
    if not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < len(index):
        raise SpaceError(f"row {i!r:.40} is not on this map of {len(index):,} rows")
    split, position = index.place(i)
    rank, selected = session.rank(i)
    facts = {
        "index": i,
        "split": plain(split, 100),
        "row": position,
        "region": columns.REGIONS[index.region[i]],
        "mean": _number(index.mean[i]),
        "variance": _number(index.variance[i]),
        "margin": _number(index.margin[i]),
        "agreement": _number(index.agreement[i]),
        "suspect": bool(index.suspect[i]),
        "source": plain(index.source.names[index.source.codes[i]], 100) if index.source.codes[i] >= 0 else None,
        "rank": rank,
        "selected": selected,
        "verdict": session.verdicts.get(i),
        "link": link(session.map, split, position),
        "versus": _versus(session, i),
    }
    try:
        content = session.map.guard(lambda: session.map.texts(split).row(position))
        return {**facts, **_content(session.map, content)}
    except DataMapError as error:  # the point and its numbers are shown even where the texts cannot be
        return {**facts, "problem": plain(str(error), 2_000)}


def _versus(session: Session, i: int) -> dict[str, Any] | None:
    """The same row on the map that is compared with."""
    if session.other is None or (j := int(session.other.places[i])) < 0:
        return None
    other, index = session.other.map, session.other.map.index
    facts: dict[str, Any] = {
        "title": plain(other.title, 200),
        "region": columns.REGIONS[index.region[j]],
        "mean": _number(index.mean[j]),
        "variance": _number(index.variance[j]),
        "margin": _number(index.margin[j]),
        "scores": [],
    }
    split, position = index.place(j)
    with contextlib.suppress(DataMapError):  # the numbers are shown even where the other map's rows cannot be read
        content = other.guard(lambda: other.texts(split).row(position))
        facts["scores"] = [_number(score) for score in content.get(columns.SCORES) or []]
    return facts


def link(open_map: OpenMap, split: str, position: int) -> str | None:
    """Return the address of a row in the Hub's viewer, None for a folder."""
    if open_map.dataset is None:
        return None
    hub = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    place = f"{quote(open_map.config, safe='')}/{quote(split, safe='')}"
    return f"{hub.rstrip('/')}/datasets/{open_map.dataset}/viewer/{place}?{urlencode({'row': position})}"


def _content(open_map: OpenMap, content: Mapping[str, Any]) -> dict[str, Any]:
    example = open_map.layout.read(content)
    scores = content.get(columns.SCORES) or []
    marks = example.annotations or [None] * len(example.responses)
    # Scores that are the annotations say nothing about which response the dataset chose.
    by_order = map_label_basis(open_map.data_map.provenance).labels == "order" and len(marks) == 2
    best = 0 if by_order else _preferred(marks)
    extras = _extras(content, len(example.responses))
    responses = [
        {
            "text": None if text is None else plain(text),
            "score": _number(scores[at] if at < len(scores) else None),
            "annotation": _number(marks[at]),
            "preferred": at == best,
            "extras": extras[at],
        }
        for at, text in enumerate(example.responses[:_MAX_RESPONSES])
    ]
    return {
        "prompt": [
            {"role": plain(message["role"], 40), "text": plain(message["content"])}
            for message in example.prompt[-_MAX_MESSAGES:]
        ],
        "responses": responses,
        "more_responses": max(0, len(example.responses) - _MAX_RESPONSES),
        "references": [plain(text) for text in example.references[:8]],
        "constraints": [
            plain(f"{item.id} {_compact(dict(item.kwargs)) if item.kwargs else ''}".strip(), 500)
            for item in example.constraints[:50]
        ],
        "difference": difference(*example.responses) if len(example.responses) == 2 else None,
        "other": _other(content),
    }


def _preferred(marks: list[float | None]) -> int | None:
    """The one response the annotation likes best, None when there is none or a tie."""
    known = [(mark, at) for at, mark in enumerate(marks) if mark is not None]
    if len(known) < 2:
        return None
    top = max(known)[0]
    best = [at for mark, at in known if mark == top]
    return best[0] if len(best) == 1 else None


def _extras(content: Mapping[str, Any], n: int) -> list[list[tuple[str, str]]]:
    """What else ships with each response: fields of lists that have one entry per response (criteria, rationales)."""
    extras: list[list[tuple[str, str]]] = [[] for _ in range(n)]
    for name, value in content.items():
        if name.startswith("datamap_") or not isinstance(value, list) or len(value) != n:
            continue
        for at, item in enumerate(value):
            if isinstance(item, dict):
                extras[at].extend((plain(key, 60), _shown(inner)) for key, inner in _leaves(item))
            elif not isinstance(item, str | list):
                extras[at].append((plain(name, 60), _shown(item)))
    return [pairs[:60] for pairs in extras]


def _leaves(item: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Scalars and texts inside a struct, by dotted path; the response texts themselves are shown elsewhere."""
    leaves: list[tuple[str, Any]] = []
    for key, value in item.items():
        if isinstance(value, dict):
            leaves.extend(_leaves(value, f"{prefix}{key}."))
        elif value is not None and key not in ("response", "content", "text"):
            leaves.append((f"{prefix}{key}", value))
    return leaves


def _other(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every column as it is, for the foldout."""
    return [(plain(name, 100), _shown(value, 4_000)) for name, value in list(content.items())[:100]]


def _shown(value: Any, limit: int = 2_000) -> str:  # noqa: ANN401 - any cell
    return plain(value if isinstance(value, str) else _compact(value), limit)


def _compact(value: Any) -> str:  # noqa: ANN401 - any cell
    return json.dumps(value, ensure_ascii=False, default=str)


def _number(value: Any) -> float | None:  # noqa: ANN401 - any number
    return float(f"{value:.7g}") if value is not None and math.isfinite(value) else None


def difference(one: str | None, other: str | None) -> dict[str, Any] | None:
    """Return the word-level difference of two texts.

    Returns:
        ``prefix``: the words both begin with, joined; ``words``: their number; ``segments``: pairs of kind
        ("same", "one", "other") and text; ``cut``: whether only the beginning was compared. None for a missing text.
    """
    if one is None or other is None:
        return None
    a, b = _WORD.findall(plain(one)), _WORD.findall(plain(other))
    shared = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    cut = max(len(a), len(b)) > shared + _DIFF_WORDS
    a, b, prefix = a[shared : shared + _DIFF_WORDS], b[shared : shared + _DIFF_WORDS], a[:shared]
    segments: list[tuple[str, str]] = []
    for kind, a0, a1, b0, b1 in difflib.SequenceMatcher(None, a, b, autojunk=True).get_opcodes():
        if kind == "equal":
            segments.append(("same", "".join(a[a0:a1])))
            continue
        if a1 > a0:
            segments.append(("one", "".join(a[a0:a1])))
        if b1 > b0:
            segments.append(("other", "".join(b[b0:b1])))
    return {"prefix": "".join(prefix), "words": shared, "segments": segments, "cut": cut}
