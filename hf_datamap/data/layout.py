"""`Layout`: where in a row the prompt, the responses and what ships with them are, and how to read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from hf_datamap.data.conversation import interleaved, part_ways, prompt_messages
from hf_datamap.data.example import Constraint, Example, Message
from hf_datamap.data.labels import BOTH_BAD, RULES, TIE, Winner, choice_key, polarity
from hf_datamap.data.paths import column_of, decoded, lies_in_arrow, one_path, parse_paths, read_path, read_paths
from hf_datamap.data.values import parse_constraints, seen, text_of, transcript, turns_of, whole
from hf_datamap.errors import LayoutError, RowError


@dataclass(frozen=True, init=False)
class Layout:
    """How to read a row of a preference dataset, by paths (`hf_datamap.data.paths` tells how to write them).

    ``Layout(prompt="question", responses=["answer_a", "answer_b"], annotations="winner", label="choice")``

    Wherever several paths may stand, give a sequence, or one text with commas.

    Attributes:
        prompt: path of the prompt (text, or chat messages). Several are joined by blank lines. None when the prompt is
            what the responses, given as whole conversations, share.
        responses: one path of a list (``completions[].response``), or one path per response. Of several paths that
            end in ``[]`` each is a list of responses.
        annotations: paths of what ships with the responses; `label` says what it means.
        label: the rule that makes annotations of it, see `hf_datamap.data.labels`.
        choices: for the rule ``choice``: which value names which response (0 = the first, or ``tie``, ``both_bad``).
            Words like ``model_a``, ``B``, ``tie`` are understood without it, numbers are not.
        scores: paths of one alignment score per response, as ``columns:`` takes them; None when the data has none.
            Left out, it follows `annotations` where those are scores; ``""`` says that there are none.
        system: path of a system message.
        references: paths of reference answers (texts or lists of texts).
        constraints: paths of the instruction ids and of their arguments.
        source_id: path of the row's own id.
        preamble: fixed words in front of the prompt, for data whose prompt leaves the task unsaid.
        turns: whether prompt and responses are lists of turns (or their JSON) that interleave.
        name: a short name.
        why: one line on why this layout was chosen.
    """

    prompt: tuple[str, ...] = ()
    responses: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    label: str = "scores"
    choices: tuple[tuple[str, Winner], ...] = ()
    scores: str | None = None
    system: str | None = None
    references: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    source_id: str | None = None
    preamble: str = ""
    turns: bool = False
    name: str = "custom"
    why: str = "given by the user"

    def __init__(
        self,
        prompt: str | Sequence[str] | None = None,
        responses: str | Sequence[str] = (),
        annotations: str | Sequence[str] | None = None,
        *,
        label: str = "scores",
        choices: Mapping[Any, Winner] | Iterable[tuple[Any, Winner]] = (),
        scores: str | Sequence[str] | None = None,
        system: str | None = None,
        references: str | Sequence[str] | None = None,
        constraints: str | Sequence[str] | None = None,
        source_id: str | None = None,
        preamble: str = "",
        turns: bool = False,
        name: str = "custom",
        why: str = "given by the user",
    ) -> None:
        told = parse_paths(annotations)
        given = parse_paths(told if scores is None and label == "scores" else scores)
        pairs = choices.items() if isinstance(choices, Mapping) else choices
        values = {
            "prompt": parse_paths(prompt),
            "responses": parse_paths(responses),
            "annotations": told,
            "label": label,
            "choices": tuple((choice_key(key), where) for key, where in pairs),
            "scores": ",".join(given) or None,
            "system": one_path(system),
            "references": parse_paths(references),
            "constraints": parse_paths(constraints),
            "source_id": one_path(source_id),
            "preamble": preamble,
            "turns": bool(turns),
            "name": name,
            "why": why,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)  # frozen from here on
        self._check()

    def _check(self) -> None:
        if not self.responses:
            raise LayoutError("a layout needs responses: one list path, or one path per response")
        if self.label not in {*RULES, "order"}:
            raise LayoutError(f"unknown label rule {self.label!r}; there are: {', '.join([*RULES, 'order'])}")
        if len(self.responses) == 1 and self.label == "order":
            raise LayoutError("the rule 'order' needs one path for the preferred responses and one for the others")
        if self.constraints and len(self.constraints) != 2:
            raise LayoutError(f"constraints takes two paths, ids and arguments, not {self.constraints!r}")
        if not (self.prompt or self.turns or len(self.responses) > 1):
            raise LayoutError("a layout without a prompt needs one path per response, each a whole conversation")
        for key, where in self.choices:
            if not (isinstance(where, int) and where >= 0) and where not in {TIE, BOTH_BAD}:
                raise LayoutError(
                    f"choices: {key!r} must name a response (0, 1, ...), {TIE!r} or {BOTH_BAD!r}, not {where!r}"
                )

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path the layout reads an `Example` from."""
        return _plan(self).paths

    @property
    def columns(self) -> tuple[str, ...]:
        """The top-level columns it needs, those of `scores` included."""
        wanted = (*self.paths, *parse_paths(self.scores))
        return tuple(dict.fromkeys(column_of(path) for path in wanted))

    @property
    def polarity(self) -> str:
        """Which label value means better, in words."""
        return polarity(self.label, self.annotations, dict(self.choices))

    def but(self, **changes: Any) -> Layout:
        """Return a copy with some attributes changed; unlike ``dataclasses.replace`` it keeps "no scores" as it is."""
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        return Layout(**{**kept, "scores": self.scores or "", **changes})

    def read(self, row: Mapping[str, Any]) -> Example:
        """Read one row.

        Raises:
            RowError: the row cannot be read; says why, and what was seen.
        """
        plan = _plan(self)
        return plan.example([read_path(row, path) for path in plan.paths])

    def read_batch(self, batch: Any) -> list[Example | RowError]:
        """Read many rows; those that cannot be read give their `RowError` in place.

        Args:
            batch: a mapping of equally long lists, a ``pyarrow`` table or record batch, or the batch of
                ``Dataset.map(batched=True)``. Values that still lie in Arrow are read without a detour.

        Raises:
            LayoutError: a column is missing from the batch as a whole.
        """
        plan = _plan(self)
        columns = read_paths(batch, plan.paths)
        valid = lies_in_arrow(batch, map(column_of, plan.paths))
        rows: list[Example | RowError] = []
        for values in zip(*columns.values(), strict=True):
            try:
                rows.append(plan.example(values, valid=valid))
            except RowError as error:
                rows.append(error.with_traceback(None))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return the layout as plain JSON values, without what is left at its default."""
        out: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value and value != field.default:
                out[field.name] = (
                    dict(value) if field.name == "choices" else list(value) if isinstance(value, tuple) else value
                )
        if self.scores is None and self.label == "scores" and self.annotations:
            out["scores"] = ""
        return out

    def to_json(self) -> str:
        """Return the layout as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> Layout:
        """Return the layout that `to_json` (or `to_dict`) described.

        Raises:
            LayoutError: not JSON, not a mapping, or a name that `Layout` does not have.
        """
        try:
            given = json.loads(text) if isinstance(text, str) else dict(text)
        except (ValueError, RecursionError) as error:
            raise LayoutError(f"the layout is not valid JSON: {error}") from None
        known = [field.name for field in fields(cls)]
        if not isinstance(given, dict) or (unknown := sorted(set(given) - set(known))):
            wrong = ", ".join(unknown) if isinstance(given, dict) else type(given).__name__
            raise LayoutError(f"a layout has no {wrong}; it has: {', '.join(known)}")
        try:
            return cls(**given)
        except (TypeError, ValueError, AttributeError) as error:
            raise LayoutError(f"the layout is malformed: {error}") from None


