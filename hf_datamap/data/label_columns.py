"""Finding the label: which column says which response is preferred, and by which rule, checked on sample rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hf_datamap.data import names
from hf_datamap.data.column_types import Kind, ListOf, lookup
from hf_datamap.data.decode import decoded
from hf_datamap.data.labels import Winner, choice_key
from hf_datamap.data.layout import Layout
from hf_datamap.data.paths import EACH, format_path, read_path
from hf_datamap.data.sample import Sample
from hf_datamap.data.series import Series
from hf_datamap.data.values import grade, seen
from hf_datamap.errors import RowError

_NUMBERS = ("number", "text", "flag")


def unread(name: str, reason: str) -> str:
    """Return the words for a label that stays unread, and how to have it read."""
    way = f"annotations={name},label=choice,choices=VALUE:0|VALUE:1"
    return f"; {name!r} is not read, {reason} (add {way} to --layout)"


# --- several responses in columns of their own ------------------------------------------------------------------------


def label_of_responses(layout: Layout, sample: Sample, marks: Sequence[str], series: Sequence[Series]) -> Layout:
    """Return a layout of numbered or lettered responses with the label and the scores that the columns have.

    Args:
        layout: the layout without a label.
        sample: the columns and rows.
        marks: what the names of the responses differ in.
        series: all series of columns, among them perhaps scores and models with the same marks.
    """
    spec, note = _choice_of(layout, sample, marks, series)
    scores = _score_series(sample, marks, series)
    if spec:
        return layout.but(**spec, **({"scores": ",".join(scores[1])} if scores and scores[0] == "scores" else {}))
    if scores:
        rule, paths = scores
        return layout.but(annotations=paths, label=rule, scores=paths if rule == "scores" else "")
    listed = _parallel_list(sample, layout)
    return listed or (layout.but(why=layout.why + note) if note else layout)


def _choice_of(
    layout: Layout, sample: Sample, marks: Sequence[str], series: Sequence[Series]
) -> tuple[dict[str, Any], str]:
    """Return the label that names one of the responses, or why the one that is there is not read."""
    columns = [name for name in names.named(sample.kinds, names.CHOICES) if name not in layout.responses]
    columns += [name for name in names.named(sample.kinds, names.INDICES) if name not in {*columns, *layout.responses}]
    columns += _nested_choices(sample)
    columns += [name for name in sample.kinds if "preference" in names.words(name) and name not in columns]
    note = ""
    own: dict[str, Winner] = {path: place for place, path in enumerate(layout.responses)}
    own.update({f"model_{mark.lower()}": place for place, mark in enumerate(marks) if mark.isdecimal()})
    for name in columns:
        path = name if lookup(sample.kinds, name) is not None and name not in sample.kinds else format_path((name,))
        for spec in _interpretations(sample, path, own, marks, series):
            if _reads(sample, layout.but(**spec)):
                return spec, ""
        values = sample.values(path)
        if values and not note and not isinstance(sample.kinds.get(name), dict):
            odd = next((v for v in values if not isinstance(v, (int, float)) or isinstance(v, bool)), None)
            reason = (
                "numbers do not say which response they mean"
                if odd is None
                else f"it does not say which response it means: {seen(odd)}"
            )
            note = unread(path, reason)
    if not sample.rows and not note:
        texts = [name for name in names.named(sample.kinds, names.CHOICES) if sample.kinds[name] == "text"]
        if len(texts) == 1:
            return {"annotations": format_path((texts[0],)), "label": "choice", "choices": own}, ""
        numbers = [name for name in names.named(sample.kinds, names.CHOICES) if sample.kinds[name] == "number"]
        note = unread(numbers[0], "numbers do not say which response they mean") if numbers else ""
    return {}, note


def _nested_choices(sample: Sample) -> list[str]:
    """Return paths of labels inside structs and lists of them: ``preference.winner``, ``annotations[].preferred``."""
    paths = []
    for name in names.named(sample.kinds, (*names.CHOICES, *names.LIST_SCORES, "individual_preference", "annotators")):
        kind: Kind = sample.kinds[name]
        steps: tuple[Any, ...] = (name,)
        if isinstance(kind, ListOf):
            kind, steps = kind.of, (name, EACH)
        if isinstance(kind, dict):
            paths += [format_path((*steps, field)) for field in names.named(kind, (*names.CHOICES, "value"))]
    return paths


def _interpretations(
    sample: Sample, path: str, own: Mapping[str, Winner], marks: Sequence[str], series: Sequence[Series]
) -> list[dict[str, Any]]:
    """Return the ways in which a label column may name a response, the surest first."""
    values = [value for cell in sample.values(path) for value in _flat(cell)]
    if not values:
        return []
    if any(isinstance(value, Mapping) for value in values):
        if all(isinstance(value, Mapping) and ("rank" in value or "value" in value) for value in values):
            return [{"annotations": path, "label": "rankings", "choices": own}]
        return []
    status = format_path((f"{path.strip(chr(34))}.status",))
    choice = {"annotations": path, "label": "choice", "choices": own}
    if sample.has(status):
        choice = {"annotations": (path, status), "label": "votes", "choices": own}
    if any(isinstance(value, bool) for value in values):
        return []  # true and false name no response
    ways: list[dict[str, Any]] = []
    if any(isinstance(value, str) and grade(value) is None for value in values):
        ways.append(choice)
        for other in series:
            company = {*other.before, *other.after}
            if tuple(m.lower() for m in other.marks) == tuple(m.lower() for m in marks) and company & set(names.MODELS):
                paths = (path, *(format_path((name,)) for name in other.columns))
                ways.append({"annotations": paths, "label": "names", "choices": own})
        ways.append({"annotations": path, "label": "text"})
    elif places := _numbered_places(values, marks):
        ways.append({**choice, "choices": {**own, **places}})
    return ways


def _flat(value: Any) -> list[Any]:
    value = decoded(value)
    return (
        [item for inner in value for item in _flat(inner)]
        if isinstance(value, (list, tuple))
        else ([] if value is None else [value])
    )


def _numbered_places(values: Sequence[Any], marks: Sequence[str]) -> dict[str, Winner]:
    """Return which number names which response, where the numbers seen are those in the names of the columns.

    Seen must be the first and the last: 1 alone could count from 0 or from 1.
    """
    if not all(mark.isdecimal() for mark in marks):
        return {}
    own = {choice_key(int(mark)): place for place, mark in enumerate(marks)}
    keys = {choice_key(value) for value in values}
    ends = {choice_key(int(marks[0])), choice_key(int(marks[-1]))}
    return dict(own) if keys <= set(own) and ends <= keys else {}


def _reads(sample: Sample, layout: Layout) -> bool:
    """Tell whether the label of a layout can be read in every sample row that has one, and in some."""
    labelled = 0
    for row in sample.rows:
        try:
            labelled += (layout.but(classes=_classes_of(sample, layout)).read(row).annotations or None) is not None
        except RowError as error:
            if not is_soft(error):
                return False
    return labelled > 0


def _classes_of(sample: Sample, layout: Layout) -> dict[str, tuple[str, ...]]:
    return {path: class_names for path, class_names in sample.classes.items() if path in layout.annotations}


#: Faults of a row that say nothing about the layout: something is missing in it.
SOFT_REASONS = ("the prompt is empty", "the row has no responses", "the row has no list of responses")


def is_soft(error: RowError) -> bool:
    """Tell whether a row cannot be read for lack of content, whatever the layout."""
    return "lone surrogates" in error.reason or (error.reason in SOFT_REASONS and error.seen in {"", "None"})


def _score_series(sample: Sample, marks: Sequence[str], series: Sequence[Series]) -> tuple[str, list[str]] | None:
    """Return numbers whose names have the marks of the responses, and their rule: scores, or ranks."""
    same_marks = [one for one in series if [_mark(m) for m in one.marks] == [_mark(m) for m in marks]]
    for rule, kinds in (("scores", names.SCORE_WORDS), ("ranks", names.RANK_WORDS)):
        for word in kinds:
            candidates = [one for one in same_marks if word in {*one.before, *one.after}]
            candidates.sort(key=lambda one: len(one.before) + len(one.after))
            for one in candidates[:1] if len(candidates) < 2 or _length(candidates[0]) < _length(candidates[1]) else []:
                paths = [_number_path(sample, name) for name in one.columns]
                if all(paths) and _are_numbers(sample, [str(path) for path in paths]):
                    return rule, [str(path) for path in paths]
    return None


def _length(series: Series) -> int:
    return len(series.before) + len(series.after)


def _mark(mark: str) -> str:
    return str(int(mark)) if mark.isdecimal() else mark.lower()


def _number_path(sample: Sample, name: str) -> str | None:
    """Return the path of the number a score column holds, in a struct its total, with several annotators the list."""
    kind: Kind | None = sample.kinds.get(name)
    steps: list[Any] = [name]
    while isinstance(kind, (ListOf, dict)):
        if isinstance(kind, ListOf):
            steps.append(EACH)
            kind = kind.of
            continue
        fields = names.named(kind, (*names.TOTALS, "value"))
        numeric = [field for field in kind if kind[field] == "number"]
        field = fields[0] if fields else numeric[0] if len(numeric) == 1 else None
        if field is None:
            return None
        steps.append(field)
        kind = kind[field]
    return format_path(tuple(steps)) if kind in _NUMBERS else None


def _are_numbers(sample: Sample, paths: Sequence[str]) -> bool:
    """Tell whether what paths lead to reads as numbers (or grades in words), in every sample row and not only nulls."""
    values = [value for path in paths for cell in sample.values(path) for value in _flat(cell)]
    if not sample.rows:
        return True
    return any(grade(value) is not None for value in values)


# --- a preferred and another response ---------------------------------------------------------------------------------


def scores_of_pair(layout: Layout, sample: Sample) -> Layout:
    """Return a layout of a preferred and another response with the numbers that stand beside them.

    Numbers that say the opposite of the order in most sample rows are no scores and stay unread.
    """
    pair = _pair_words(layout)
    if pair is None:
        return layout
    numbers, models = _pair_numbers(sample, pair)
    for _, rule, paths in sorted(numbers):
        if not _are_numbers(sample, paths):
            continue
        if rule == "scores_or_order" and _against_the_order(sample, paths):
            return layout.but(why=f"{layout.why}; {paths[0]} and {paths[1]} say the opposite and are not read")
        scores = ",".join(paths) if rule == "scores_or_order" else ""
        why = f"{layout.why}; {'ranks' if rule == 'ranks' else 'scores'} in {paths[0]} and {paths[1]}"
        return layout.but(annotations=paths, label=rule, scores=scores, why=why)
    return with_reward_models(layout, [",".join(paths) for paths in models])


def _pair_numbers(sample: Sample, pair: tuple[str, str]) -> tuple[list[tuple[int, str, list[str]]], list[list[str]]]:
    """Return the numeric columns named after both sides (weight, rule, paths), and scores by reward model."""
    numbers: list[tuple[int, str, list[str]]] = []
    models: list[list[str]] = []
    places: list[tuple[tuple[str, ...], Mapping[str, Kind]]] = [((), sample.kinds)]
    places += [((name,), kind) for name, kind in sample.kinds.items() if isinstance(kind, dict)]
    ordered = (*names.SCORE_WORDS, *(f"{word}s" for word in names.SCORE_WORDS), *names.RANK_WORDS)
    for inside, fields in places:
        by_words = {names.words(name): name for name in fields}
        for own_words, name in by_words.items():
            other = by_words.get(tuple(pair[1] if word == pair[0] else word for word in own_words))
            company = [word for word in own_words if word != pair[0]]
            weights = [ordered.index(word) for word in company if word in ordered]
            if other is None or other == name or not weights:
                continue
            paths = [format_path((*inside, side)) for side in (name, other)]
            kinds = [lookup(sample.kinds, path) for path in paths]
            if isinstance(kinds[0], dict) and isinstance(kinds[1], dict):
                models += _by_reward_model(((*inside, name), (*inside, other)), kinds[0], kinds[1])
            elif all(kind in _NUMBERS for kind in kinds):
                rank = any(word in names.RANK_WORDS for word in company)
                weight = min(weights) + 100 * (len(company) - 1) + 1000 * len(inside)
                numbers.append((weight, "ranks" if rank else "scores_or_order", paths))
    return numbers, models


def _by_reward_model(
    paths: Sequence[tuple[str, ...]], first: Mapping[str, Kind], second: Mapping[str, Kind]
) -> list[list[str]]:
    shared = [key for key in first if key in second and first[key] in _NUMBERS and second[key] in _NUMBERS]
    totals = names.named(shared, names.TOTALS)
    return [[format_path((*path, key)) for path in paths] for key in totals[:1] or shared]


def _pair_words(layout: Layout) -> tuple[str, str] | None:
    response_words = [names.words(path) for path in layout.responses]
    for good, bad in names.PAIRS:
        if good in response_words[0] and bad in response_words[1] and "_" not in bad:
            return good, bad
    return None


def _against_the_order(sample: Sample, paths: Sequence[str]) -> bool:
    lower = higher = 0
    for row in sample.rows:
        try:
            first, second = (grade(read_path(row, path)) for path in paths)
        except RowError:
            continue
        if first is not None and second is not None:
            lower += first < second
            higher += first > second
    return lower >= 4 and lower > 2 * higher


def with_reward_models(layout: Layout, specs: Sequence[str]) -> Layout:
    """Return the layout with the scores of a reward model; of several models the choice is the user's."""
    if len(specs) == 1:
        return layout.but(scores=specs[0], why=f"{layout.why}; scores of a reward model in {specs[0]}")
    if not specs:
        return layout
    note = f"scores of {len(specs)} reward models are there, choose one: --scorer 'columns:{specs[0]}'"
    return layout.but(why=f"{layout.why}; {note}", scores="")


