"""Detection: which layout the columns of a dataset have, and why; a clear refusal when none or several fit.

From features alone: known datasets first (`known.KNOWN`, the most specific wins), then families of column names. The
values are looked at only where features cannot tell (JSON in strings, transcripts), and only if there is a sample.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hf_datamap.data import known_layouts as known
from hf_datamap.data.column_types import (
    Kind,
    ListOf,
    is_conversation,
    is_message,
    is_scores,
    is_side,
    is_texts,
    kind_of_feature,
    kind_of_value,
    lookup,
    merged,
    shown,
)
from hf_datamap.data.labels import RULES
from hf_datamap.data.layout import Layout
from hf_datamap.data.paths import EACH, format_path, parse_paths
from hf_datamap.data.refuse import refusal
from hf_datamap.data.values import transcript
from hf_datamap.errors import LayoutError, RowError

_NUMBERED = re.compile(rf"({'|'.join(known.STEMS)})([ _-]?)([0-9]|[a-hA-H])$")
_MEDIA_NAMES = {"image", "images", "video", "videos", "audio"}


def detect_layout(features: Any, sample: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None) -> Layout:
    """Find out how to read a dataset.

    Args:
        features: ``datasets.Features``, a ``Dataset``, ``DatasetDict``, ``IterableDataset``, or one row as a dict.
            A streaming dataset is not consumed.
        sample: one row or a few, looked at where the features alone cannot tell.

    Returns:
        The layout; ``layout.why`` says why it was chosen.

    Raises:
        LayoutError: no layout fits, several do, or the data cannot be mapped (one response per row, images, token
            ids); names the columns seen and the way out.
    """
    if isinstance(features, Mapping) and features and all(hasattr(split, "features") for split in features.values()):
        return _of_splits(features, sample)
    rows = [sample] if isinstance(sample, Mapping) else list(itertools.islice(sample or (), 8))
    columns, rows = columns_of(features, rows)
    if not columns:
        raise LayoutError("the dataset has no columns")
    try:
        layout = _decide(columns)
    except LayoutError:
        if rows or not hasattr(features, "take"):
            raise
        columns, rows = columns_of(features, list(itertools.islice(iter(features.take(8)), 8)))
        layout = _decide(columns)
    return _checked(layout, rows)


def _of_splits(splits: Mapping[str, Any], sample: Any) -> Layout:
    found = {name: detect_layout(split, sample) for name, split in splits.items()}
    first, *others = found.items()
    for name, layout in others:
        if layout != first[1]:
            raise LayoutError(
                f"the splits {first[0]!r} and {name!r} have different layouts ({first[1].name}, {layout.name}); "
                "map one split at a time (--split), or give one layout for all (--layout)"
            )
    return first[1]


def columns_of(source: Any, rows: list[Mapping[str, Any]]) -> tuple[dict[str, Kind], list[Mapping[str, Any]]]:
    """Return the kind of every column, refined by sample rows, and those rows."""
    features = source
    if hasattr(source, "features"):
        features = source.features
        if not rows and features is None:
            rows = list(itertools.islice(iter(source.take(8)), 8))
        elif not rows and hasattr(source, "num_rows") and source.num_rows:
            texts = [name for name, feature in features.items() if kind_of_feature(feature) == "text"]
            head = source.with_format(None).select_columns(texts).select(range(min(8, source.num_rows)))
            rows = head.to_list() if texts else []
    if isinstance(features, Mapping):
        is_row = not any(type(value).__module__.startswith("datasets.") for value in _leaves(features))
        if is_row and not rows:
            rows = [features]
        columns = {} if is_row else {str(name): kind_of_feature(feature) for name, feature in features.items()}
    else:
        columns = {}
    if not columns:
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: merged(kind_of_value(row.get(name)) for row in rows) for name in names}
    for name, kind in columns.items():
        if kind == "text" and (values := [row[name] for row in rows if row.get(name) is not None]):
            columns[name] = "json" if all(kind_of_value(value) == "json" for value in values) else "text"
    return columns, rows


def _leaves(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return itertools.chain.from_iterable(map(_leaves, value.values()))
    return itertools.chain.from_iterable(map(_leaves, value)) if isinstance(value, (list, tuple)) else (value,)


def _decide(columns: Mapping[str, Kind]) -> Layout:
    options = _known(columns) or _families(columns)
    if not options:
        raise refusal(columns)
    if len(options) > 1:
        raise _ambiguous(columns, options)
    layout = options[0]
    media = [name for name, kind in columns.items() if _is_media(name, kind)]
    if media:
        raise LayoutError(
            f"the data is multimodal: column {', '.join(map(repr, media))} holds images or sound, which "
            f"this tool does not judge. To judge the text alone, say so: --layout {_flag(layout, spelled=True)}"
        )
    return layout


def _is_media(name: str, kind: Kind) -> bool:
    return (
        kind == "media"
        or (isinstance(kind, ListOf) and kind.of == "media")
        or (name in _MEDIA_NAMES and kind != "null")
    )


def _flag(layout: Layout, *, spelled: bool = False) -> str:
    """Return what ``--layout`` takes to get this layout."""
    if not spelled and any(entry.name == layout.name for entry in known.KNOWN):
        return layout.name
    parts = [
        f"{key}={'|'.join(paths)}" for key in ("prompt", "responses", "annotations") if (paths := getattr(layout, key))
    ]
    parts += [f"label={layout.label}"] if layout.label != "scores" else []
    parts += ["choices=" + "|".join(f"{key}:{where}" for key, where in layout.choices)] if layout.choices else []
    text = ",".join(parts)
    return shlex.quote(text) if '"' in text else f'"{text}"'


def _ambiguous(columns: Mapping[str, Kind], options: Sequence[Layout]) -> LayoutError:
    entries = {entry.name: entry for entry in known.KNOWN}
    meanings = [(entries[layout.name].choose if layout.name in entries else "") or layout.why for layout in options]
    lines = [f"  --layout {_flag(layout)}   ({told})" for layout, told in zip(options, meanings, strict=True)]
    return LayoutError(
        f"{len(options)} layouts fit these columns, choose one:\n" + "\n".join(lines) + f"\ncolumns: {shown(columns)}"
    )


# --- known datasets ---------------------------------------------------------------------------------------------------


def _known(columns: Mapping[str, Kind]) -> list[Layout]:
    """Return the known layouts that fit, only the most specific ones."""
    fitting = [(entry, needed) for entry in known.KNOWN if (needed := _needed(entry)) and _fits(columns, entry, needed)]
    best = [entry for entry, needed in fitting if not any(needed < other for _, other in fitting)]
    return [known_layout(entry, columns) for entry in best]


def _needed(entry: known.Known) -> frozenset[str]:
    spec = entry.spec
    named = [
        path
        for key in ("prompt", "responses", "annotations", "system", "references")
        for path in parse_paths(spec.get(key))
        if not path.endswith("?")
    ]
    return frozenset([*named, *entry.also])


def _fits(columns: Mapping[str, Kind], entry: known.Known, needed: frozenset[str]) -> bool:
    if any(lookup(columns, path) is None for path in needed) or (entry.unless and lookup(columns, entry.unless)):
        return False
    turns = entry.spec.get("turns", False)
    sides = [lookup(columns, path) for path in parse_paths(entry.spec["responses"])]
    if not entry.spec.get("prompt") and not all(is_conversation(side) or side == "json" for side in sides):
        return False
    return all(side == "null" or is_side(side) or (turns and is_texts(side)) for side in sides)


def known_layout(entry: known.Known, columns: Mapping[str, Kind] | None = None) -> Layout:
    """Return the layout of a table entry; with columns, its optional paths are settled and extras are found."""
    spec = dict(entry.spec)
    for key in ("source_id", "scores"):
        paths = parse_paths(spec.get(key))
        if paths and all(path.endswith("?") for path in paths):
            bare = [path[:-1] for path in paths]
            there = columns is None or all(lookup(columns, path) is not None for path in bare)
            spec[key] = ",".join(bare) if there else None
    layout = Layout(**spec, name=entry.name, why=f"the columns of {entry.what}")
    return layout if columns is None else _completed(layout, columns)


# --- families of names ------------------------------------------------------------------------------------------------


def _families(columns: Mapping[str, Kind]) -> list[Layout]:
    found = [*_pairs(columns), *_numbered(columns), *_listed(columns)]
    return [_completed(layout, columns) for layout in found]


def _prompt(columns: Mapping[str, Kind]) -> str | None:
    there = [name for name in known.PROMPTS if is_side(columns.get(name)) or is_texts(columns.get(name))]
    if "prompt" in there:
        return "prompt"
    if there == ["instruction", "input"]:
        return "instruction,input"
    if not there:
        there = [name for name in known.HISTORIES if is_side(columns.get(name))]
    if len(there) > 1:
        raise LayoutError(
            f"several columns could be the prompt: {', '.join(there)}; name one (or join them with |): "
            f'--layout "prompt={there[0]},responses=...", in Python Layout(prompt={there[0]!r}, responses=...)'
            f"\ncolumns: {shown(columns)}"
        )
    return there[0] if there else None


def _pairs(columns: Mapping[str, Kind]) -> list[Layout]:
    found = []
    for names in known.PAIRS:
        kinds = [columns.get(name) for name in names]
        if not all(is_side(kind) or is_texts(kind) for kind in kinds):
            continue
        prompt = _prompt(columns)
        told = " and ".join(names)
        if prompt is not None:
            why = f"columns {told} beside the prompt column {prompt}"
            paths = [f"{name}[]" if is_texts(columns[name]) else name for name in names]
            found.append(Layout(prompt=prompt, responses=paths, label="order", name="pairs", why=why))
        elif not all(is_side(kind) for kind in kinds):
            continue
        elif all(is_conversation(kind) or kind == "json" for kind in kinds):
            why = f"columns {told} hold whole conversations; the prompt is what they share"
            found.append(Layout(responses=names, label="order", name="pairs-implicit", why=why))
        else:
            why = f"columns {told} hold text and there is no prompt column: read as Human/Assistant transcripts"
            found.append(Layout(responses=names, label="order", name="transcripts", why=why))
    return found


def _numbered(columns: Mapping[str, Kind]) -> list[Layout]:
    series: dict[tuple[str, str, str], list[str]] = {}
    for name, kind in columns.items():
        if (match := _NUMBERED.fullmatch(name)) and is_side(kind):
            mark = match[3]
            style = "number" if mark.isdigit() else "upper" if mark.isupper() else "lower"
            series.setdefault((match[1], match[2], style), []).append(name)
    found = []
    for (stem, gap, _), names in series.items():
        names.sort()
        marks = [ord(name[-1]) for name in names]
        if len(names) < 2 or marks != list(range(marks[0], marks[0] + len(marks))) or names[0][-1] not in "01aA":
            continue
        prompt = _prompt(columns)
        if prompt is None:
            continue
        why = f"columns {names[0]} to {names[-1]} beside the prompt column {prompt}"
        label = _numbered_label(columns, gap, names)
        unread = [name for name in known.CHOICES if columns.get(name) == "number"] if not label else []
        if unread:
            why += _unread(unread[0], "numbers do not say which response they mean")
        found.append(Layout(prompt=prompt, responses=names, name=f"numbered-{stem}s", why=why, **label))
    return found


def _unread(name: str, reason: str) -> str:
    way = f"annotations={name},label=choice,choices=VALUE:0|VALUE:1"
    return f"; {name!r} is not read, {reason} (add {way} to --layout)"


def _numbered_label(columns: Mapping[str, Kind], gap: str, names: Sequence[str]) -> dict[str, Any]:
    for stem in ("score", "rating", "reward"):
        scores = [f"{stem}{gap}{name[-1]}" for name in names]
        if all(columns.get(name) == "number" for name in scores):
            return {"annotations": scores}
    words = [name for name in known.CHOICES if columns.get(name) == "text"]
    own = {name: place for place, name in enumerate(names)}  # the label may name the column
    return {"annotations": words[0], "label": "choice", "choices": own} if len(words) == 1 else {}


def _listed(columns: Mapping[str, Kind]) -> list[Layout]:
    found = []
    for name in known.LISTS:
        kind = columns.get(name)
        if name == "completions" and is_texts(kind) and is_scores(columns.get("labels")):
            continue  # TRL's stepwise format: the steps of one response
        spec: dict[str, Any]
        if isinstance(kind, ListOf) and isinstance(kind.of, dict) and not is_message(kind.of):
            texts = [field for field in known.LIST_TEXTS if kind.of.get(field) == "text"]
            scores = [field for field in known.STRUCT_SCORES if kind.of.get(field) in ("number", "text")]
            spec = {"annotations": f"{name}[].{scores[0]}"} if scores else {}
            path = f"{name}[].{texts[0]}" if texts else None
        elif kind == "json" or is_texts(kind) or (isinstance(kind, ListOf) and is_side(kind.of)):
            path, spec = f"{name}[]", _parallel(columns)
        else:
            continue
        prompt = _prompt(columns)
        if path is None or prompt is None:
            continue
        spec["turns"] = is_texts(columns.get(prompt)) and isinstance(kind, ListOf) and is_texts(kind.of)
        why = f"column {name} lists responses beside the prompt column {prompt}"
        found.append(Layout(prompt=prompt, responses=path, name="response-list", why=why, **spec))
    return found


def _parallel(columns: Mapping[str, Kind]) -> dict[str, Any]:
    there = [name for name in known.LIST_SCORES if is_scores(columns.get(name)) or columns.get(name) == "json"]
    if not there:
        return {}
    kind = columns[there[0]]
    # Flags are labels, as in chosen and rejected: they say which is preferred, not how good each is.
    flags = isinstance(kind, ListOf) and kind.of == "flag"
    return {"annotations": f"{there[0]}[]", **({"scores": ""} if flags else {})}


# --- what goes with every layout --------------------------------------------------------------------------------------


def _completed(layout: Layout, columns: Mapping[str, Kind]) -> Layout:
    """Return the layout with what else the columns hold: system, scores of a pair, references, constraints, id."""
    extra: dict[str, Any] = {}
    if not layout.system:
        extra["system"] = next((name for name in known.SYSTEMS if columns.get(name) == "text"), None)
    if not layout.references:
        extra["references"] = next(
            (name for name in known.REFERENCES if columns.get(name) == "text" or is_texts(columns.get(name))), None
        )
    if not layout.source_id:
        extra["source_id"] = next((name for name in known.SOURCE_IDS if columns.get(name) in ("text", "number")), None)
    if "instruction_id_list" in columns and "kwargs" in columns and not layout.constraints:
        extra["constraints"] = ("instruction_id_list", "kwargs")
    kept = {key: value for key, value in extra.items() if value}
    layout = layout.but(**kept)
    if layout.label == "order" and len(layout.responses) == 2 and not any(p.endswith("[]") for p in layout.responses):
        layout = _with_scores(layout, columns)
    return layout if layout.scores else _with_reward_models(layout, _parallel_rewards(columns))


def _with_scores(layout: Layout, columns: Mapping[str, Kind]) -> Layout:
    for first, second in known.PAIR_SCORES:
        kinds = lookup(columns, first), lookup(columns, second)
        if all(kind in ("number", "text") for kind in kinds):
            why = f"{layout.why}; scores in {first} and {second}"
            return layout.but(annotations=(first, second), label="scores", scores=f"{first},{second}", why=why)
        if isinstance(kinds[0], dict) and isinstance(kinds[1], dict):
            models = [key for key in kinds[0] if key in kinds[1]]
            specs = [",".join(format_path((side, model)) for side in (first, second)) for model in models]
            return _with_reward_models(layout, specs)
    return layout


def _parallel_rewards(columns: Mapping[str, Kind]) -> list[str]:
    """Return the paths of scores that reward models gave all responses of a row: ``rm_scores.<model>[]``."""
    return [
        format_path((name, model, EACH))
        for name, kind in columns.items()
        if isinstance(kind, dict) and ("score" in name or "reward" in name)
        for model, scores in kind.items()
        if isinstance(scores, ListOf) and scores.of == "number"
    ]


def _with_reward_models(layout: Layout, specs: Sequence[str]) -> Layout:
    """Return the layout with the scores of a reward model; of several models the choice is the user's."""
    if len(specs) == 1:
        why = f"{layout.why}; scores of a reward model in {specs[0]}"
        return layout.but(scores=specs[0], why=why)
    if not specs:
        return layout
    told = f"scores of {len(specs)} reward models are there, choose one: --scorer 'columns:{specs[0]}'"
    return layout.but(why=f"{layout.why}; {told}", scores="")


def _checked(layout: Layout, rows: Sequence[Mapping[str, Any]]) -> Layout:
    """Return the layout after a look at sample rows: a guessed label that they contradict is left unread.

    Raises:
        LayoutError: what was taken for transcripts is plain text.
    """
    if layout.name.startswith("numbered-") and layout.label == "choice":
        column = layout.annotations[0]
        try:
            for row in rows:
                RULES["choice"]([row.get(column)], len(layout.responses), dict(layout.choices))
        except RowError as error:
            why = layout.why + _unread(column, f"it does not say which response it means: {error.seen}")
            return layout.but(annotations=None, label="scores", choices=(), why=why)
    if layout.name != "transcripts" or not rows:
        return layout
    cells = [row.get(path) for row in rows for path in layout.responses]
    texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    if texts and not any(transcript(text) for text in texts):
        names = ", ".join(layout.responses)
        raise LayoutError(
            f"{names} hold plain text, and no column holds the prompt: add one (prompt, instruction, ...), or "
            'name it: --layout "prompt=COLUMN,responses=' + "|".join(layout.responses) + ',label=order"'
        )
    return layout
