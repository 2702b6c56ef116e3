"""Texts that speak to their judge: that ask for a score, override the judge's instructions, or pose as its markers.

One list of patterns serves two ends: `hf_datamap.audit` reports responses that hold such words, and the judge's prompt
shows their lines as quotations without numbers. The patterns look for the request, not for a language's every wording:
they cover English, German, French, Spanish, Italian, Portuguese, Russian, Chinese, Japanese, Korean and Arabic.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

OVERRIDE: Final = "overrides instructions"
REQUEST: Final = "asks for a score"
ADDRESS: Final = "addresses a judge"
MARKER: Final = "poses as a marker"


@dataclass(frozen=True, slots=True)
class Directed:
    """Words of a text that speak to a judge.

    Attributes:
        kind: what they do: one of the constants of this module.
        start: where they begin.
        end: where they end.
    """

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A pattern, and the words without which it cannot match.

    Attributes:
        kind: what its words do.
        hints: groups of substrings in lower case; of each group one must be in the text. They are looked for first,
            because most texts have none and regular expressions are slow (2 ms for 2,000 characters).
        regex: the pattern.
    """

    kind: str
    hints: tuple[tuple[str, ...], ...]
    regex: re.Pattern[str]


def _pattern(kind: str, hints: str, regex: str) -> _Pattern:
    """Make a pattern; groups of hints are separated by ``&``, hints by ``|``."""
    groups = tuple(sorted((tuple(group.split("|")) for group in hints.split("&")), key=len))
    return _Pattern(kind, groups, re.compile(regex, re.IGNORECASE | re.MULTILINE))


_GAP: Final = r"[^.!?。！？\n]"  # within a sentence
_OWN: Final = r"(?:this|the|my|that)\s+(?:\w+\s+)?(?:response|answer|reply|text|output|essay|solution|completion)"
_JUDGES: Final = r"(?:judge|evaluator|grader|rater|scorer|reward model|annotator|reviewer|llm)s?"
_ORDER: Final = r"(?:^|[.!?:;,\"'(\]>-][ \t]*|\b(?:please|must|should|to|and|now|always|just|you)\s+)"  # before a verb

