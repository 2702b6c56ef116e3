"""`Layout`: where in a row the prompt, the responses and what ships with them are, and how to read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from hf_datamap.data.example import Example
from hf_datamap.data.labels import BOTH_BAD, RULES, TIE, Winner, choice_key, polarity
from hf_datamap.data.paths import column_of, lies_in_arrow, one_path, parse_paths, read_path, read_paths
from hf_datamap.data.reading import REPAIRS, Reader
from hf_datamap.errors import LayoutError, RowError

#: Rules whose annotations are scores as well.
_NUMERIC = ("scores", "scores_or_order")


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
        rubric: paths of what matters for the row's own prompt (a text, or a list of criteria), for judges.
        constraints: paths of the instruction ids and of their arguments.
        source_id: path of the row's own id.
        preamble: fixed words in front of the prompt, for data whose prompt leaves the task unsaid.
        turns: whether prompt and responses are lists of turns (or their JSON) that interleave.
        history: paths of the turns before the prompt: one of pairs or messages, or two (questions, answers).
        prefix: path of a text that every response goes on from (the steps so far); it is read as their beginning.
        tools: path of tool definitions; they join the system message.
        turn: path of the number of the assistant turn that the label is about; later turns are left out.
        images: paths of the images of a row.
        multimodal: whether rows with images may be read; without it they are refused, in the row or as a whole.
        classes: names of the classes, by path, where `annotations` hold their numbers (``ClassLabel``).
        repairs: what is mended in every row, see `REPAIRS`.
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
    rubric: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    source_id: str | None = None
    preamble: str = ""
    turns: bool = False
    history: tuple[str, ...] = ()
    prefix: str | None = None
    tools: str | None = None
    turn: str | None = None
    images: tuple[str, ...] = ()
    multimodal: bool = False
    classes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    repairs: tuple[str, ...] = ()
    name: str = "custom"
    why: str = "given by the user"

    def __repr__(self) -> str:
        shown = f"prompt={list(self.prompt)}, responses={list(self.responses)}, annotations={list(self.annotations)}"
        return f"Layout({self.name!r}, {shown if len(shown) <= 90 else shown[:87] + '...'})"

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
        rubric: str | Sequence[str] | None = None,
        constraints: str | Sequence[str] | None = None,
        source_id: str | None = None,
        preamble: str = "",
        turns: bool = False,
        history: str | Sequence[str] | None = None,
        prefix: str | None = None,
        tools: str | None = None,
        turn: str | None = None,
        images: str | Sequence[str] | None = None,
        multimodal: bool = False,
        classes: Mapping[str, Sequence[str]] | Iterable[tuple[str, Sequence[str]]] = (),
        repairs: Sequence[str] = (),
        name: str = "custom",
        why: str = "given by the user",
    ) -> None:
        label_paths = parse_paths(annotations)
        score_paths = parse_paths(label_paths if scores is None and label in _NUMERIC else scores)
        class_names = classes.items() if isinstance(classes, Mapping) else classes
        pairs = choices.items() if isinstance(choices, Mapping) else choices
        values = {
            "prompt": parse_paths(prompt),
            "responses": parse_paths(responses),
            "annotations": label_paths,
            "label": label,
            "choices": tuple((choice_key(key), where) for key, where in pairs),
            "scores": ",".join(score_paths) or None,
            "system": one_path(system),
            "references": parse_paths(references),
            "rubric": parse_paths(rubric),
            "constraints": parse_paths(constraints),
            "source_id": one_path(source_id),
            "preamble": preamble,
            "turns": bool(turns),
            "history": parse_paths(history),
            "prefix": one_path(prefix),
            "tools": one_path(tools),
            "turn": one_path(turn),
            "images": parse_paths(images),
            "multimodal": bool(multimodal),
            "classes": tuple((path, tuple(names)) for path, names in class_names),
            "repairs": (repairs,) if isinstance(repairs, str) else tuple(repairs),
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
        if unknown := [repair for repair in self.repairs if repair not in REPAIRS]:
            raise LayoutError(f"unknown repair {unknown[0]!r}; there are: {', '.join(REPAIRS)}")
        if len(self.responses) == 1 and self.label in {"order", "scores_or_order"}:
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
        return _reader(self).paths

    @property
    def columns(self) -> tuple[str, ...]:
        """The top-level columns it needs, those of `scores` included."""
        paths = (*self.paths, *parse_paths(self.scores))
        return tuple(dict.fromkeys(column_of(path) for path in paths))

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
        reader = _reader(self)
        return reader.example([read_path(row, path) for path in reader.paths])

    def read_batch(self, batch: Any) -> list[Example | RowError]:
        """Read many rows; those that cannot be read give their `RowError` in place.

        Args:
            batch: a mapping of equally long lists, a ``pyarrow`` table or record batch, or the batch of
                ``Dataset.map(batched=True)``. Values that still lie in Arrow are read without a detour.

        Raises:
            LayoutError: a column is missing from the batch as a whole.
        """
        reader = _reader(self)
        columns = read_paths(batch, reader.paths)
        valid = lies_in_arrow(batch, map(column_of, reader.paths))
        rows: list[Example | RowError] = []
        for values in zip(*columns.values(), strict=True):
            try:
                rows.append(reader.example(values, valid=valid))
            except RowError as error:
                rows.append(error.with_traceback(None))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return the layout as plain JSON values, without what is left at its default."""
        out: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value and value != field.default:
                by_key = field.name in {"choices", "classes"}
                out[field.name] = dict(value) if by_key else list(value) if isinstance(value, tuple) else value
        if self.scores is None and self.label in _NUMERIC and self.annotations:
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
def _reader(layout: Layout) -> Reader:
    return Reader(layout)
