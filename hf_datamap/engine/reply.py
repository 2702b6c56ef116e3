"""Reading chat completions: what a model answered, kept apart from what it thought on the way.

Servers hand thoughts over in many forms: in a field of their own, as parts of the content, or between marks in the
text when no reasoning parser is at work. Judge and sampler read replies here and nowhere else, so that thoughts never
count as an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hf_datamap.errors import Unanswered

#: Fields of a message that hold thoughts, by those who use them: DeepSeek, vLLM and SGLang; OpenRouter, newer vLLM and
#: Ollama's OpenAI-compatible API; Anthropic and Ollama; LiteLLM.
_THOUGHT_FIELDS: Final = ("reasoning_content", "reasoning", "thinking", "thoughts", "reasoning_details")
_THOUGHT_PARTS: Final = ("thinking", "reasoning", "redacted_thinking", "thought")

#: Marks around thoughts: where they begin, and where they end. Tried in this order.
_MARKS: Final = tuple(
    (re.compile(begin, re.IGNORECASE), re.compile(end, re.IGNORECASE))
    for begin, end in (
        (
            r"<((?:\w{1,20}:)?(?:think|thinking|thought|thoughts|reasoning))>",
            r"</(?:\w{1,20}:)?(?:think\w*|thoughts?|reasoning)>",
        ),
        (r"\[THINK\]", r"\[/THINK\]"),
        (r"◁think▷", r"◁/think▷"),
        (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
        (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
        (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),
        (r"<\|?channel\|?>\s*thought\b", r"<\|?channel\|>"),
        (r"<unused94>thought\b", r"<unused95>"),
        (r"Here is my thought process:", r"Here is my response:"),
    )
)
#: Thoughts whose beginning stands in the prompt (the chat template opened them) show only their end.
_LATE_END: Final = re.compile(r"</(?:\w{1,20}:)?think(?:ing)?>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>", re.IGNORECASE)
#: Marks that begin thoughts in the middle of an answer too, where nobody writes them for another reason.
_INNER: Final = re.compile(r"^[ \t]*(?:<(?:\w{1,20}:)?think(?:ing)?>|\[THINK\]|◁think▷)", re.IGNORECASE | re.MULTILINE)
_END_TOKEN: Final = re.compile(
    r"(?:<\|(?:im_end|eot_id|end|endoftext|end_of_text|return|eom_id)\|>|</s>|<eos>|<end_of_turn>)\Z"
)
_QUOTES: Final = tuple("`'\"\u201c\u201d\u2018\u2019()")
_SPACE: Final = re.compile(r"\s*")
_FENCE: Final = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_WRAPPERS: Final = tuple(
    re.compile(rf"\A\s*{begin}(.*?)(?:{end})?\s*\Z", re.IGNORECASE | re.DOTALL)
    for begin, end in (
        (r"<\|begin_of_solution\|>", r"<\|end_of_solution\|>"),
        (r"<\|START_(?:RESPONSE|TEXT)\|>", r"<\|END_(?:RESPONSE|TEXT)\|>"),
        (r"<answer>", r"</answer>"),
        (r"<response>", r"</response>"),
    )
)
_HARMONY: Final = re.compile(
    r"(?:<\|start\|>\s*assistant)?\s*<\|channel\|>\s*(\w+)[^<]{0,200}(?:<\|constrain\|>[^<]{0,50})?<\|message\|>(.*?)"
    r"(?=<\|end\|>|<\|return\|>|<\|call\|>|<\|start\|>|\Z)(?:<\|end\|>|<\|return\|>|<\|call\|>)?",
    re.DOTALL,
)
#: The same after a server dropped the special tokens: ``analysisWe need to ...assistantfinalThe answer``.
_BARE_HARMONY: Final = re.compile(r"\A(?:assistant)?analysis(?=\S)(.*?)assistantfinal(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ChatReply:
    """One reply of a model.

    Attributes:
        text: the answer, without thoughts and without white space around it.
        thoughts: what the model thought, empty if it shows nothing.
        content: the text as it came, with what thoughts it holds; for what continues a given beginning.
        finish: why the model stopped: ``stop``, ``length``, ``content_filter`` or whatever the server says.
        refusal: the model's words when it refuses.
        tokens: the tokens of the content with their log-probabilities, in OpenAI's shape; empty without.
    """

    text: str
    thoughts: str = ""
    content: str = ""
    finish: str = "stop"
    refusal: str = ""
    tokens: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    @property
    def problem(self) -> str:
        """Why there is no answer; empty if there is one."""
        if self.refusal:
            return f"refused: {' '.join(self.refusal.split())[:200]}"
        if self.finish == "content_filter":
            return "refused: stopped by the endpoint's content filter"
        if self.text:
            return ""
        if self.thoughts and self.finish == "length":
            return "truncated: the model ran out of tokens while it was thinking; raise max_tokens"
        if self.thoughts:
            return "thoughts only: the model gave no answer after its reasoning"
        return "the reply is empty"


def read_completion(completion: object) -> ChatReply:
    """Read a decoded completion, of a chat or of a text.

    Raises:
        Unanswered: it has no choices.
    """
    choices = completion.get("choices") if isinstance(completion, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise Unanswered("the reply has no choices")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, Mapping):
        message = {"content": choice.get("text")}
    finish = choice.get("finish_reason")
    reply = answer_of(message)
    logprobs = choice.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    return ChatReply(
        reply.text,
        reply.thoughts,
        reply.content,
        finish if isinstance(finish, str) and finish else "stop",
        reply.refusal,
        [token for token in tokens if isinstance(token, Mapping)] if isinstance(tokens, list) else [],
    )


def answer_of(message: Mapping[str, Any]) -> ChatReply:
    """Read a message: its content, whatever its form, and its thoughts, wherever they stand."""
    content, thoughts, refusals = _parts(message.get("content"))
    inner_thoughts, text = split_thoughts(content)
    nested = message.get("provider_specific_fields")
    for source in (message, nested if isinstance(nested, Mapping) else {}):
        thoughts += [words for name in _THOUGHT_FIELDS if (words := _words(source.get(name)))]
    refusal = message.get("refusal")
    refusals += [refusal] if isinstance(refusal, str) else []
    # The same thoughts often stand in two fields.
    unique_thoughts = dict.fromkeys(filter(None, [*thoughts, inner_thoughts]))
    return ChatReply(text, "\n".join(unique_thoughts), content, refusal=" ".join(filter(None, refusals)))


def split_thoughts(text: str) -> tuple[str, str]:
    """Split a text into thoughts and answer, both without white space around them.

    Thoughts that do not end leave no answer: what follows them was never written.

    Args:
        text: the content of a message.

    Returns:
        The thoughts, empty if there are none; and the answer.
    """
    if "<|channel|>" in text and "<|message|>" in text:
        return _split_harmony(text)
    if bare := _BARE_HARMONY.match(text):
        return bare[1].strip(), bare[2].strip()
    thoughts: list[str] = []
    position = _SPACE.match(text).end()  # type: ignore[union-attr] # matches always
    while opening := next((match for begin, _ in _MARKS if (match := begin.match(text, position))), None):
        end_mark = next(end for begin, end in _MARKS if begin is opening.re)
        closing = end_mark.search(text, opening.end())
        if closing is None:
            return "\n".join([*thoughts, text[opening.end() :].strip()]), ""
        thoughts.append(text[opening.end() : closing.start()].strip())
        position = _SPACE.match(text, closing.end()).end()  # type: ignore[union-attr]
    if not thoughts and (late := _LATE_END.search(text)) and _ends_thoughts(text, late):
        thoughts.append(text[: late.start()].strip())
        position = late.end()
    answer = _without_end_tokens(_without_inner(text[position:], thoughts))
    return "\n".join(filter(None, thoughts)), _unwrapped(answer) if thoughts else answer


def _ends_thoughts(text: str, mark: re.Match[str]) -> bool:
    """Whether a mark ends thoughts that began in the prompt, rather than being talked about or shown as code."""
    quoted = text[mark.start() - 1 : mark.start()] in _QUOTES and text[mark.end() : mark.end() + 1] in _QUOTES
    in_code = len(_FENCE.findall(text, 0, mark.start())) % 2 == 1
    return not (quoted and mark.start()) and not in_code and not _INNER.search(text, 0, mark.start())


def _split_harmony(text: str) -> tuple[str, str]:
    """OpenAI's harmony format: each message on a channel; ``final`` is the answer, the others are not."""
    thoughts: list[str] = []
    answers: list[str] = []
    for channel, words in _HARMONY.findall(text):
        (answers if channel == "final" else thoughts).append(words.strip())
    return "\n".join(filter(None, thoughts)), "\n".join(filter(None, answers))


