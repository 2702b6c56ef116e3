"""Reading what a judge wrote: never a number where there is doubt.

A judge is asked for JSON and nothing else. Many wrap it in words, and words may quote the text under judgement, which
may hold scores of its own. So a verdict counts only in the asked form (a JSON object, a number alone, a line such as
``Score: 7``), at the asked place (all of the reply, or its first or last block), and if nothing else in the reply
that is not a quotation says something different.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from hf_datamap.engine.reply import ChatReply, split_thoughts
from hf_datamap.errors import Unanswered
from hf_datamap.scorers.judge_prompt import JudgeForm
from hf_datamap.scorers.score_tokens import expectation

# Structured output


def _no_bool(value: Any) -> Any:  # noqa: ANN401 - a value of a reply
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    return value


@lru_cache(maxsize=256)
def reply_model(form: JudgeForm) -> type[BaseModel]:
    """Return the structured output of a judgement: one response, or an entry for each of several."""
    number = Annotated[int, Field(ge=form.low, le=form.high), BeforeValidator(_no_bool)]
    fields: dict[str, Any] = {"rationale": (str, ...)} if form.rationale else {}
    fields |= dict.fromkeys(form.rubric.fields, (number, ...))
    strict = ConfigDict(extra="forbid")
    one: type[BaseModel] = create_model("judgement", __config__=strict, **fields)
    if not form.count:
        return one
    entry: Any = one if form.rubric.criteria or form.rationale else number
    entries: dict[str, Any] = {f"response_{i}": (entry, Field(alias=str(i))) for i in range(1, form.count + 1)}
    several: type[BaseModel] = create_model("judgements", __config__=strict, **entries)
    return several


@lru_cache(maxsize=256)
def response_format(form: JudgeForm) -> dict[str, Any]:
    """Return the ``response_format`` of a request, in OpenAI's shape."""
    model = reply_model(form)
    schema = _without_titles(model.model_json_schema())
    return {"type": "json_schema", "json_schema": {"name": model.__name__, "strict": True, "schema": schema}}


def _without_titles(schema: Any) -> Any:  # noqa: ANN401 - a JSON schema
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _without_titles(value) for key, value in schema.items() if key != "title" or isinstance(value, dict)}


# Verdicts


