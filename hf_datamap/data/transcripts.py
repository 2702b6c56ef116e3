r"""Transcripts: whole dialogues in one string, with words or tokens that say who speaks.

``\n\nHuman: ... \n\nAssistant: ...`` (HH-RLHF), and the templates in which training files are stored: ChatML, Llama 2
and 3, Zephyr, Gemma, ``### Instruction:``, ``USER: ... ASSISTANT: ...``.
"""

from __future__ import annotations

import re
from typing import Final

from hf_datamap.data.example import Message

_ROLES: Final = {
    "human": "user", "user": "user", "instruction": "user", "prompter": "user", "question": "user",
    "assistant": "assistant", "model": "assistant", "response": "assistant", "ai": "assistant", "gpt": "assistant",
    "answer": "assistant", "system": "system", "tool": "tool", "ipython": "tool",
}  # fmt: skip

#: What a transcript begins with (after white space); texts that begin otherwise are not looked at any further.
_STARTS: Final = (
    "Human:", "System:", "User:", "USER:", "HUMAN:", "SYSTEM:", "### ", "<|im_start|>", "<|begin_of_text|>",
    "<|start_header_id|>", "<|user|>", "<|system|>", "<|prompter|>", "<start_of_turn>", "<bos><start_of_turn>", "<s>",
    "[INST]", "A chat between", "Below is an instruction",
)  # fmt: skip

_FIRST: Final = frozenset((*(start[0] for start in _STARTS), *" \n\r\t", ""))

#: Marks that open a turn, each with the name of the speaker; what closes a turn; and whether the marks alone prove it.
_SCHEMES: Final = (
    (re.compile(r"(?:^|\n\n) *(Human|Assistant|System):"), None),
    (re.compile(r"<\|im_start\|>\s*(\w+)[ \n]"), re.compile(r"<\|im_end\|>\s*")),
    (
        re.compile(r"<\|start_header_id\|>\s*(\w+)\s*<\|end_header_id\|>"),
        re.compile(r"<\|eot_id\|>|<\|begin_of_text\|>"),
    ),
    (re.compile(r"<\|(user|assistant|system|prompter)\|>"), re.compile(r"</s>|<\|end\|>|<\|endoftext\|>|<\|eot\|>")),
    (re.compile(r"<start_of_turn>(user|model)\n"), re.compile(r"<end_of_turn>|<bos>|<eos>")),
    (re.compile(r"### ?(Human|User|Assistant|System|Instruction|Response):"), re.compile(r"</s>$")),
    (re.compile(r"(?:^|\n) *(Human|User|Assistant|System|AI):"), None),
    (re.compile(r"(?:^|\s)(USER|ASSISTANT|SYSTEM|HUMAN):"), re.compile(r"</s>")),
)  # fmt: skip

_LLAMA2 = re.compile(r"\[INST\](.*?)\[/INST\](.*?)(?=(?:<s>\s*)?\[INST\]|$)", re.DOTALL)
_LLAMA2_SYSTEM = re.compile(r"<<SYS>>(.*?)<</SYS>>(.*)", re.DOTALL)


def transcript(text: str) -> list[Message] | None:
    """Return the turns of a transcript, or None when the text is not one.

    A transcript begins with a mark and has a turn of the assistant, if only an empty one at its end.
    """
    if text[:1] not in _FIRST:
        return None
    head = text.lstrip()
    if not head.startswith(_STARTS):
        return None
    if "[INST]" in head[:200]:
        return _llama2(head)
    for opening, closing in _SCHEMES:
        turns = _turns(head, opening, closing)
        if turns is not None:
            return turns
    return None


def is_transcript(text: str) -> bool:
    """Tell whether a text is a transcript in which the user asks and the assistant has answered."""
    turns = transcript(text)
    return bool(turns) and turns is not None and len(turns) > 1 and turns[-1]["role"] == "assistant"


def _turns(text: str, opening: re.Pattern[str], closing: re.Pattern[str] | None) -> list[Message] | None:
    pieces = opening.split(text)
    speakers = [_ROLES.get(name.lower()) for name in pieces[1::2]]
    if "assistant" not in speakers or "user" not in speakers or None in speakers:
        return None
    texts = pieces[::2] if closing is None else [closing.sub("", piece) for piece in pieces[::2]]
    turns: list[Message] = [
        {"role": str(role), "content": content.strip()} for role, content in zip(speakers, texts[1:], strict=True)
    ]
    preamble = texts[0].strip()
    return [Message(role="system", content=preamble), *turns] if preamble else turns


def _llama2(text: str) -> list[Message] | None:
    turns: list[Message] = []
    for asked, answered in _LLAMA2.findall(text):
        question = asked
        if (system := _LLAMA2_SYSTEM.search(asked)) is not None:
            turns.append(Message(role="system", content=system[1].strip()))
            question = system[2]
        turns.append(Message(role="user", content=question.strip()))
        turns.append(Message(role="assistant", content=answered.replace("</s>", "").strip()))
    return turns or None