def parallel_rewards(sample: Sample) -> list[str]:
    """Return the paths of scores that reward models gave all responses of a row: ``rm_scores.<model>[]``."""
    return [
        format_path((name, model, EACH))
        for name, kind in sample.kinds.items()
        if isinstance(kind, dict) and ("score" in name or "reward" in name)
        for model, scores in kind.items()
        if isinstance(scores, ListOf) and scores.of == "number"
    ]


# --- lists of responses -----------------------------------------------------------------------------------------------


def label_of_list(layout: Layout, sample: Sample, column: str) -> Layout:
    """Return a layout of a list of responses with the label that stands beside the list."""
    note = ""
    for name in names.named(sample.kinds, (*names.LIST_SCORES, *names.LIST_RANKS)):
        kind = sample.kinds[name]
        if name == column or name in names.named(sample.kinds, names.PROMPTS):
            continue
        for spec in _parallel_specs(name, kind, names.plain_name(name) in names.LIST_RANKS, layout):
            candidate = labelled(layout, spec)
            if _reads(sample, candidate) or not sample.rows:
                return candidate
        if isinstance(kind, (ListOf, dict)):
            note = note or f"; {name!r} is not read, it does not pair up with the responses"
    for name in names.named(sample.kinds, (*names.INDICES, *names.CHOICES)):
        spec = _index_spec(sample, name, layout)
        if spec:
            return layout.but(**spec)
    return layout.but(why=layout.why + note) if note else layout


