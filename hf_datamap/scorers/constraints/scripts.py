"""Words and sentences of text in any script: what Multi-IF asks of eleven languages with IFEval's plain ids.

IFEval counts runs of letters as words and cuts sentences after Latin marks. Chinese and Japanese write no spaces, Hindi
ends sentences with a danda. Thai, Lao, Burmese and Khmer write neither spaces between words nor marks after sentences:
counting them takes a dictionary, so that they are not counted here at all.
"""

from __future__ import annotations

import re
from typing import Final

from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints.sentences import count_sentences

_HAN_OR_KANA: Final = r"[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff々〇]"
#: A Han character or a kana is a word, and so is each run of other letters, digits and what is written above or below
#: them: accents, the vowel signs of Indian scripts (no letters to the re module), joiners.
_WORD: Final = re.compile(
    rf"{_HAN_OR_KANA}|(?:(?!{_HAN_OR_KANA})[\w\u0300-\u036f\u0900-\u0963\u0966-\u0dff\u200c\u200d])+"
)
_UNMARKED: Final = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_LETTER: Final = re.compile(r"[^\W\d_]")
#: Marks that end a sentence, of scripts that do not use the Latin full stop: ideographic, danda, Arabic, Armenian,
#: Ethiopic.
_FOREIGN_MARKS: Final = re.compile(r"[。！？．｡।॥؟۔։።፧]")
_MARKS: Final = re.compile(r"[.!?。！？．｡।॥؟۔։።፧]+[\"'”’」』）)\]]*|\n")


def count_words_of_any_script(text: str) -> int:
    r"""Count words: runs of letters and digits (``\w+``), but each Han character and kana by itself.

    Raises:
        RowError: most letters are Thai, Lao, Burmese or Khmer.
    """
    _refuse_unmarked(text, "words")
    return sum(1 for _ in _WORD.finditer(text))


def count_sentences_of_any_script(text: str) -> int:
    """Count sentences: by English rules, or by marks and lines where a script has marks of its own.

    Raises:
        RowError: most letters are Thai, Lao, Burmese or Khmer.
    """
    _refuse_unmarked(text, "sentences")
    # A quotation in another script does not change how English is counted.
    foreign = len(_FOREIGN_MARKS.findall(text))
    if not foreign or foreign < sum(map(text.count, ".!?")):
        return count_sentences(text)
    return sum(bool(_LETTER.search(part)) for part in _MARKS.split(text))


def _refuse_unmarked(text: str, what: str) -> None:
    if text.isascii():
        return
    unmarked = len(_UNMARKED.findall(text))
    if unmarked and 2 * unmarked > len(_LETTER.findall(text)):
        raise RowError(
            f"the response is in a script that separates no {what} (Thai, Lao, Burmese, Khmer): they cannot be counted "
            "without a dictionary"
        )
