"""How many syllables an English word has, by its spelling."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from hf_datamap.scorers.constraints.ifbench.vocabulary import SYLLABLES

_VOWELS: Final = re.compile(r"[aeiouy]+")
#: Two vowels that are heard apart: "idea", "area", "video", "create", "science", "going", "usual", "fluid", "poem".
_APART: Final = re.compile(
    r"ia(?!ge|l$|n$|lly$|lity)|[^aeioustc]ia[ln]|io(?!n|us|u)|[dlr]iou|[^gqc]iu|e[io](?=[^aeiou].*[aeiouy])(?<=re|de|vi)"
    r"|[^rtpcg]eo|[^gqa]ua(?!r|l?g)|u[ei](?=[nt])|ui(?=d|ty)|oe[mt]|[aeiouy]ing|eating|[^aeiou]eate|ea(?=$)(?<=idea|area)"
    r"|[^aeioucst]ie(?=nt|nc|t$|ty)|ious$(?<=[vr]ious)|[^aeiou]sm$"
)
_SILENT_E: Final = re.compile(r"(?<!^)(?<![aeiouy])e(?:$|s$|d$|(?=ly$|ment|ful|less|ness))")
#: An e before these endings that is heard: "little", "houses", "wanted".
_HEARD_E: Final = re.compile(r"[^aeiouy]l[e](?:$|s$|d$)|(?:[sxzgc]|[cs]h)es$|[td]ed$")


@lru_cache(maxsize=10_000)
def count_syllables(word: str) -> int:
    """Return the number of syllables of a word, at least 1; 0 of a text without a letter.

    By rules on vowels and a short list of exceptions. IFBench asks a dictionary (syllapy).
    """
    letters = "".join(filter(str.isalpha, word.lower()))
    if not letters:
        return 0
    if letters in SYLLABLES:
        return SYLLABLES[letters]
    count = len(_VOWELS.findall(letters)) + len(_APART.findall(letters))
    if _SILENT_E.search(letters) and not _HEARD_E.search(letters):
        count -= 1
    return max(1, count)