def labelled(layout: Layout, spec: Mapping[str, Any]) -> Layout:
    """Return a layout with a label; where its rule is a matter of numbers, they are scores unless `spec` says else."""
    return layout.but(**{"scores": None, **spec})


def _parallel_specs(name: str, kind: Kind, ranks: bool, layout: Layout) -> list[dict[str, Any]]:
    path = format_path((name,))
    rule = "ranks" if ranks else "scores"
    if isinstance(kind, dict) and kind and all(isinstance(column, ListOf) for column in kind.values()):
        return []
    if isinstance(kind, dict):
        return [{"annotations": path, "label": rule}]  # by model, as the responses are
    if kind == "json" or (isinstance(kind, ListOf) and kind.of in (*_NUMBERS, "json")):
        flags = isinstance(kind, ListOf) and kind.of == "flag"
        # Flags are labels, as in chosen and rejected: they say which is preferred, not how good each is.
        return [{"annotations": f"{path}[]", "label": rule, **({"scores": ""} if flags or ranks else {})}]
    if isinstance(kind, ListOf) and isinstance(kind.of, dict):
        specs: list[dict[str, Any]] = []
        scores = [
            field for field in names.named(kind.of, (*names.STRUCT_SCORES, "value")) if kind.of[field] in _NUMBERS
        ]
        models = names.named(kind.of, names.MODELS)
        stem = layout.responses[0].rpartition("[]")[0]
        if scores and models and layout.responses[0].count("[]") == 1 and "." in layout.responses[0]:
            keys = (f"{stem}[].{models[0]}", f"{path}[].{models[0]}", f"{path}[].{scores[0]}")
            specs.append({"annotations": keys, "label": "keyed"})
        elif scores:
            specs.append({"annotations": f"{path}[].{scores[0]}", "label": rule})
        return specs
    return []