@lru_cache(maxsize=256)
def _plan(layout: Layout) -> _Plan:
    return _Plan(layout)


class _Plan:
    """A layout made ready: which of the values of a row (in the order of `paths`) plays which part."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.paths: tuple[str, ...] = ()
        self._prompt = self._places(layout.prompt)
        self._responses = self._places(layout.responses)
        self._annotations = self._places(layout.annotations)
        self._references = self._places(layout.references)
        self._constraints = self._places(layout.constraints)
        self._system = self._places([layout.system] if layout.system else [])
        self._source_id = self._places([layout.source_id] if layout.source_id else [])
        self._one_list = len(self._responses) == 1
        self._lists = [path.endswith("[]") for path in layout.responses]
        self._choices = dict(layout.choices)
        self._rule = RULES.get(layout.label) if layout.annotations else None

    def _places(self, paths: Any) -> list[int]:
        self.paths = tuple(dict.fromkeys((*self.paths, *(paths or ()))))
        return [self.paths.index(path) for path in paths or ()]

    def example(self, values: Sequence[Any], *, valid: bool = False) -> Example:
        """Return the example that values make; `valid` says that their texts are known to hold no surrogates."""
        try:
            return self._example(values, valid)
        except RecursionError:
            raise RowError("the row is nested too deeply") from None

    def _example(self, values: Sequence[Any], valid: bool) -> Example:
        cells, groups = self._cells(values)
        prompt, responses = self._text(values, cells, valid)
        return Example(
            prompt=prompt,
            responses=responses,
            annotations=self._labels(values, groups),
            references=self._references_of(values) if self._references else (),
            constraints=self._constraints_of(values) if self._constraints else (),
            source_id=self._id_of(values) if self._source_id else None,
        )

    def _cells(self, values: Sequence[Any]) -> tuple[Sequence[Any], list[int]]:
        """Return one cell per response, and of which path each is."""
        if self._one_list:
            cells = values[self._responses[0]]
            if isinstance(cells, str):
                cells = decoded(cells)
            if not isinstance(cells, (list, tuple)):
                raise RowError("the row has no list of responses", seen(cells))
            if not cells:
                raise RowError("the row has no responses")
            return cells, []
        if not any(self._lists):
            return [values[place] for place in self._responses], list(range(len(self._responses)))
        found: list[Any] = []
        groups: list[int] = []
        for group, (place, is_list) in enumerate(zip(self._responses, self._lists, strict=True)):
            part = decoded(values[place])
            part = part if is_list and isinstance(part, (list, tuple)) else [] if part is None else [part]
            found.extend(part)
            groups.extend([group] * len(part))
        if not found:
            raise RowError("the row has no responses")
        return found, groups

    def _text(
        self, values: Sequence[Any], cells: Sequence[Any], valid: bool
    ) -> tuple[tuple[Message, ...], list[str | None]]:
        layout = self.layout
        prompt = [values[place] for place in self._prompt]
        if layout.turns:
            return part_ways(self._system_of(values), interleaved(decoded(prompt[0]) if prompt else None, cells))
        if prompt:
            sides = [
                turns_of(c, "a response") if type(c) is not str or c[:2] == "[{" else c if valid else whole(c)
                for c in cells
            ]
            given = prompt_messages(prompt, layout.preamble)
            if len(given) > 1 and all(
                isinstance(side, str) and side.startswith(str(prompt[0]).rstrip()) for side in sides
            ):
                sides = [transcript(side) if isinstance(side, str) else side for side in sides]
        else:
            sides = [self._conversation(cell) for cell in cells]
            given = []
        if self._system:
            given = self._system_of(values) + given
        if any(type(side) is list for side in sides):
            return part_ways(given, sides)
        if not any(message["role"] != "system" and message["content"].strip() for message in given):
            raise RowError("the prompt is empty")
        return tuple(given), sides  # type: ignore[return-value] # no side is a list here

    @staticmethod
    def _conversation(cell: Any) -> list[Message] | None:
        turns = turns_of(cell, "a response")
        if isinstance(turns, str):
            found = transcript(turns)
            if found is None:
                raise RowError("no prompt column, and the responses are plain text without turns", seen(turns))
            return found
        return turns

    def _system_of(self, values: Sequence[Any]) -> list[Message]:
        text = text_of(values[self._system[0]], "the system message") if self._system else None
        return [Message(role="system", content=text)] if text and text.strip() else []

    def _labels(self, values: Sequence[Any], groups: list[int]) -> list[float | None] | None:
        if self.layout.label == "order":
            return [1.0 if group == 0 else 0.0 for group in groups]
        if self._rule is None:
            return None
        count = len(groups) or len(self._cells(values)[0])
        return self._rule([values[place] for place in self._annotations], count, self._choices)

    def _references_of(self, values: Sequence[Any]) -> tuple[str, ...]:
        found: list[str | None] = []
        for place in self._references:
            value = values[place]
            items = value if isinstance(value, (list, tuple)) else [value]
            found.extend(text_of(item, "the reference") for item in items)
        return tuple(text for text in found if text and text.strip())

    def _constraints_of(self, values: Sequence[Any]) -> tuple[Constraint, ...]:
        ids, kwargs = self._constraints
        return parse_constraints(values[ids], values[kwargs])

    def _id_of(self, values: Sequence[Any]) -> str | None:
        value = values[self._source_id[0]]
        return None if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