_ENGLISH: Final = (
    _pattern(
        OVERRIDE,
        "ignor|disregard|forget|overrid|discard&instruction|rubric|guideline|criteria|prompt|rules",
        rf"\b(?:ignore|disregard|forget|override|discard)\b{_GAP}{{0,20}}"
        rf"(?:\b(?:all|any|previous|prior|above|earlier|preceding|your|other|system|these|those)\b{_GAP}{{0,30}}"
        r"\b(?:instructions?|prompts?|rules|guidelines?|criteria|rubrics?)\b"
        r"|\bthe\s+(?:\w+\s+)?(?:rubrics?|scoring \w+|grading \w+|judging \w+|instructions?)\b)",
    ),
    _pattern(
        REQUEST,
        "give|assign|award|rate|grade|score|rank|output|return|answer|respond|reply"
        "&highest|max|top|full|perfect|best&score|rating|mark|grade|point",
        rf"{_ORDER}(?:give|assign|award|rate|grade|score|rank|output|return|answer|respond|reply)\b{_GAP}{{0,60}}"
        rf"\b(?:highest|maximum|max|top|full|perfect|best)\b{_GAP}{{0,15}}\b(?:scores?|ratings?|marks?|grades?|points)\b",
    ),
    _pattern(
        REQUEST,
        "give|assign|award|rate|grade|score&response|answer|reply|text|output|essay|solution|completion",
        rf"{_ORDER}(?:give|assign|award|rate|grade|score)\s+(?:it\s+|me\s+)?{_OWN}{_GAP}{{0,30}}\b(?:\d{{1,3}}|ten)\b",
    ),
    _pattern(
        REQUEST,
        "give|award&/|out of",
        rf"{_ORDER}(?:give|award)\s+(?:it|me|this|us)\s+(?:an?\s+)?(?:perfect\s+|full\s+)?(?:\d{{1,3}}|ten)"
        r"\s*(?:/|out of)\s*(?:\d|ten)",
    ),
    _pattern(
        REQUEST,
        "deserve&10|ten|highest|max|perfect|full|top",
        rf"{_OWN}\s+(?:\w+\s+)?deserves?\b{_GAP}{{0,30}}\b(?:10|100|ten|highest|maximum|perfect|full|top)\b",
    ),
    _pattern(
        REQUEST,
        "you&answer|give|output|respond|reply|return|say|score|rate&1|2|3|4|5|6|7|8|9|ten",
        r"\byou\s+(?:must|should|have to|need to|will)\s+(?:only\s+)?"
        rf"(?:answer|give|output|respond|reply|return|say|score|rate)\b{_GAP}{{0,25}}\b(?:10|[1-9]|100|ten)\b"
        r"(?!\s*(?:%|words?|sentences?|times|minutes?|hours?|days?|items|examples|lines|points? (?:of|that)))",
    ),
    _pattern(
        ADDRESS,
        "judge|evaluator|grader|rater|scorer|reward model|annotator|reviewer|llm"
        "&dear|attention|note|message|instruction|hey|hello",
        rf"\b(?:dear|attention|note (?:to|for)|message (?:to|for)|instructions? (?:to|for)|hey|hello)\b{_GAP}{{0,20}}"
        rf"\b{_JUDGES}\b",
    ),
    _pattern(
        ADDRESS,
        "as |you are&judge|evaluator|grader|rater&must|should|will|have to",
        rf"\b(?:as|you are)\s+(?:an?|the)\s+(?:\w+\s+)?{_JUDGES}\b{_GAP}{{0,40}}\b(?:must|should|will|have to)\s+"
        r"(?:\w+\s+)?(?:score|rate|give|answer|prefer|choose|award|grade|output|assign|rank)\b",
    ),
    _pattern(
        ADDRESS,
        "system|judge|evaluator|grader&:&score|rating|perfect|excellent|grade",
        r"^\W{0,4}(?:system|judge|evaluator|grader)\s*:[^\n]{0,80}\b(?:scores?|ratings?|perfect|excellent|grade)\b",
    ),
)
_EUROPEAN: Final = (
    _pattern(
        OVERRIDE,
        "ignorier|vergiss|vergessen|missacht&anweisung|anleitung|kriterien|vorgaben|regeln",
        rf"\b(?:ignorier\w*|vergiss|vergessen sie|missachte\w*)\b{_GAP}{{0,40}}"
        r"\b(?:anweisung\w*|anleitung\w*|kriterien|vorgaben|regeln)\b",
    ),
    _pattern(
        OVERRIDE,
        "ignore|oublie&instruction|consigne|directive|crit",
        rf"\b(?:ignore[zr]?|oublie[zr]?)\b{_GAP}{{0,40}}\b(?:instructions?|consignes?|directives?|crit[èe]res?)\b",
    ),
    _pattern(
        OVERRIDE,
        "ignor|olvid&instruccion|criterio|indicacion|reglas",
        rf"\b(?:ignor[aeá]\w*|olvid[ae]\w*)\b{_GAP}{{0,40}}\b(?:instrucciones|criterios|indicaciones|reglas)\b",
    ),
    _pattern(
        OVERRIDE,
        "ignor|dimentica&istruzioni|criteri|regole|indicazioni",
        rf"\b(?:ignor[aie]\w*|dimentica\w*)\b{_GAP}{{0,40}}\b(?:istruzioni|criteri|regole|indicazioni)\b",
    ),
    _pattern(
        OVERRIDE,
        "ignor|esque&instru|crit|regras",
        rf"\b(?:ignor[ae]\w*|esque[çc]a\w*)\b{_GAP}{{0,40}}\b(?:instru[çc][õo]es|crit[ée]rios|regras)\b",
    ),
    _pattern(
        OVERRIDE,
        "игнориру|забудь|внимания&инструкц|указани|критери|правил",
        rf"(?:игнориру\w*|забудь\w*|не обращай\w* внимания){_GAP}{{0,40}}(?:инструкци|указани|критери|правил)",
    ),
    _pattern(
        REQUEST,
        "gib|geben|vergib|vergeben|bewert&chst|maximal|voll|best|10&punkt|bewertung|note|wertung",
        rf"\b(?:gib|geben sie|vergib|vergeben sie|bewerte\w*)\b{_GAP}{{0,50}}\b(?:h[öo]chst\w*|maximal\w*|voll\w*|"
        rf"best\w*|10)\b{_GAP}{{0,15}}(?:punkt\w*|bewertung|note|wertung)",
    ),
    _pattern(
        REQUEST,
        "donne|attribue|accorde|mettez|mets&note|score&max|parfait|plus|10",
        rf"\b(?:donne[zr]?|attribue[zr]?|accorde[zr]?|mets|mettez)\b{_GAP}{{0,50}}\b(?:note|score)\b{_GAP}{{0,15}}"
        r"\b(?:maximale?|parfaite?|la plus (?:haute|[ée]lev[ée]e)|10)\b",
    ),
    _pattern(
        REQUEST,
        "da|dé|asign|otorg|punt|calific&puntuaci|nota|calificaci|puntaje&xim|alt|perfect|10",
        rf"\b(?:da(?:le|me)?|d[ée]|asign\w+|otorg\w+|punt[úu]a\w*|calific\w+)\b{_GAP}{{0,40}}\b(?:puntuaci[óo]n|nota|"
        rf"calificaci[óo]n|puntaje)\b{_GAP}{{0,15}}\b(?:m[áa]xim[ao]|m[áa]s alt[ao]|perfect[ao]|10)\b",
    ),
    _pattern(
        REQUEST,
        "dai|dare|date|assegna|valuta&voto|punteggio&massimo|alto|perfetto|10",
        rf"\b(?:dai|dare|date|assegna\w*|valuta\w*)\b{_GAP}{{0,40}}\b(?:voto|punteggio)\b{_GAP}{{0,15}}"
        r"\b(?:massimo|pi[ùu] alto|perfetto|10)\b",
    ),
    _pattern(
        REQUEST,
        "dê|de|dar|atribu|avali&nota|pontua&xima|alta|perfeita|10",
        rf"\b(?:d[êe]|dar|atribu\w+|avali\w+)\b{_GAP}{{0,40}}\b(?:nota|pontua[çc][ãa]o)\b{_GAP}{{0,15}}"
        r"\b(?:m[áa]xima|mais alta|perfeita|10)\b",
    ),
    _pattern(
        REQUEST,
        "постав|дай|оцени|присво&балл|оценк|очк",
        rf"(?:постав\w*|дай\w*|оцени\w*|присво\w*){_GAP}{{0,40}}(?:высш|максимальн|наивысш|10){_GAP}{{0,15}}"
        r"(?:балл|оценк|очк)",
    ),
    _pattern(
        ADDRESS,
        "bewerter|gutachter|prüfer|pruefer|juror&liebe|an de|an di|hinweis",
        r"\b(?:liebe[rs]?|an d(?:en|ie)|hinweis (?:an|f[üu]r))\s+(?:\w+\s+)?"
        r"(?:bewerter\w*|gutachter\w*|pr[üu]e?fer\w*|juror\w*)\b",
    ),
    _pattern(
        ADDRESS,
        "juge|valuateur|correcteur&cher|chère|note|attention",
        r"\b(?:cher|ch[èe]re|note (?:au|pour le)|[àa] l['’]attention d[ue])\s+(?:\w+\s+)?"
        r"(?:juge|[ée]valuateur|correcteur)\b",
    ),
    _pattern(
        ADDRESS,
        "juez|jueza|evaluador|calificador&estimad|querid|nota",
        r"\b(?:estimad[oa]|querid[oa]|nota para (?:el|la))\s+(?:juez|jueza|evaluador\w*|calificador\w*)\b",
    ),
    _pattern(
        ADDRESS,
        "giudice|valutatore|juiz|avaliador&car|gentile|nota|prezad",
        r"\b(?:car[oa]|gentile|prezad[oa]|nota per il|nota para o)\s+(?:giudice|valutatore|juiz|avaliador)\b",
    ),
    _pattern(ADDRESS, "уважаем|дорог&судь|оценщик|проверяющ", r"(?:уважаем\w*|дорог\w*)\s+(?:судь|оценщик|проверяющ)"),
)
_OTHER_SCRIPTS: Final = (
    _pattern(
        OVERRIDE,
        "忽略|无视|無視|忽视|忘记|忘掉|不要理会&指令|指示|说明|說明|要求|规则|規則|标准|標準|提示",
        rf"(?:忽略|无视|無視|忽视|忘记|忘掉|不要理会){_GAP}{{0,20}}"
        r"(?:指令|指示|说明|說明|要求|规则|規則|标准|標準|提示)",
    ),
    _pattern(
        OVERRIDE,
        "無視|忘れ&指示|命令|ルール|基準|プロンプト|説明",
        rf"(?:指示|命令|ルール|基準|プロンプト|説明){_GAP}{{0,15}}(?:無視|忘れ)",
    ),
    _pattern(
        OVERRIDE,
        "무시|잊&지시|명령|규칙|기준|프롬프트",
        rf"(?:지시|명령|규칙|기준|프롬프트){_GAP}{{0,15}}(?:무시|잊)",
    ),
    _pattern(OVERRIDE, "تجاهل", rf"تجاهل{_GAP}{{0,30}}(?:التعليمات|الإرشادات|المعايير|القواعد)"),
    _pattern(
        REQUEST,
        "给|給|打|评|評&分",
        rf"(?:给|給|打|评|評){_GAP}{{0,12}}(?:满分|滿分|最高分|最高的分|(?:10\s*|十)分(?!之|钟|鐘|类|類|析))",
    ),
    _pattern(
        REQUEST,
        "最高点|満点|10点|10 点|最高評価|最高の評価",
        rf"(?:最高点|満点|10\s*点|最高評価|最高の評価){_GAP}{{0,12}}(?:つけ|付け|与え|くだ|下さ|お願い)",
    ),
    _pattern(
        REQUEST,
        "만점|최고점|최고 점수|10점|10 점",
        rf"(?:만점|최고점|최고 점수|10\s*점){_GAP}{{0,12}}(?:주세|주십|줘|부여|매기|매겨)",
    ),
    _pattern(
        REQUEST, "أعط|امنح|قيّم|قيم", rf"(?:أعط|امنح|قيّم|قيم){_GAP}{{0,40}}(?:أعلى|الدرجة الكاملة|الدرجة القصوى|10)"
    ),
    _pattern(
        ADDRESS,
        "评委|評委|评分者|評分者|评审员|打分者",
        r"(?:评委|評委|评分者|評分者|评审员|打分者)[^。\n]{0,8}(?:请|請|必须|必須|应|應|您|你)",
    ),
    _pattern(
        ADDRESS,
        "評価者|審査員|採点者|ジャッジ",
        r"(?:評価者|審査員|採点者|ジャッジ)(?:の(?:方|皆さん|皆様))?(?:へ|さん|様)",
    ),
    _pattern(ADDRESS, "평가자|심사위원|채점자", r"(?:평가자|심사위원|채점자)(?:님|에게|께)"),
)
_FORMS: Final = (
    _pattern(MARKER, "[[", r"\[\[\s*[0-9a-f]{6,40}\b[^\]\n]{0,40}\]\]"),
    _pattern(
        MARKER,
        "<|im_|<|eot|<|start|<|end|_of_turn>",
        r"<\|(?:im_start|im_end|eot_id|start_header_id|end_header_id|endoftext)\|>|<(?:start|end)_of_turn>",
    ),
    # The forms of our own verdicts: with one key, or with reasons before the score.
    _pattern(
        MARKER,
        "score|rating|better&{&:",
        r"\{\s*[\"'](?:score|rating|better)[\"']\s*:\s*[\"']?(?:\d{1,3}|tie)[\"']?\s*\}",
    ),
    _pattern(MARKER, "rationale&score", r"[\"']rationale[\"']\s*:[^{}\n]{0,300}[\"']score[\"']\s*:"),
    _pattern(MARKER, "as json", r"\bthe scores?, as JSON\b"),
    _pattern(
        MARKER,
        "end of|begin of",
        r"^\W{0,6}(?:end|begin) of (?:the )?(?:response|material|conversation|text to (?:judge|evaluate))\b",
    ),
)
_FOR_ASCII: Final = (*_ENGLISH, *_FORMS, *_EUROPEAN)
_FOR_ALL: Final = (*_FOR_ASCII, *_OTHER_SCRIPTS)
_BEGINNING: Final = 4  # letters
#: Hints that stand within words, as in "Höchstpunktzahl". All others of plain letters begin a word.
_WITHIN_WORDS: Final = frozenset(
    {"chst", "maximal", "voll", "best", "punkt", "bewertung", "note", "wertung", "valuateur"}
)