def read_verdicts(reply: ChatReply, form: JudgeForm, judged: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Read a judgement of one response or of several, in the order in which they were shown.

    Args:
        reply: what the judge answered.
        form: what it was asked.
        judged: the texts that it was shown: what it quotes from them is no verdict.

    Returns:
        For each response its ``score``; the ``noise`` where log-probabilities give it, else ``no_noise`` with the
        reason where there are any; and what was asked for beside.

    Raises:
        Unanswered: there is no answer, or a number is missing, outside the scale, or not to be made out.
    """
    text = _answer_text(reply)
    if not form.count and not form.rubric.criteria:
        return [_one_score(text, reply, form, judged)]
    entries = json_object(text, judged)
    if entries is None:
        raise Unanswered(f"nonsense: no JSON object in {_excerpt(text)}")
    try:
        filled = reply_model(form).model_validate(entries)
    except ValidationError as error:
        raise Unanswered(_fault(error, form)) from None
    if not form.count:
        return [_verdict(filled, form)]
    return [_verdict(getattr(filled, f"response_{i}"), form) for i in range(1, form.count + 1)]


def read_winner(reply: ChatReply, judged: Sequence[str] = ()) -> str:
    """Read which of two responses is better: ``"1"``, ``"2"`` or ``"tie"``.

    Raises:
        Unanswered: there is no answer, or no verdict in the asked form at the asked place.
    """
    text = _answer_text(reply)
    members = json_object(text, judged)
    verdict = members.get("better") if members is not None else text
    winner = str(verdict).strip(" *\"'.").casefold() if not isinstance(verdict, bool) else ""
    if winner not in ("1", "2", "tie"):
        raise Unanswered(f"nonsense: no verdict of 1, 2 or tie in {_excerpt(text)}")
    return winner


def _answer_text(reply: ChatReply) -> str:
    """The text in which the verdict stands.

    Raises:
        Unanswered: there is none, or it was cut.
    """
    text = reply.text
    if not text and _parse(reply.thoughts.strip()) is not None:
        text = reply.thoughts.strip()  # servers with structured output and a reasoning parser confuse the two
    elif reply.problem:
        raise Unanswered(reply.problem)
    if reply.finish == "length":
        raise Unanswered("truncated: the judge ran out of tokens before it was done; raise max_tokens")
    return text


def _one_score(text: str, reply: ChatReply, form: JudgeForm, judged: Sequence[str]) -> dict[str, Any]:
    written = on_scale(read_score(text, judged, high=form.high), form.low, form.high)
    believed = expectation(written, reply, form.low, form.high)
    verdict: dict[str, Any] = {"score": believed.mean, "noise": believed.variance}
    if believed.reason:
        verdict["no_noise"] = believed.reason
    why = (json_object(text, judged) or {}).get("rationale") if form.rationale else None
    return verdict | ({"rationale": str(why)} if why is not None else {})


def _verdict(entry: Any, form: JudgeForm) -> dict[str, Any]:  # noqa: ANN401 - a number, or a model of `reply_model`
    if isinstance(entry, int):
        return {"score": float(entry), "noise": None}
    numbers = {name: float(getattr(entry, name)) for name in form.rubric.fields}
    verdict: dict[str, Any] = {"score": form.rubric.score(numbers), "noise": None}
    if form.rubric.criteria:
        verdict["criteria"] = numbers
    if form.rationale:
        verdict["rationale"] = entry.rationale
    return verdict


def _fault(error: ValidationError, form: JudgeForm) -> str:
    """What is wrong with a reply: the first fault that pydantic found."""
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    seen = f" (saw {str(fault.get('input'))[:60]!r})" if fault["type"] != "missing" else ""
    if fault["type"] in ("greater_than_equal", "less_than_equal"):
        return f"outside the scale: {where} is {fault.get('input')}, the scale is {form.low} to {form.high}"
    return f"nonsense: {where or 'the reply'}: {fault['msg']}{seen}"


def on_scale(score: float, low: int, high: int) -> float:
    """Return a score that is on the scale.

    Raises:
        Unanswered: it is not.
    """
    if not low <= score <= high:
        raise Unanswered(f"outside the scale: the judge gave {score:g}, the scale is {low} to {high}")
    return score


# Words

_NUMBER: Final = r"[-+]?\d{1,6}(?:\.\d{1,6})?"
_ALONE: Final = re.compile(rf"\**({_NUMBER})\**(?:\s*/\s*(\d{{1,3}}))?\.?")
_MARKS: Final = r"[\s\"'*_`,.!#>(){}\[\]]{0,20}"  # bounded: a hostile reply must not make the search slow
_NAMED: Final = re.compile(
    rf"^{_MARKS}(?:final |overall )?(?:score|rating)[\"'*_`]{{0,4}}\s{{0,4}}(?:[:=]|is\b|-\s|–|—)?[\s\"'*_`]{{0,6}}"
    rf"({_NUMBER})\**(?:\s?(?:/|out of)\s?(\d{{1,3}}))?{_MARKS}$",
    re.IGNORECASE | re.MULTILINE,
)
#: A number that prose after a verdict gives: ``8/10``, ``2 out of 10``, ``give it a 2``.
_IN_PROSE: Final = re.compile(
    r"(\d{1,3}(?:\.\d{1,3})?)\s?(?:/|out of)\s?\d{1,3}\b"
    r"|\b(?:giv\w{1,3}|rat\w{1,3}|scor\w{1,3}|deserv\w{1,3}|award\w{0,3})\s(?:\w{1,12}\s){0,3}?(\d{1,3}(?:\.\d{1,3})?)\b",
    re.IGNORECASE,
)
_FENCE: Final = re.compile(r"^[ \t]*```[\w-]{0,20}[ \t]*\n?(.*?)```", re.DOTALL | re.MULTILINE)
_FLAT: Final = re.compile(r"\{[^{}]*\}")
_SIGN_OFF: Final = re.compile(r"[\s`*_]*(?:[A-Za-z]{1,12}[.!]?)?\s*\Z")  # "Done." after the verdict is no matter
#: A line that hands over to a quotation: "The response claims:".
_ATTRIBUTED: Final = re.compile(
    r"\b(?:responses?|answers?|texts?|authors?|assistant|user|it|they|prompt|example|candidate)\b[^\n]{0,80}?"
    r"\b(?:sa(?:ys?|id)|claim\w*|contain\w*|read\w*|ask\w*|demand\w*|stat\w+|writ\w+|wrote|includ\w*|end\w*|begin\w*"
    r"|tr(?:y|ies|ied)|attempt\w*|quot\w+|instruct\w*|inject\w*|tell\w*|want\w*|suggest\w*|insert\w*|hold\w*)\b[^\n]{0,60}:\s*\Z",
    re.IGNORECASE,
)
_FENCE_LINE: Final = re.compile(r"^\s*```\w*")
_UNQUOTED: Final = re.compile(r"[\s*_`>#\"'“”‘’]")
_MOST_BLOCKS: Final = 50  # lines of a reply at which an object may begin that are tried


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of a reply that may be the verdict.

    Attributes:
        start: where it begins.
        end: where it ends.
        value: what it holds: an object, or a number.
    """

    start: int
    end: int
    value: Any


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key twice")
    return members


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique_keys)  # `json.loads` with options makes one every time


