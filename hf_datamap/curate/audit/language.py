"""What language a text is in, whether it breaks off, whether it refuses: by scripts, function words and phrases."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import numpy as np

from hf_datamap.curate.audit import tokens as tk

_FUNCTION_WORDS: Final = {
    "en": """
        the of and to is that it was for on are with as at be this have from or by not but what all were
        when your can there an which their will would about if you they
    """,
    "es": """
        el los las del y que se por con para una es como más pero sus le ha este sí porque esta son entre
        cuando muy sin sobre también hasta hay donde quien desde todo
    """,
    "fr": """
        le les des et est que une dans qui pour pas sur au avec ce il sont ou plus par je cette vous nous
        mais ils leur être aux deux ses très sans comme ont fait peut
    """,
    "de": """
        der die das und ist nicht ein eine zu den mit sich auf für im dem von auch es an werden aus er hat
        dass sie nach wird bei einer um am sind noch wie oder aber vor
    """,
    "it": """
        il di che è un una per non sono del della con le si da come anche più gli dei nel alla lo questo ma
        ha ed delle al suo essere dal molto cui loro quando
    """,
    "pt": """
        o os as do da em um uma é não com para por mais como mas dos foi ao ele das tem seu sua ou ser
        quando muito há nos já está também só pelo pela até isso
    """,
    "nl": """
        de het een en van is dat niet te zijn op met voor er aan ook als maar om hij bij nog naar dan je wat
        kan worden heeft deze uit over door wordt
    """,
}
_LANGUAGES: Final = tuple(_FUNCTION_WORDS)

#: A prompt that may well want another language: translation, or the name of a language.
ASKS: Final = re.compile(
    r"translat|traduc|tradui|tradu[zç]|übersetz|перев[её]д|перевод|翻[译訳譯]|번역|ترجم|अनुवाद|language|langue|idioma|sprache|lingua|语言|言語|язык"
    r"|\b(?:english|spanish|french|german|italian|portuguese|dutch|chinese|mandarin|japanese|korean|russian|arabic|hindi|latin|greek|hebrew|polish"
    r"|vietnamese|thai|turkish|indonesian|swedish|español|inglés|francés|français|anglais|deutsch|englisch|inglês|italiano|inglese)\b"
    r"|[英中日法德韩俄]文|[英中汉日法德韩俄]语|英語|日本語|中国語|韓国語|영어|한국어|일본어|중국어"
)


@cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all function words, sorted, and whose they are (rows: words, columns: languages)."""
    spoken = {language: {word for word in text.split() if len(word) > 1} for language, text in _FUNCTION_WORDS.items()}
    every = sorted(set.union(*spoken.values()))
    hashes = tk.words(every).hashes
    order = np.argsort(hashes)
    whose = np.array([[word in spoken[language] for language in _LANGUAGES] for word in every])
    return hashes[order], whose[order]


def languages(found: tk.Words) -> np.ndarray:
    """A number for the language of each text, 0 where it is not clear; equal numbers, same language.

    A script of its own decides when nine in ten letters are of it (kana with Chinese characters count as Japanese). In
    Latin script the share of function words decides, when the best language has one word in six, and half as many again
    as the next.
    """
    letters = found.scripts.astype(float)
    total = letters.sum(axis=1)
    latin, kana, han = (tk.SCRIPTS.index(name) for name in ("latin", "kana", "han"))
    japanese = letters[:, kana] > 0.05 * total
    letters[:, kana] += np.where(japanese, letters[:, han], 0.0)
    letters[:, han] = np.where(japanese, 0.0, letters[:, han])
    main = letters.argmax(axis=1)
    clear = (total >= 15) & (letters.max(axis=1) >= 0.9 * total)
    hashes, whose = _table()
    at = np.minimum(np.searchsorted(hashes, found.hashes), len(hashes) - 1)
    known = hashes[at] == found.hashes
    shares = np.zeros((len(total), len(_LANGUAGES)))
    for place in range(len(_LANGUAGES)):
        hits = (known & whose[at, place]).astype(np.int64)
        shares[:, place] = tk.segment(np.add, hits, found.starts) / np.maximum(found.counts, 1)
    ranked = np.sort(shares, axis=1)
    spoken = (found.counts >= 20) & (ranked[:, -1] >= 1 / 6) & (ranked[:, -1] >= 1.5 * ranked[:, -2])
    by_words = np.where(spoken, len(tk.SCRIPTS) + 1 + shares.argmax(axis=1), 0)
    return np.where(clear, np.where(main == latin, by_words, main), 0)


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
