"""Whether a text refuses, and whether it breaks off: by phrases and endings (ours; careful, not complete)."""

from __future__ import annotations

import re
from typing import Final

#: A list item, and a heading in Markdown.
LIST_ITEM: Final = re.compile(r"^[ \t]*(?:[-*+\u2022]|\d{1,3}[.)])[ \t]", re.MULTILINE)
HEADING: Final = re.compile(r"^#{1,6}[ \t]", re.MULTILINE)

_NOT_ABLE: Final = (
    r"i (?:can ?not|can['’]t|won['’]t|will not|must decline|am unable|am not able)|i['’]m (?:unable|not able)"
)
_REFUSAL: Final = re.compile(
    rf"(?:\b(?:sorry|apologi[sz]e|unfortunately|as an ai)\b[^.?!\n]{{0,80}}?\b(?:{_NOT_ABLE})\b)"
    rf"|^\W*(?:{_NOT_ABLE}) (?:\w+ ){{0,3}}?(?:assist|help|provide|fulfil|comply|answer|create|generate|engage"
    r"|support|continue|discuss|write|offer|give|do that)"
    r"|lo siento,? (?:pero )?no puedo|no puedo ayudar|je suis désolé|es tut mir leid,? (?:aber )?ich kann"
    r"|mi dispiace,? (?:ma )?non posso|desculpe,? (?:mas )?não posso"
    r"|(?:对不起|抱歉|很抱歉)[,，]?(?:但是?)?我?(?:不能|无法|不会)"
    r"|申し訳(?:ありません|ございません)|죄송(?:합니다|하지만)|извините, (?:но )?я не могу"
)
_REFUSAL_CHARS: Final = 800  # longer texts that open like one go on to help
_PROSE: Final = 200
_OPEN_WORDS: Final = """
    the a an of and or to in on at for with by from that which who as is are was were be been has have had can could
    will would should may might must this these those its their his her your our my such than then because if when while
    but not also into el la los las de y en con para por que le les des et du un une der die das und mit für von zu
"""
_ENDINGS: Final = frozenset(_OPEN_WORDS.split())


def refuses(text: str) -> bool:
    """Whether a text is a refusal: short, and opening like one."""
    return len(text) <= _REFUSAL_CHARS and _REFUSAL.search(text[:250].lower()) is not None


def breaks_off(text: str) -> bool:
    """Whether a text ends in the middle of a code block or of a sentence of prose (ours; careful, not complete)."""
    text = text.rstrip()
    if len(text) < _PROSE:
        return False
    if text.count("```") % 2:
        return True
    last = text[text.rfind("\n") + 1 :]
    open_end = text[-1] in ",(" or "a" <= text[-1].lower() <= "z"
    if not open_end or last.lstrip()[:1] in set("#|-*<>{}[]`$=+0123456789"):
        return False
    spoken = last.split()
    return len(spoken) > 8 and (text[-1] in ",(" or spoken[-1].lower() in _ENDINGS or len(spoken) > 30)