def _parse(text: str) -> dict[str, Any] | None:
    """A JSON object; None when the text is none, or says the same thing twice."""
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def json_object(text: str, judged: Sequence[str] = ()) -> dict[str, Any] | None:
    """Return the JSON object that a reply is, begins with or ends with; None when there is none, or more than one."""
    body = split_thoughts(text)[1]
    if (whole := _parse(body)) is not None:  # most replies: nothing else is looked at
        return whole
    words = _Words(body, judged)
    objects = [block.value for block in _objects(words) if not words.is_quoted(block)]
    return objects[0] if objects and all(value == objects[0] for value in objects) else None


def read_score(text: str, judged: Sequence[str] = (), *, high: int = 10) -> float:
    """Read the one score in a judge's words: JSON, a number by itself, or a line such as ``Score: 7``.

    Args:
        text: the judge's answer.
        judged: the texts that it was shown: what it quotes from them does not count.
        high: the highest score, for judges that write ``7/10``.

    Raises:
        Unanswered: there is none, there are several different ones, or it does not stand at the asked place.
    """
    body = split_thoughts(text)[1]
    if (whole := _parse(body)) is not None:
        if (score := _score_in(whole, high)) is None:
            raise Unanswered(f"nonsense: no score in {_excerpt(body)}")
        return score
    if (alone := _ALONE.fullmatch(body.strip())) and (score := _numeral(alone, high)) is not None:
        return score
    words = _Words(body, judged)
    verdicts = [block for block in _score_blocks(words, high) if not words.is_quoted(block)]
    values = {block.value for block in verdicts}
    if len(values) != 1:
        what = "no score" if not values else f"{len(values)} different scores"
        raise Unanswered(f"nonsense: {what} in {_excerpt(body)}")
    value = float(values.pop())
    _refuse_contradiction(words, verdicts, value, high)
    return value


