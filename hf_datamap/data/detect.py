"""Detection: which layout a dataset has, and why; a clear refusal when none fits, or several do.

Known datasets come first (`known_layouts.KNOWN`, the most specific wins), then families of column names. Names only
suggest: a layout is accepted when sample rows read under it, with label values that its rule knows; otherwise the next
one is tried.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from hf_datamap.data import known_layouts as known
from hf_datamap.data import names
from hf_datamap.data.column_types import ListOf, is_conversation, is_side, is_texts, lookup, shown
from hf_datamap.data.decode import decoded
from hf_datamap.data.families import families, with_pair_scores
from hf_datamap.data.label_columns import parallel_rewards, unread, with_reward_models
from hf_datamap.data.layout import Layout
from hf_datamap.data.paths import column_of, format_path, parse_paths
from hf_datamap.data.refuse import grouping_of, refusal
from hf_datamap.data.sample import Sample, take_sample
from hf_datamap.data.sanity import Reading, checked, try_reading
from hf_datamap.data.values import grade
from hf_datamap.errors import LayoutError, RowError

_log = logging.getLogger(__name__)
_ROWS = 8  # of a sample that is given


def detect_layout(
    features: Any,
    sample: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None,
    *,
    images: bool = False,
) -> Layout:
    """Find out how to read a dataset.

    Args:
        features: ``datasets.Features``, a ``Dataset``, ``DatasetDict``, ``IterableDataset``, or one row as a dict.
            A streaming dataset is not consumed.
        sample: one row or a few that every guess is checked against; taken from the dataset when left out.
        images: whether rows with images may be read: the scorer sees them, or is told to do without
            (``text_only=True``). Left out, such data is refused.

    Returns:
        The layout; ``layout.why`` says why it was chosen.

    Raises:
        LayoutError: no layout fits, several do, or the data cannot be mapped (one response per row, images, token
            ids); names the columns seen and the way out.
    """
    if isinstance(features, Mapping) and features and all(hasattr(split, "features") for split in features.values()):
        return _of_splits(features, sample, images=images)
    rows = [sample] if isinstance(sample, Mapping) else list(islice(sample or (), _ROWS))
    taken = take_sample(features, rows)
    layout = _decide(taken, images=images)
    if missing := left_out(layout, taken):
        spoken = ", ".join(map(repr, missing))
        _log.warning("not read, although it may belong to the prompt: %s (--layout puts it there)", spoken)
    return layout


def _of_splits(splits: Mapping[str, Any], sample: Any, *, images: bool) -> Layout:
    by_split = {name: detect_layout(split, sample, images=images) for name, split in splits.items()}
    first, *others = by_split.items()
    for name, layout in others:
        if layout != first[1]:
            raise LayoutError(
                f"the splits {first[0]!r} and {name!r} have different layouts ({first[1].name}, {layout.name}); "
                "map one split at a time (--split), or give one layout for all (--layout)"
            )
    return first[1]


def left_out(layout: Layout, sample: Sample) -> list[str]:
    """Return columns that are not read although they may belong to the prompt, by their names and what they hold.

    Columns whose texts stand in the prompt or in a response anyway (a copy of the conversation) are none of them.
    """
    suspects = [
        name
        for name, kind in sample.kinds.items()
        if name not in layout.columns
        and names.plain_name(name) in names.SUSPECTS
        and (is_side(kind) or is_texts(kind) or name in sample.texts)
    ]
    return [name for name in suspects if not _is_copy(layout, sample, name)]


def _is_copy(layout: Layout, sample: Sample, name: str) -> bool:
    for row in sample.rows:
        try:
            example = layout.read(row)
        except RowError:
            continue
        shown = "\n".join([*(turn["content"] for turn in example.prompt), *(text or "" for text in example.responses)])
        if any(text.strip() not in shown for text in _texts_in(decoded(row.get(name)))):
            return False
    return bool(sample.rows)


def _texts_in(value: Any) -> list[str]:
    """Return the texts within a value, names of roles aside."""
    if isinstance(value, Mapping):
        return [text for key, item in value.items() if key not in ("role", "from", "type") for text in _texts_in(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts_in(item)]
    return [value] if isinstance(value, str) else []


def _decide(sample: Sample, *, images: bool) -> Layout:
    reasons: list[LayoutError] = []
    accepted: list[Layout] = []
    fitting = [(entry, needed) for entry in known.KNOWN if (needed := entry.needed) and _fits(sample, entry, needed)]
    read = [(needed, _accepted(known_layout(entry, sample), sample, reasons, known=True)) for entry, needed in fitting]
    kept = [(needed, layout) for needed, layout in read if layout is not None]
    accepted = [layout for needed, layout in kept if not any(needed < other for other, _ in kept)]
    grouping = None if accepted else grouping_of(sample.kinds)
    if not accepted:
        guesses = [_completed(layout, sample) for layout in families(sample)]
        if grouping is not None:  # a list beside one response per row is that of its turns
            guesses = [guess for guess in guesses if guess.name not in {"response-list", "responses-by-model"}]
            reasons.clear()
        accepted = [layout for guess in guesses if (layout := _accepted(guess, sample, reasons, known=False))]
    if not accepted:
        accepted = _nested(sample)
    accepted = list(dict.fromkeys(accepted))
    if not accepted:
        raise _rejected(sample, reasons)
    if len(accepted) > 1:
        raise _ambiguous(sample, accepted)
    return _with_images(accepted[0], sample, allowed=images)


def _nested(sample: Sample) -> list[Layout]:
    """Return the layouts of a dataset whose rows stand within a struct (``data``, ``fields``)."""
    layouts: list[Layout] = []
    for name, kind in sample.kinds.items():
        if not isinstance(kind, dict) or is_side(kind) or len(kind) < 2:
            continue
        rows = [inner for row in sample.rows if isinstance(inner := decoded(row.get(name)), Mapping)]
        texts = frozenset(field for field in kind if kind[field] in ("text", "json"))
        try:
            guesses = [_completed(layout, Sample(kind, rows, texts)) for layout in families(Sample(kind, rows, texts))]
        except LayoutError:
            continue
        outside = [_within(layout, name) for layout in guesses]
        layouts += [layout for guess in outside if (layout := _accepted(guess, sample, [], known=False))]
    return layouts


def _within(layout: Layout, name: str) -> Layout:
    """Return a layout whose paths begin within the struct of a column."""

    def deeper(paths: Any) -> list[str]:
        return [f"{format_path((name,))}.{path}" for path in parse_paths(paths)]

    parts = ("prompt", "responses", "annotations", "scores", "references", "constraints", "history", "images")
    single = ("system", "source_id", "prefix", "tools", "turn")
    changes: dict[str, Any] = {part: deeper(getattr(layout, part)) for part in parts}
    changes.update({part: deeper(getattr(layout, part))[0] for part in single if getattr(layout, part)})
    changes["scores"] = ",".join(changes["scores"])
    return layout.but(**changes, why=f"{layout.why} (within {name})")


def _rejected(sample: Sample, reasons: Sequence[LayoutError]) -> LayoutError:
    if not reasons:
        return refusal(sample.kinds)
    return LayoutError(f"{reasons[-1]}\ncolumns: {shown(sample.kinds)}")


def _accepted(layout: Layout, sample: Sample, reasons: list[LayoutError], *, known: bool) -> Layout | None:
    """Return the layout, with what the sample rows teach about it; None when they do not read under it."""
    try:
        return _probed(layout, sample, known=known)
    except LayoutError as error:
        reasons.append(error)
        return None


def _probed(layout: Layout, sample: Sample, *, known: bool) -> Layout:
    layout = layout.but(
        classes={p: class_names for p, class_names in sample.classes.items() if p in layout.annotations}
    )
    if any(path in sample.classes for path in parse_paths(layout.scores)):
        layout = layout.but(
            scores="", why=f"{layout.why}; {layout.scores} holds numbers of classes, which are no scores"
        )
    if not sample.rows:
        return layout
    probe = layout.but(multimodal=True)  # whether images may be there is decided last
    reading = try_reading(probe, sample)
    if layout.label != "order" and layout.annotations:
        bare = try_reading(probe.but(annotations=None, label="scores", choices=(), scores="", classes=()), sample)
        label_fault = _label_fault(layout, sample, reading, bare)
        if label_fault and known:
            raise LayoutError(f"{', '.join(layout.annotations)}: {label_fault}")
        if label_fault:
            why = layout.why + unread(layout.annotations[0], label_fault)
            layout = layout.but(annotations=None, label="scores", choices=(), scores="", classes=(), why=why)
            reading = bare
    if known and not reading.examples:
        raise LayoutError(f"no row that was looked at reads as {layout.name}")
    if reading.faults and len(reading.faults) >= len(reading.examples):
        raise LayoutError(_fault_in_words(layout, reading))
    return checked(layout, sample, reading) if reading.examples else layout


def _label_fault(layout: Layout, sample: Sample, reading: Reading, bare: Reading) -> str:
    """Return why the label of a layout cannot be meant: sample rows that read without it fail, or none has one."""
    if len(reading.examples) < len(bare.examples):
        error = next(fault for fault in reading.faults if str(fault) not in set(map(str, bare.faults)))
        return f"it does not say which response it means: {error.seen or error.reason}"
    if layout.label == "strength":
        values = {grade(value) for value in sample.values(layout.annotations[0])}
        if values == {1.0, 2.0}:
            return "1 and 2 alone may name the first and the second response, and are no strengths"
    unlabelled = all(example.annotations is None for example in reading.examples)
    if reading.examples and unlabelled:
        return "no row that was looked at has a value that the rule knows"
    return ""


def _fault_in_words(layout: Layout, reading: Reading) -> str:
    fault = reading.faults[0]
    prompt = ", ".join(layout.prompt) or "none"
    if layout.name == "transcripts" and "no prompt column" in fault.reason:
        spoken = ", ".join(layout.responses)
        return (
            f"{spoken} hold plain text, and no column holds the prompt: add one (prompt, instruction, ...), or "
            'name it: --layout "prompt=COLUMN,responses=' + "|".join(layout.responses) + ',label=order"'
        )
    return (
        f"the columns look like {layout.name} (prompt {prompt}, responses {', '.join(layout.responses)}), but the rows "
        f"do not read so: {fault}"
    )


# --- images -----------------------------------------------------------------------------------------------------------


def image_columns(sample: Sample) -> list[str]:
    """Return the columns that hold images, as pictures, paths or URLs."""
    columns = []
    for name, kind in sample.kinds.items():
        inner = kind.of if isinstance(kind, ListOf) else kind
        by_name = names.plain_name(name) in names.IMAGES
        if (
            inner == "media"
            or (by_name and kind != "null" and inner in ("text", "json", "other", "null", "media"))
            or (by_name and isinstance(inner, dict))
        ):
            columns.append(name)
    return columns


def _with_images(layout: Layout, sample: Sample, *, allowed: bool) -> Layout:
    """Return the layout with the images of the rows, where there are any and they may be read.

    Raises:
        LayoutError: there are images, sound or video, and nobody has said what to do about them.
    """
    columns = image_columns(sample)
    other = [name for name, kind in sample.kinds.items() if names.plain_name(name) in names.MEDIA and kind != "null"]
    reading = try_reading(layout.but(multimodal=True), sample)
    with_images = sum(example.has_images for example in reading.examples)
    in_messages = 2 * with_images >= len(reading.examples) > 0  # fewer are skipped, row by row
    if not (columns or other or in_messages):
        return layout
    if not allowed or other:
        where = ", ".join(f"column {name!r}" for name in columns + other) or f"the messages of {layout.columns[0]!r}"
        raise LayoutError(
            f"the data is multimodal: {where} holds images or sound. A judge with vision=True sees the images, scores "
            "that ship with the data can be mapped (--scorer columns:...), and text_only=True has the text alone "
            "judged; to read it, detect_layout(ds, images=True). To judge the text alone: --layout "
            f"{_flag(layout, spelled=True)}"
        )
    paths = [format_path((name,)) for name in columns]
    return layout.but(
        images=paths, multimodal=True, why=f"{layout.why}; images in {', '.join(columns) or 'the messages'}"
    )


# --- words ------------------------------------------------------------------------------------------------------------


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


def _ambiguous(sample: Sample, options: Sequence[Layout]) -> LayoutError:
    entries = {entry.name: entry for entry in known.KNOWN}
    meanings = [(entries[layout.name].choose if layout.name in entries else "") or layout.why for layout in options]
    lines = [f"  --layout {_flag(layout)}   ({meant})" for layout, meant in zip(options, meanings, strict=True)]
    return LayoutError(
        f"{len(options)} layouts fit these columns, choose one:\n"
        + "\n".join(lines)
        + f"\ncolumns: {shown(sample.kinds)}"
    )


# --- known datasets ---------------------------------------------------------------------------------------------------


def _fits(sample: Sample, entry: known.Known, needed: frozenset[str]) -> bool:
    columns = sample.kinds
    if any(lookup(columns, path) is None for path in needed) or (entry.unless and lookup(columns, entry.unless)):
        return False
    turns = entry.spec.get("turns", False)
    paths = parse_paths(entry.spec["responses"])
    sides = [lookup(columns, path) for path in paths]
    if not entry.spec.get("prompt") and not all(is_conversation(side) or side == "json" for side in sides):
        return False
    return all(
        side == "null"
        or is_side(side)
        or path in sample.texts
        or (turns and is_texts(side))
        or (path.endswith("[]") and side is not None)
        for path, side in zip(paths, sides, strict=True)
    )


def known_layout(entry: known.Known, sample: Sample | None = None) -> Layout:
    """Return the layout of a table entry; with a sample, its optional paths are settled and extras are found."""
    spec = dict(entry.spec)
    for key in ("source_id", "scores", "references", "tools", "turn", "history", "system"):
        paths = parse_paths(spec.get(key))
        if paths and all(path.endswith("?") for path in paths):
            bare = [path[:-1] for path in paths]
            is_there = sample is None or all(sample.has(path) for path in bare)
            spec[key] = ",".join(bare) if is_there else None
    prompt = parse_paths(spec.get("prompt"))
    spec["prompt"] = [
        path.removesuffix("?") for path in prompt if not path.endswith("?") or sample is None or sample.has(path[:-1])
    ]
    layout = Layout(**spec, name=entry.name, why=f"the columns of {entry.what}")
    return layout if sample is None else _completed(layout, sample)


# --- what goes with every layout --------------------------------------------------------------------------------------


def _completed(layout: Layout, sample: Sample) -> Layout:
    """Return the layout with what else the columns hold: context, system, scores, references, constraints, id."""
    kinds = sample.kinds
    layout = _with_context(layout, sample)
    extra: dict[str, Any] = {}

    def first(candidates: Sequence[str], accepts: Any) -> str | None:
        column = next(
            (name for name in names.named(kinds, candidates) if accepts(name) and name not in layout.columns), None
        )
        return None if column is None else format_path((column,))

    if not layout.system:
        extra["system"] = first(names.SYSTEMS, lambda name: kinds[name] == "text")
    if not layout.references:
        extra["references"] = first(names.REFERENCES, lambda name: kinds[name] == "text" or is_texts(kinds[name]))
    if not layout.source_id:
        extra["source_id"] = first(names.SOURCE_IDS, lambda name: kinds[name] in ("text", "number"))
    if not layout.tools:
        extra["tools"] = first(names.TOOLS, lambda name: kinds[name] != "null")
    if "instruction_id_list" in kinds and "kwargs" in kinds and not layout.constraints:
        extra["constraints"] = ("instruction_id_list", "kwargs")
    layout = layout.but(**{key: value for key, value in extra.items() if value})
    if layout.label == "order" and len(layout.responses) == 2 and not any(p.endswith("[]") for p in layout.responses):
        layout = with_pair_scores(layout, sample)
    return layout if layout.scores else with_reward_models(layout, parallel_rewards(sample))


def _with_context(layout: Layout, sample: Sample) -> Layout:
    """Return the layout with the columns that belong to the prompt: earlier turns, passages, the steps so far."""
    if not layout.prompt or layout.turns:
        return layout
    used = set(layout.columns)
    kinds = sample.kinds
    if not layout.history:
        for name in names.named(kinds, names.EARLIER_TURNS):
            kind = kinds[name]
            if name not in used and (isinstance(kind, ListOf) or is_conversation(kind)):
                return _with_context(_noted(layout, "history", name), sample)
    if not layout.prefix:
        for name in names.named(kinds, names.PREFIXES):
            if name not in used and kinds[name] == "text" and layout.label == "order":
                return _with_context(_noted(layout, "prefix", name), sample)
    contexts = [
        name
        for name in names.named(kinds, names.CONTEXTS)
        if name not in used
        and (kinds[name] == "text" or is_texts(kinds[name]))
        and name in layout_context(layout, sample)
    ]
    if contexts:
        paths = (*(format_path((name,)) for name in contexts), *layout.prompt)
        return layout.but(prompt=paths, why=f"{layout.why}, with {' and '.join(contexts)}")
    return layout


def layout_context(layout: Layout, sample: Sample) -> list[str]:
    """Return the columns that may stand before a prompt of texts; none before one of chat messages."""
    prompts = [sample.kinds.get(column_of(path)) for path in layout.prompt]
    return list(sample.kinds) if all(kind in ("text", "json") for kind in prompts) else []


def _noted(layout: Layout, part: str, name: str) -> Layout:
    return layout.but(**{part: format_path((name,))}, why=f"{layout.why}, with {name}")