def _index_spec(sample: Sample, name: str, layout: Layout) -> dict[str, Any]:
    """Return the label that names the best of a list by its place, its model or its text, where that is certain."""
    path = format_path((name,))
    values = sample.values(path)
    if not values or any(isinstance(value, (bool, list, tuple, Mapping)) for value in values):
        return {}
    if all(isinstance(value, (int, float)) for value in values):
        counts = [len(decoded(cell)) for cell in sample.values(layout.responses[0]) if isinstance(decoded(cell), list)]
        most = max(counts, default=0)
        certain = min(values) == 0 and max(values) < most and names.plain_name(name) in names.INDICES
        spec = {"annotations": path, "label": "choice", "choices": {place: place for place in range(max(most, 2))}}
        return spec if certain and _reads(sample, layout.but(**spec)) else {}
    ways: list[dict[str, Any]] = [{"annotations": path, "label": "text"}]
    ways += [
        {"annotations": (path, format_path((models, EACH))), "label": "names"}
        for models in names.named(sample.kinds, names.MODEL_LISTS)
        if isinstance(sample.kinds[models], ListOf)
    ]
    return next((spec for spec in ways if _reads(sample, layout.but(**spec))), {})


def struct_label(sample: Sample, path: str, kind: Mapping[str, Kind]) -> dict[str, Any]:
    """Return the label within the structs of a list: a score, a rank or a flag of each response.

    Args:
        sample: the columns and rows.
        path: the path of the structs, ``completions[]``.
        kind: what a struct holds.
    """
    for fields, rule in ((names.STRUCT_SCORES, "scores"), (names.STRUCT_RANKS, "ranks")):
        for field in names.named(kind, fields):
            score_path = _struct_field(sample, path, field, kind[field])
            if score_path is not None:
                flags = lookup(sample.kinds, score_path) == "flag"
                return {
                    "annotations": score_path,
                    "label": rule,
                    **({"scores": ""} if flags or rule == "ranks" else {}),
                }
    for field, inner in kind.items():
        if isinstance(inner, dict) and (ranks := names.named(inner, names.STRUCT_RANKS)):
            return {"annotations": f"{path}.{format_path((field,))}.{ranks[0]}", "label": "ranks", "scores": ""}
    return {}


