"""Families of column names: how a dataset that no known layout fits is read, guessed by names and checked on rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_datamap.data import names
from hf_datamap.data.column_types import (
    ListOf,
    is_conversation,
    is_message,
    is_messages_object,
    is_side,
    is_texts,
    shown,
)
from hf_datamap.data.decode import decoded, records
from hf_datamap.data.label_columns import label_of_list, label_of_responses, scores_of_pair, struct_label
from hf_datamap.data.layout import Layout
from hf_datamap.data.messages import ROLES, role_of
from hf_datamap.data.paths import format_path, read_path
from hf_datamap.data.sample import Sample
from hf_datamap.data.series import Series, series_of
from hf_datamap.errors import LayoutError


def families(sample: Sample) -> list[Layout]:
    """Return the layouts that the names of the columns suggest, without what goes with every layout.

    Raises:
        LayoutError: responses are there, but which column is the prompt is open.
    """
    numbered, listed = _numbered(sample), _listed(sample)
    pairs = _pairs(sample, others=[*numbered, *listed])
    return [*pairs, *numbered, *listed, *_by_model(sample)]


# --- the prompt -------------------------------------------------------------------------------------------------------


def prompt_candidates(sample: Sample) -> list[str]:
    """Return the columns that may hold the prompt, those of the first group of names that is there."""
    for group in (names.PROMPTS, names.OTHER_PROMPTS, names.HISTORIES):
        columns = [
            name for name in names.named(sample.kinds, group) if sample.is_side(name) or is_texts(sample.kinds[name])
        ]
        if group is names.OTHER_PROMPTS:
            columns = [name for name in columns if not is_conversation(sample.kinds[name])] or columns
        if columns:
            return columns
    return []


def find_prompt(sample: Sample, responses: Sequence[str] = (), prefix: tuple[str, ...] = ()) -> str | None:
    """Return the path (or paths) of the prompt; None when no column goes by such a name.

    Args:
        sample: the columns.
        responses: paths of the responses: a column that holds all of them is a judge's prompt, not ours.
        prefix: words that stand before the name of the responses (``orig_response_A``) and may before the prompt's.

    Raises:
        LayoutError: several columns could be the prompt.
    """
    candidates = prompt_candidates(sample)
    if prefix:
        own = names.named(sample.kinds, ["_".join((*prefix, name)) for name in names.PROMPTS])
        candidates = [name for name in own if sample.is_side(name)] or candidates
    candidates = [name for name in candidates if not any(name == path.partition("[")[0] for path in responses)]
    fitting = [name for name in candidates if not _holds_responses(sample, name, responses)]
    if len(fitting) < len(candidates) and not fitting:
        more = [name for name in names.named(sample.kinds, names.OTHER_PROMPTS) if sample.is_side(name)]
        fitting = [name for name in more if not _holds_responses(sample, name, responses)]
        if not fitting:
            raise LayoutError(
                f"the column {candidates[0]!r} holds the responses themselves, as the prompt of a judge does, and no "
                f'other column is the prompt; name it: --layout "prompt=COLUMN,responses={"|".join(responses)}"'
                f"\ncolumns: {shown(sample.kinds)}"
            )
    return _one_of(sample, fitting)


def _one_of(sample: Sample, candidates: list[str]) -> str | None:
    plain = [names.plain_name(name) for name in candidates]
    if "prompt" in plain:
        return format_path((candidates[plain.index("prompt")],))
    if plain == ["instruction", "input"]:
        return ",".join(format_path((name,)) for name in candidates)
    if len(candidates) > 1 and _all_equal(sample, candidates):
        candidates = candidates[:1]
    if len(candidates) > 1 and plain[0] in names.HISTORIES:
        candidates = candidates[:1]  # the others are context, and read as such
    if len(candidates) > 1:
        raise LayoutError(
            f"several columns could be the prompt: {', '.join(candidates)}; name one (or join them with |): "
            f'--layout "prompt={candidates[0]},responses=...", '
            f"in Python Layout(prompt={candidates[0]!r}, responses=...)"
            f"\ncolumns: {shown(sample.kinds)}"
        )
    return format_path((candidates[0],)) if candidates else None


def _all_equal(sample: Sample, columns: Sequence[str]) -> bool:
    rows = [[row.get(name) for name in columns] for row in sample.rows]
    return bool(rows) and all(cell == cells[0] for cells in rows for cell in cells)


def _holds_responses(sample: Sample, prompt: str, responses: Sequence[str]) -> bool:
    """Tell whether a text column repeats all responses in nearly every row, as the prompt of a judge does."""
    holding = total = 0
    for row in sample.rows:
        text = row.get(prompt)
        texts = [text for path in responses for text in _texts(read_path(row, path))]
        if not isinstance(text, str) or len(texts) < 2 or not all(len(response.strip()) > 20 for response in texts):
            continue
        total += 1
        holding += all(response.strip() in text for response in texts)
    return total > 0 and holding >= 0.8 * total


def _texts(value: Any) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


# --- a preferred and another response ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    columns: tuple[str, str]
    words: tuple[str, str]
    stems: tuple[str, ...]


def _pair_columns(sample: Sample, *, bare: bool) -> list[_Pair]:
    """Return the columns that are named as a preferred and another response, the barest names first.

    Args:
        sample: the columns.
        bare: whether words that say too little by themselves (`names.WEAK_PAIRS`) may stand alone.
    """
    by_words = {names.words(name): name for name in reversed(list(sample.kinds)) if sample.is_sides(name)}
    pairs: dict[tuple[str, str], _Pair] = {}
    for good, bad in names.PAIRS:
        good_words, bad_words = tuple(good.split("_")), tuple(bad.split("_"))
        for own_words, column in by_words.items():
            place = _place_of(own_words, good_words)
            if place is None:
                continue
            rest = (*own_words[:place], *own_words[place + len(good_words) :])
            if not set(rest) <= names.PAIR_STEMS or (not rest and (good, bad) in names.WEAK_PAIRS and not bare):
                continue
            other = by_words.get((*own_words[:place], *bad_words, *own_words[place + len(good_words) :]))
            if other is not None and other != column:
                pairs.setdefault((column, other), _Pair((column, other), (good, bad), rest))
    return sorted(pairs.values(), key=lambda pair: len(pair.stems))


def _place_of(words_of_name: tuple[str, ...], phrase: tuple[str, ...]) -> int | None:
    size = len(phrase)
    return next((at for at in range(len(words_of_name) - size + 1) if words_of_name[at : at + size] == phrase), None)


def _pairs(sample: Sample, others: Sequence[Layout]) -> list[Layout]:
    pairs = _pair_columns(sample, bare=not others)
    if others and pairs:
        # Beside lists and numbered responses, chosen and rejected may be names or numbers of them.
        pairs = [pair for pair in pairs if not any(set(layout.annotations) & set(pair.columns) for layout in others)]
        pairs = [pair for pair in pairs if not any(set(layout.responses) >= set(pair.columns) for layout in others)]
    if pairs:
        pairs = [pair for pair in pairs if len(pair.stems) == len(pairs[0].stems)][:2]
        pairs = pairs[:1] if pairs[0].words == ("chosen", "rejected") and not pairs[0].stems else pairs
    return [layout for pair in pairs for layout in _pair_layouts(sample, pair, alone=not others)]


def _pair_layouts(sample: Sample, pair: _Pair, *, alone: bool) -> Iterable[Layout]:
    kinds = [sample.kinds[name] for name in pair.columns]
    numeric = any(kind in ("number", "flag") for kind in kinds)
    if numeric and not alone:
        return []
    # Text that encodes a list of texts in every row is one; other encoded values are texts of their own (code, say).
    lists = [is_texts(kind) or sample.is_list_of_sides(name) for name, kind in zip(pair.columns, kinds, strict=True)]
    paths = [format_path((name,)) + ("[]" if many else "") for name, many in zip(pair.columns, lists, strict=True)]
    spoken = " and ".join(pair.columns)
    whole = [is_conversation(kind) or is_messages_object(kind) or kind == "json" for kind in kinds]
    prompt = find_prompt(sample, paths)
    if prompt is not None:
        why = f"columns {spoken} beside the prompt column {prompt.replace(',', ' and ')}"
        layout = Layout(prompt=prompt, responses=paths, label="order", name="pairs", why=why)
    elif any(lists) or numeric:
        return []
    elif all(whole):
        why = f"columns {spoken} hold whole conversations; the prompt is what they share"
        layout = Layout(responses=paths, label="order", name="pairs-implicit", why=why)
    else:
        why = f"columns {spoken} hold text and there is no prompt column: read as Human/Assistant transcripts"
        layout = Layout(responses=paths, label="order", name="transcripts", why=why)
    return [layout]


# --- numbered and lettered responses ----------------------------------------------------------------------------------


def _response_series(sample: Sample) -> list[Series]:
    """Return the series of responses, only those whose names say least besides."""
    fitting: list[tuple[int, Series]] = []
    sides = [name for name in sample.kinds if sample.is_sides(name)]
    for series in series_of(sides):
        company = {*series.before, *series.after}
        stems = company & names.STEMS
        if not stems or not company <= names.STEMS | names.STEM_COMPANY:
            continue
        if all(sample.kinds[name] in ("number", "flag") for name in series.columns) and series.after:
            continue
        fitting.append((len(company), series))
    least = min((extra for extra, _ in fitting), default=0)
    return [series for extra, series in fitting if extra == least]


def _numbered(sample: Sample) -> list[Layout]:
    layouts = []
    for series in _response_series(sample):
        paths = [format_path((name,)) for name in series.columns]
        prefix = tuple(word for word in series.before if word in {"orig", "original"})
        stems = [word for word in (*series.before, *series.after) if word in names.STEMS]
        whole = all(is_conversation(sample.kinds[name]) for name in series.columns)
        prompt = find_prompt(sample, paths, prefix)
        if prompt is None and not whole:
            continue
        beside = f"beside the prompt column {prompt.replace(',', ' and ')}" if prompt else "hold whole conversations"
        why = f"columns {series.columns[0]} to {series.columns[-1]} {beside}"
        layout = Layout(prompt=prompt, responses=paths, name=f"numbered-{stems[0]}s", why=why)
        layouts.append(label_of_responses(layout, sample, series.marks, series_of(sample.kinds)))
    return layouts


# --- lists of responses -----------------------------------------------------------------------------------------------


def _listed(sample: Sample) -> list[Layout]:
    named = names.named(sample.kinds, names.LISTS)
    layouts = [layout for name in named if (layout := _list_layout(sample, name))]
    best = [layout for layout in layouts if layout.annotations or layout.label != "scores"] or layouts
    return best[:1] if len(best) > 1 and best[0].responses[0].startswith(("responses", "completions")) else best


def _list_layout(sample: Sample, name: str) -> Layout | None:
    kind = sample.kinds[name]
    if names.plain_name(name) == "completions" and is_texts(kind) and "labels" in sample.kinds:
        return None  # TRL's stepwise format: the steps of one response
    if isinstance(kind, dict) and kind and all(isinstance(column, ListOf) for column in kind.values()):
        kind = ListOf({key: column.of for key, column in kind.items() if isinstance(column, ListOf)})
    column = format_path((name,))
    spec: Mapping[str, Any] = {}
    if isinstance(kind, ListOf) and isinstance(kind.of, dict) and not is_message(kind.of):
        if "answer_start" in kind.of:
            return None  # gold answers of a reading test
        fields = [field for field in names.named(kind.of, names.LIST_TEXTS) if is_side(kind.of[field])]
        if not fields:
            return None
        path = f"{column}[].{format_path((fields[0],))}"
        spec = struct_label(sample, f"{column}[]", kind.of)
    elif is_texts(kind) or sample.is_list_of_sides(name) or _are_answers(sample, name) or kind == ListOf("number"):
        path = f"{column}[]"
    else:
        return None
    prompt = find_prompt(sample, [path])
    if prompt is None:
        return None
    turns = is_texts(sample.kinds.get(prompt)) and isinstance(kind, ListOf) and is_texts(kind.of)
    why = f"column {name} lists responses beside the prompt column {prompt.replace(',', ' and ')}"
    layout = Layout(prompt=prompt, responses=path, name="response-list", why=why, turns=turns, **spec)
    return layout if spec else label_of_list(layout, sample, name)


def _are_answers(sample: Sample, name: str) -> bool:
    """Tell whether a list of messages is no conversation but several answers: nobody but the assistant speaks."""
    if not is_conversation(sample.kinds[name]) or not sample.rows:
        return False
    lists = [records(decoded(row.get(name))) for row in sample.rows]
    speakers = [role_of(item) for items in lists for item in items or ()]
    return len(speakers) > 1 and all(ROLES.get(str(speaker).lower()) == "assistant" for speaker in speakers)


def _by_model(sample: Sample) -> list[Layout]:
    """Return the layouts of structs (or JSON objects) that hold one response per model."""
    layouts: list[Layout] = []
    for name in names.named(sample.kinds, (*names.LISTS, "models", "model_answers")):
        kind = sample.kinds[name]
        if not isinstance(kind, dict) or len(kind) < 2 or is_message(kind) or is_messages_object(kind):
            continue
        column, values = format_path((name,)), [value for value in kind.values() if value != "null"]
        if values and all(value in ("text", "json") or is_conversation(value) for value in values):
            path, spec = column, {}
        elif values and all(isinstance(value, dict) for value in values):
            inner = values[0] if isinstance(values[0], dict) else {}
            fields = [field for field in names.named(inner, names.LIST_TEXTS) if is_side(inner[field])]
            if not fields:
                continue
            path, spec = f"{column}[].{format_path((fields[0],))}", struct_label(sample, f"{column}[]", inner)
        else:
            continue
        prompt = find_prompt(sample, [path])
        if prompt is None:
            continue
        why = f"column {name} holds a response of each model beside the prompt column {prompt}"
        layout = Layout(prompt=prompt, responses=path, name="responses-by-model", why=why, **spec)
        layouts.append(layout if spec else label_of_list(layout, sample, name))
    return layouts


def with_pair_scores(layout: Layout, sample: Sample) -> Layout:
    """Return a layout of a preferred and another response with the scores that stand beside them."""
    return scores_of_pair(layout, sample)