def _refuse_contradiction(words: _Words, verdicts: Sequence[_Block], value: float, high: int) -> None:
    """Refuse a verdict that the rest of the reply unsays.

    Raises:
        Unanswered: a JSON object elsewhere in the reply, or prose after the verdict, gives another score.
    """
    body = words.body
    for match in _FLAT.finditer(body):
        if any(block.start <= match.start() and match.end() <= block.end for block in verdicts):
            continue
        other = _score_in(_parse(match[0]) or {}, high)
        if other not in (None, value) and not words.is_quoted(_Block(match.start(), match.end(), other)):
            raise Unanswered(f"nonsense: 2 different scores in {_excerpt(body)}")
    last = max(block.end for block in verdicts)
    for match in _IN_PROSE.finditer(body, last):
        if float(match[1] or match[2]) != value:
            raise Unanswered(f"nonsense: 2 different scores in {_excerpt(body)}")


def _score_blocks(words: _Words, high: int) -> Iterator[_Block]:
    """What gives a score, in the asked form and at the asked place: objects, and lines such as ``Score: 7``."""
    for block in _objects(words):
        if (score := _score_in(block.value, high)) is not None:
            yield _Block(block.start, block.end, score)
    for match in _NAMED.finditer(words.body):
        is_line = "{" not in match[0]  # objects are read as such
        if is_line and words.is_placed(match.start(), match.end()) and (score := _numeral(match, high)) is not None:
            yield _Block(match.start(), match.end(), score)


def _objects(words: _Words) -> list[_Block]:
    """The JSON objects that are the first or the last block of a reply: in a fence, or on lines of their own."""
    body = words.body
    fences = list(_FENCE.finditer(body))
    blocks = [
        _Block(match.start(), match.end(), value)
        for match in fences
        if words.is_placed(match.start(), match.end()) and (value := _parse(match[1].strip())) is not None
    ]
    starts = [match.start(1) for match in re.finditer(r"^[ \t]*(\{)", body, re.MULTILINE)]
    covered = -1
    for start in [*starts[:_MOST_BLOCKS], *starts[_MOST_BLOCKS:][-_MOST_BLOCKS:]]:
        if start < covered or any(fence.start() <= start < fence.end() for fence in fences):
            continue
        try:
            value, end = _DECODER.raw_decode(body, start)
        except (ValueError, RecursionError):
            continue
        covered = end
        ends_line = not body[end:].partition("\n")[0].strip(" \t*_`.")
        if ends_line and words.is_placed(start, end):
            blocks.append(_Block(start, end, value))
    return blocks


class _Words:
    """A judge's answer that is more than JSON, and the texts that it may quote."""

    def __init__(self, body: str, judged: Sequence[str]) -> None:
        self.body, self.judged = body, judged
        self.first = len(body) - len(body.lstrip(" \t\n*_`#>"))

    @cached_property
    def plain_judged(self) -> list[str]:
        return [_plain(text) for text in self.judged]

    def is_placed(self, start: int, end: int) -> bool:
        """Whether a span is the first or the last block."""
        return start <= self.first or (len(self.body) - end < 40 and _SIGN_OFF.match(self.body, end) is not None)

    def is_quoted(self, block: _Block) -> bool:
        """Whether a block is a quotation: it stands in a judged text too, or the line before it says so."""
        before = self.body[max(0, block.start - 200) : block.start].rstrip()
        if _ATTRIBUTED.search(before.rpartition("\n")[2]):
            return True
        quoted = _plain(self.body[block.start : block.end])
        return bool(quoted) and any(quoted in text for text in self.plain_judged)


def _plain(text: str) -> str:
    """A text without what a quotation may change: white space, capitals, marks of Markdown, kinds of quotes."""
    return _UNQUOTED.sub("", _FENCE_LINE.sub("", text)).casefold()


def _numeral(match: re.Match[str], high: int) -> float | None:
    """The number of ``7`` or ``7/10``; None if it is out of something else than what was asked for."""
    return None if match[2] is not None and int(match[2]) != high else float(match[1])


def _score_in(members: Mapping[str, Any], high: int) -> float | None:
    value: Any = members.get("score")
    if isinstance(value, str) and (alone := _ALONE.fullmatch(value.strip())):
        value = _numeral(alone, high)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e6 else None


def _excerpt(text: str) -> str:
    return repr(" ".join(text.split())[:120])