def _struct_field(sample: Sample, path: str, field: str, kind: Kind) -> str | None:
    steps = f"{path}.{format_path((field,))}"
    if isinstance(kind, dict):
        totals = [name for name in names.named(kind, names.TOTALS) if kind[name] in _NUMBERS]
        numeric = [name for name in kind if kind[name] == "number"]
        inner = totals[0] if totals else numeric[0] if len(numeric) == 1 else None
        steps = f"{steps}.{format_path((inner,))}" if inner else ""
    elif kind not in (*_NUMBERS, "json"):
        steps = ""
    return steps if steps and _are_numbers(sample, [steps]) else None


def _parallel_list(sample: Sample, layout: Layout) -> Layout | None:
    """Return a layout of numbered responses with the scores that a list holds for all of them."""
    for name in names.named(sample.kinds, (*names.LIST_SCORES, *names.LIST_RANKS)):
        kind = sample.kinds[name]
        if not (kind == "json" or (isinstance(kind, ListOf) and kind.of in ("number", "flag"))):
            continue
        rule = "ranks" if names.plain_name(name) in names.LIST_RANKS else "scores"
        candidate = labelled(layout, {"annotations": f"{format_path((name,))}[]", "label": rule})
        if _reads(sample, candidate):
            return candidate
    return None
