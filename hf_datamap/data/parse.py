"""``--layout``: the text form of a layout."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hf_datamap.data.column_types import lookup, shown
from hf_datamap.data.detect import detect_layout, known_layout
from hf_datamap.data.known_layouts import KNOWN
from hf_datamap.data.layout import Layout
from hf_datamap.data.paths import split_unquoted
from hf_datamap.data.sample import take_sample
from hf_datamap.errors import LayoutError

_MANY = {"prompt", "responses", "annotations", "references", "rubric", "constraints", "scores"}
_FORMS = (
    "--layout takes a known name, paths such as "
    '"prompt=question,responses=answer_a|answer_b,annotations=winner,label=choice,choices=A:0|B:1", '
    "JSON, or the path of a JSON file"
)


def choose_layout(ds: Any, given: Layout | str | None = None, *, images: bool = False) -> Layout:
    """Return the layout to read a dataset with: the one given, checked against its columns, or the one detected.

    Args:
        ds: a ``Dataset``, ``IterableDataset`` or ``DatasetDict``.
        given: a `Layout`, or what ``--layout`` takes. A known name also brings along the extras that the columns have.
        images: whether rows with images may be read, see `detect_layout`; a layout that is given says so itself.

    Raises:
        LayoutError: the given layout needs what the columns do not have; or none fits, or several do.
    """
    if given is None:
        return detect_layout(ds, images=images)
    layout = parse_layout(given) if isinstance(given, str) else given
    for split in ds.values() if isinstance(ds, Mapping) else [ds]:
        sample = take_sample(split)
        missing = [path for path in layout.paths if lookup(sample.kinds, path) is None]
        if missing:
            raise LayoutError(
                f"the layout {layout.name} reads {', '.join(missing)}, which is not there"
                f"\ncolumns: {shown(sample.kinds)}"
            )
        entry = next((entry for entry in KNOWN if entry.name == given), None)
        layout = layout if entry is None else known_layout(entry, sample)
    return layout


def parse_layout(text: str) -> Layout:
    r"""Return the layout that a text names or spells out.

    Args:
        text: a known layout's name; ``field=path`` pairs with commas between them and ``|`` between several paths
            (names that hold such marks in double quotes); JSON as `Layout.to_json` writes it; or a JSON file's path.

    Raises:
        LayoutError: none of these, or a malformed one; says what is accepted.
    """
    text = text.strip()
    for entry in KNOWN:
        if entry.name == text:
            return known_layout(entry)
    if text.startswith("{"):
        return Layout.from_json(text)
    if "=" in text:
        return Layout(**_pairs(text))
    if text.endswith(".json"):
        try:
            return Layout.from_json(Path(text).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise LayoutError(f"cannot read the layout file {text!r}: {error}") from None
    names = [entry.name for entry in KNOWN]
    near = difflib.get_close_matches(text, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise LayoutError(f"unknown layout {text!r}{hint} {_FORMS}. Known names: {', '.join(names)}")


def _pairs(text: str) -> dict[str, Any]:
    names = [field.name for field in fields(Layout)]
    given: dict[str, Any] = {}
    for piece in split_unquoted(text, ","):
        name, _, value = (part.strip() for part in piece.partition("="))
        if name not in names or not value:
            raise LayoutError(f"{piece!r} is not field=path with a field out of {', '.join(names)}. {_FORMS}")
        if name in given:
            raise LayoutError(f"{name!r} is given twice; put | between several paths")
        given[name] = _value(name, value)
    return given


def _value(name: str, value: str) -> Any:
    if name in _MANY:
        return tuple(split_unquoted(value, "|"))
    if name == "turns":
        return value.lower() in {"true", "1", "yes"}
    if name == "choices":
        return dict(_choice(piece) for piece in split_unquoted(value, "|"))
    return value


def _choice(piece: str) -> tuple[str, int | str]:
    key, colon, where = piece.rpartition(":")
    if not colon:
        raise LayoutError(f"choices: {piece!r} is not VALUE:POSITION, like A:0|B:1|tie:tie")
    return key.strip('"'), int(where) if where.isdigit() else where
