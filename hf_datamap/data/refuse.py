"""Refusals: why the columns of a dataset cannot be read as a prompt with several responses, and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from hf_datamap.data import names
from hf_datamap.data.column_types import Kind, ListOf, is_conversation, is_texts, lookup, shown
from hf_datamap.data.known_groupings import GROUPINGS, Grouping
from hf_datamap.errors import LayoutError

_ONE = ("response", "completion", "output", "answer", "text", "chosen", "generation")
_OWN = (
    'name the columns: --layout "prompt=COLUMN,responses=COLUMN|COLUMN" (or responses=LIST[].FIELD); '
    "in Python Layout(prompt=..., responses=[...])"
)


def grouping_of(columns: Mapping[str, Kind]) -> Grouping | None:
    """Return the known way to group rows with one response each that the columns allow."""
    return next((g for g in GROUPINGS if all(lookup(columns, path) is not None for path in g.needs)), None)


def refusal(columns: Mapping[str, Kind]) -> LayoutError:
    """Return the error for columns that no layout fits."""
    return LayoutError(f"{_reason(columns)}\ncolumns: {shown(columns)}")


def _reason(columns: Mapping[str, Kind]) -> str:  # noqa: PLR0911 - one return per reason
    grouping = grouping_of(columns)
    if grouping is not None:
        return (
            f"one response per row ({grouping.what}): a map needs several per prompt. Group the rows first: "
            "ds = dm.group_rows(ds), or --group on the command line"
        )
    prompts = [name for name in (*names.PROMPTS, *names.HISTORIES, "turns", "questions") if name in columns]
    if "sample0" in columns and isinstance(columns["sample0"], ListOf) and columns["sample0"].of == "number":
        return (
            "the responses are token ids: decode query and sample0, sample1, ... with their tokenizer, then "
            '--layout "prompt=query,responses=sample0|sample1|...,annotations=best,label=choice,choices=0:0|1:1|..."'
        )
    if is_texts(columns.get("completions")) and "labels" in columns:
        return "completions with labels are the steps of one response (process supervision), not several responses"
    ones = [name for name in _ONE if columns.get(name) in ("text", "json")]
    chats = [name for name in ("conversation", "conversations", "messages") if is_conversation(columns.get(name))]
    if ones and prompts:
        return (
            f"one response per row (column {ones[0]!r}, K = 1): a map needs several per prompt. If the same prompt "
            f"stands in several rows, group them: dm.group_rows(ds, by={prompts[0]!r}, response={ones[0]!r}); if not, "
            "sample more responses to the prompts; if the columns mean something else, " + _OWN
        )
    if chats and "ground_truth" in columns:
        return (
            f"prompts without responses (column {chats[0]!r}, with checks in 'ground_truth'): add a column 'responses' "
            "with several responses per prompt"
        )
    if chats:
        return f"one conversation per row (column {chats[0]!r}): K = 1, and a map needs several responses per prompt"
    if prompts:
        return (
            f"prompts without responses (column {prompts[0]!r}): a map needs several per prompt. Add a column "
            "'responses' that lists them; if they are there under another name, " + _OWN
        )
    if not ones and any(columns.get(name) == "number" for name in ("score", "rating", "reward")):
        return (
            "scores without prompts and responses: a map needs the texts too; join them on the id columns, or if they "
            "are there, " + _OWN
        )
    return "no known layout has these columns" + _near(columns) + "; " + _OWN


def _near(columns: Mapping[str, Kind]) -> str:
    """Return a hint about names that are almost those of a known layout."""
    words = [*names.PROMPTS, *names.LISTS, *(name for pair in names.PAIRS[:1] for name in pair)]
    hints = [
        f"{name!r} is close to {close[0]!r}"
        for name in columns
        if name.lower() not in words and (close := difflib.get_close_matches(name.lower(), words, 1, 0.75))
    ]
    return " (" + ", ".join(hints[:3]) + ")" if hints else ""