def _without_inner(text: str, thoughts: list[str]) -> str:
    """Move thoughts that begin on a line of their own within the answer, outside of code, to ``thoughts``."""
    kept: list[str] = []
    kept_to = searched = 0
    in_code = False
    while opening := _INNER.search(text, searched):
        in_code ^= len(_FENCE.findall(text, searched, opening.start())) % 2 == 1
        searched = opening.end()
        if in_code:  # somebody's example, no thought
            continue
        closing = _LATE_END.search(text, opening.end())
        if closing is None:
            thoughts.append(text[opening.end() :].strip())
            return ""  # the thought never ended, so the answer was never written
        thoughts.append(text[opening.end() : closing.start()].strip())
        kept.append(text[kept_to : opening.start()])
        kept_to = searched = _SPACE.match(text, closing.end()).end()  # type: ignore[union-attr]
    return "".join([*kept, text[kept_to:]])


def _without_end_tokens(answer: str) -> str:
    """Without the control tokens that some servers leave at the end, and the white space around."""
    answer = answer.strip()
    while end := _END_TOKEN.search(answer, max(0, len(answer) - 40)):
        answer = answer[: end.start()].rstrip()
    return answer


def _unwrapped(answer: str) -> str:
    """Without the marks that some models put around an answer after thoughts."""
    for wrapper in _WRAPPERS:
        if match := wrapper.match(answer):
            return match[1].strip()
    return answer.strip()


def _parts(content: object) -> tuple[str, list[str], list[str]]:
    """Text, thoughts and refusals of a content: a text, or a list of parts."""
    if isinstance(content, str):
        return content, [], []
    texts, thoughts, refusals = [], [], []
    for part in content if isinstance(content, list) else [content]:
        kind = str(part.get("type", "text")) if isinstance(part, Mapping) else "text"
        if kind in _THOUGHT_PARTS or (isinstance(part, Mapping) and part.get("thought") is True):
            thoughts.append(_words(part))
        elif kind == "refusal" and isinstance(part, Mapping):
            refusals.append(str(part.get("refusal") or ""))
        elif kind in ("text", "output_text"):
            texts.append(_words(part))
    return "".join(texts), list(filter(None, thoughts)), refusals


def _words(value: object) -> str:
    """All the text in a value: a text, a part, or a list of parts."""
    return "\n".join(_texts(value, 0))


def _texts(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth < 5:
        for part in value:
            yield from _texts(part, depth + 1)
    elif isinstance(value, Mapping) and depth < 5:
        for name in ("text", "content", "summary", *_THOUGHT_FIELDS):
            yield from _texts(value.get(name), depth + 1)