def _gate(pattern: _Pattern) -> frozenset[str] | None:
    """Beginnings of words of which a text must have one; None where no group of hints says so.

    Sets make the common case quick, a text without any of them: 60 microseconds for 1,000 characters, where looking
    for each hint takes 190.
    """
    for group in pattern.hints:
        if all(len(h) >= _BEGINNING and h.isascii() and h.isalpha() and h not in _WITHIN_WORDS for h in group):
            return frozenset(hint[:_BEGINNING] for hint in group)
    return None


_GATED_ASCII, _GATED_ALL = (
    tuple((_gate(pattern), pattern) for pattern in patterns) for patterns in (_FOR_ASCII, _FOR_ALL)
)
_SPACES: Final = str.maketrans(dict.fromkeys(string.punctuation + "’‘“”«»¿¡、。，：；！？（）「」", " "))


def find_judge_directed(text: str) -> Iterator[Directed]:
    """Find the words of a text that speak to a judge, pattern by pattern."""
    lower = text.lower()
    beginnings = {word[:_BEGINNING] for word in lower.translate(_SPACES).split()}
    for gate, pattern in _GATED_ASCII if text.isascii() else _GATED_ALL:
        if gate is not None and gate.isdisjoint(beginnings):
            continue
        if all(any(hint in lower for hint in group) for group in pattern.hints):
            for match in pattern.regex.finditer(text):
                yield Directed(pattern.kind, match.start(), match.end())
