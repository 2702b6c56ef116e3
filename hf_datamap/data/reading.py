"""Reading one row under a layout: which of its values plays which part, and what they add up to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from hf_datamap.data.conversation import (
    Dialogue,
    asks_something,
    earlier_turns,
    interleaved,
    part_ways,
    prompt_messages,
    until_turn,
)
from hf_datamap.data.decode import decoded, plain, records
from hf_datamap.data.example import Constraint, Example, Image, Message
from hf_datamap.data.labels import NEEDS_TEXTS, RULES
from hf_datamap.data.messages import image_of, is_message, text_of, tools_text, turns_of
from hf_datamap.data.transcripts import is_transcript, transcript
from hf_datamap.data.values import number, parse_constraints, seen, whole
from hf_datamap.errors import RowError

Side: TypeAlias = "str | list[Message] | None"
LayoutLike: TypeAlias = Any  # a `Layout`; that module imports this one

#: What may be mended in every row of a dataset, and how. A sample of rows has shown that it is there.
REPAIRS: Final = {
    "strip-prompt": "each response begins with the prompt, which is cut off",
}

#: Texts that begin so may be encoded messages or whole dialogues; all others are taken as they are.
_LOOK_INTO = (
    "[", "{", "array(", "\n\nHuman:", "Human:", "\n\nAssistant:", "Assistant:", "ASSISTANT:", "\n\nSystem:", "System:",
    "User:", "<", "USER:", "### ",
)  # fmt: skip
#: How these begin: one look at the first letter spares most texts the rest.
_FIRST = frozenset(start[0] for start in _LOOK_INTO)
_ANSWER_MARKS = (
    "Assistant:",
    "ASSISTANT:",
    "### Assistant:",
    "### Response:",
    "<|assistant|>\n",
    "<|im_start|>assistant\n",
)
_ENDS = ("<|im_end|>", "<|eot_id|>", "</s>", "<end_of_turn>")


class Reader:
    """A layout made ready: which of the values of a row (in the order of `paths`) plays which part."""

    def __init__(self, layout: LayoutLike) -> None:
        self.layout = layout
        self.paths: tuple[str, ...] = ()
        self._prompt = self._places(layout.prompt)
        self._responses = self._places(layout.responses)
        self._annotations = self._places(layout.annotations)
        self._references = self._places(layout.references)
        self._rubric = self._places(layout.rubric)
        self._constraints = self._places(layout.constraints)
        self._system = self._places([layout.system] if layout.system else [])
        self._source_id = self._places([layout.source_id] if layout.source_id else [])
        self._history = self._places(layout.history)
        self._prefix = self._places([layout.prefix] if layout.prefix else [])
        self._tools = self._places([layout.tools] if layout.tools else [])
        self._turn = self._places([layout.turn] if layout.turn else [])
        self._images = self._places(layout.images)
        self._one_list = len(self._responses) == 1
        self._lists = [path.endswith("[]") for path in layout.responses]
        self._any_list = any(self._lists)
        self._places_of_responses = list(range(len(self._responses)))
        self._choices = dict(layout.choices)
        self._rule = RULES.get(layout.label) if layout.annotations else None
        self._class_names = {self.paths.index(path): names for path, names in layout.classes if path in self.paths}
        self._plain = not (self._history or self._prefix or self._tools or self._turn or layout.multimodal)
        self._strip_prompt = "strip-prompt" in layout.repairs

    def _places(self, paths: Any) -> list[int]:
        self.paths = tuple(dict.fromkeys((*self.paths, *(paths or ()))))
        return [self.paths.index(path) for path in paths or ()]

    def example(self, values: Sequence[Any], *, valid: bool = False) -> Example:
        """Return the example that values make; `valid` says that their texts are known to hold no surrogates."""
        try:
            cells, groups, keys = self._cells(values)
            dialogue = self._dialogue(values, cells, valid)
            return Example(
                prompt=dialogue.prompt,
                responses=dialogue.responses,
                annotations=self._labels(values, groups, keys, dialogue.responses),
                references=self._texts_at(self._references, values) if self._references else (),
                rubric="\n".join(self._texts_at(self._rubric, values)) if self._rubric else "",
                constraints=self._constraints_of(values) if self._constraints else (),
                source_id=self._id_of(values) if self._source_id else None,
                reasoning=dialogue.reasoning,
            )
        except RecursionError:
            raise RowError("the row is nested too deeply") from None

    # --- responses ----------------------------------------------------------------------------------------------------

    def _cells(self, values: Sequence[Any]) -> tuple[Sequence[Any], list[int], list[str]]:
        """Return one cell per response, of which path each is, and their keys where they come in a mapping."""
        if self._one_list:
            cells = values[self._responses[0]]
            if type(cells) is list and cells:
                return cells, [], []
            cells = records(decoded(plain(cells)))
            if isinstance(cells, Mapping):
                keys = [key for key in sorted(cells) if cells[key] is not None]
                if not keys:
                    raise RowError("the row has no responses")
                return [cells[key] for key in keys], [], keys
            if not isinstance(cells, (list, tuple)):
                raise RowError("the row has no list of responses", seen(cells))
            if not cells:
                raise RowError("the row has no responses")
            return cells, [], []
        if not self._any_list:
            return [values[place] for place in self._responses], self._places_of_responses, []
        in_order: list[Any] = []
        groups: list[int] = []
        for group, (place, is_list) in enumerate(zip(self._responses, self._lists, strict=True)):
            part = decoded(plain(values[place]))
            part = part if is_list and isinstance(part, (list, tuple)) else [] if part is None else [part]
            in_order.extend(part)
            groups.extend([group] * len(part))
        if not in_order:
            raise RowError("the row has no responses")
        return in_order, groups, []

    def _side(self, cell: Any, valid: bool) -> Side:
        if type(cell) is str and not cell.startswith(_LOOK_INTO):
            return cell if valid else whole(cell)
        return turns_of(cell, "a response", images=self.layout.multimodal)

    def _dialogue(self, values: Sequence[Any], cells: Sequence[Any], valid: bool) -> Dialogue:
        if self.layout.turns:
            prompt = decoded(values[self._prompt[0]]) if self._prompt else None
            return part_ways(self._system_of(values), interleaved(prompt, cells))
        given: list[Message] = []
        if self._prompt:
            sides: list[Side] = [
                cell if valid and type(cell) is str and cell[:1] not in _FIRST else self._side(cell, valid)
                for cell in cells
            ]
            prompt_cells = [values[place] for place in self._prompt]
            given = prompt_messages(prompt_cells, self.layout.preamble, images=self.layout.multimodal)
            some = sides[0] or sides[-1]  # what all responses must have, one has
            if self._strip_prompt or (type(some) is str and some[:1] in _FIRST):
                sides = self._without_repetition(given, sides)
        else:
            sides = [self._conversation(cell) for cell in cells]
        if self._system:
            given = self._system_of(values) + given
        if not self._plain:
            given, sides = self._with_context(values, given, sides)
        if given and given[-1]["role"] == "assistant":
            given = _before_answer(given, sides)
        if list in map(type, sides):
            dialogue = part_ways(given, sides)
        else:
            if not (asks_something(given) or self._images):
                raise RowError("the prompt is empty")
            texts: Any = sides
            dialogue = Dialogue(tuple(given), texts)
        return dialogue if self._plain else self._finished(values, dialogue)

    def _without_repetition(self, given: list[Message], sides: list[Side]) -> list[Side]:
        """Return the responses without the prompt that they repeat and without marks of the speaker."""
        texts = [side for side in sides if side is not None]
        if not texts or not all(type(side) is str for side in texts):
            return sides
        if all(side.startswith(_LOOK_INTO) for side in texts):  # type: ignore[union-attr] # all are texts
            if all(is_transcript(str(side)) for side in texts):
                return [None if side is None else transcript(str(side)) for side in sides]
            for mark in _ANSWER_MARKS:
                if all(str(side).lstrip().startswith(mark) for side in texts):
                    return [None if side is None else _unmarked(str(side), mark) for side in sides]
        if self._strip_prompt and given:
            asked = given[-1]["content"].strip()
            if all(str(side).lstrip().startswith(asked) for side in texts):
                return [None if side is None else str(side).lstrip()[len(asked) :].lstrip() for side in sides]
        return sides

    def _conversation(self, cell: Any) -> list[Message] | None:
        turns = turns_of(cell, "a response", images=self.layout.multimodal)
        if isinstance(turns, str):
            speech = transcript(turns)
            if speech is None:
                raise RowError("no prompt column, and the responses are plain text without turns", seen(turns))
            return speech
        return turns

    # --- what belongs to the prompt -----------------------------------------------------------------------------------

    def _with_context(
        self, values: Sequence[Any], given: list[Message], sides: list[Side]
    ) -> tuple[list[Message], list[Side]]:
        if self._history:
            turns = earlier_turns([plain(values[place]) for place in self._history])
            system = [message for message in given if message["role"] == "system"]
            asked = [message for message in given if message["role"] != "system"]
            repeated = len(turns) <= len(asked) and turns == asked[: len(turns)]
            if turns and asked and turns[-1] == asked[-1]:
                turns = turns[:-1]  # a history that holds the question as well
            given = given if repeated else system + turns + asked
        if self._tools and (text := tools_text(plain(values[self._tools[0]]))):
            given = _with_system_text(given, text)
        if self._turn and (turn := number(values[self._turn[0]])):
            sides = [until_turn(side, int(turn)) if isinstance(side, list) else side for side in sides]
        if self._prefix and (prefix := text_of(values[self._prefix[0]], "the prefix")):
            sides = [prefix + side if isinstance(side, str) else side for side in sides]
        return given, sides

    def _finished(self, values: Sequence[Any], dialogue: Dialogue) -> Dialogue:
        """Return the dialogue with the images of the row in their places."""
        pictures = [image for place in self._images for image in _images_of(plain(values[place]))]
        if not self.layout.multimodal or not (pictures or any("images" in message for message in dialogue.prompt)):
            return dialogue
        waiting = iter(pictures)
        prompt: list[Message] = []
        for message in dialogue.prompt:
            images = tuple(image if image != Image() else next(waiting, image) for image in message.get("images", ()))
            prompt.append({**message, "images": images} if images else message)
        if rest := tuple(waiting):
            last = max((place for place, message in enumerate(prompt) if message["role"] == "user"), default=None)
            if last is not None:
                prompt[last] = {**prompt[last], "images": (*prompt[last].get("images", ()), *rest)}
        return Dialogue(tuple(prompt), dialogue.responses, dialogue.reasoning)

    def _system_of(self, values: Sequence[Any]) -> list[Message]:
        text = text_of(values[self._system[0]], "the system message") if self._system else None
        return [Message(role="system", content=text)] if text and text.strip() else []

    # --- what ships with the responses --------------------------------------------------------------------------------

    def _labels(
        self, values: Sequence[Any], groups: list[int], keys: list[str], texts: list[str | None]
    ) -> list[float | None] | None:
        if self.layout.label == "order":
            return [1.0 if group == 0 else 0.0 for group in groups]
        if self._rule is None:
            return None
        cells = [values[place] for place in self._annotations]
        if self._class_names:
            cells = [
                _class_name(cell, self._class_names[place]) if place in self._class_names else cell
                for place, cell in zip(self._annotations, cells, strict=True)
            ]
        if keys and len(cells) == 1 and isinstance(by_key := decoded(plain(cells[0])), Mapping):
            cells = [[by_key.get(key) for key in keys]]
        if self.layout.label in NEEDS_TEXTS:
            cells += texts
        return self._rule(cells, len(texts), self._choices)

    @staticmethod
    def _texts_at(places: Sequence[int], values: Sequence[Any]) -> tuple[str, ...]:
        """References or criteria: texts, or lists of texts."""
        texts: list[str | None] = []
        for place in places:
            value = values[place]
            items = value if isinstance(value, (list, tuple)) and not any(map(is_message, value)) else [value]
            for item in items:
                turns = turns_of(item, "the reference or rubric")
                texts.append(turns[-1]["content"] if isinstance(turns, list) else turns)
        return tuple(text for text in texts if text and text.strip())

    def _constraints_of(self, values: Sequence[Any]) -> tuple[Constraint, ...]:
        ids, kwargs = self._constraints
        return parse_constraints(values[ids], values[kwargs])

    def _id_of(self, values: Sequence[Any]) -> str | None:
        value = values[self._source_id[0]]
        return None if value is None else value if isinstance(value, str) else json.dumps(value, default=str)


def _unmarked(text: str, mark: str) -> str:
    text = text.lstrip()[len(mark) :].strip()
    for end in _ENDS:
        text = text.removesuffix(end)
    return text.strip()


def _before_answer(given: list[Message], sides: Sequence[Side]) -> list[Message]:
    """Return a prompt that holds the answer already (a whole conversation beside the responses) without it.

    Raises:
        RowError: the prompt ends with an assistant turn that is none of the responses.
    """
    answers = [side[-1]["content"] if isinstance(side, list) and side else side for side in sides]
    last = given[-1]["content"].strip()
    if any(isinstance(answer, str) and answer.strip() == last for answer in answers):
        return given[:-1]
    if any(isinstance(side, list) and len(side) > 1 for side in sides):
        return given  # whole conversations say for themselves where the prompt ends
    raise RowError("the prompt ends with an assistant turn, which is none of the responses", seen(given[-1]["content"]))


def _with_system_text(given: list[Message], text: str) -> list[Message]:
    if given and given[0]["role"] == "system":
        return [Message(role="system", content=f"{given[0]['content']}\n\n{text}"), *given[1:]]
    return [Message(role="system", content=text), *given]


def _class_name(cell: Any, names: Sequence[str]) -> Any:
    """Return the name of a class for its number; names and nulls as they are, also within lists."""
    if isinstance(cell, (list, tuple)):
        return [_class_name(item, names) for item in cell]
    if isinstance(cell, int) and not isinstance(cell, bool):
        return names[cell] if 0 <= cell < len(names) else None
    return cell


def _images_of(value: Any) -> list[Image]:
    """Return the images of a cell: one, a list of them, or JSON of either."""
    value = decoded(value)
    items = value if isinstance(value, (list, tuple)) else [value]
    return [image for item in items if item is not None and (image := image_of(item)) is not None]
