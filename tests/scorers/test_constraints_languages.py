"""Verifiable constraints in Spanish, French, Japanese and Chinese: every kind by hand, and hostile text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_datamap.data.example import Constraint
from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints import CONSTRAINTS, LANGUAGES, Checker, check


def met(kind: str, response: str, **kwargs: object) -> bool:
    return check(response, [Constraint(kind, kwargs)])[0]


SPANISH = [
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "al menos"}, "ÑU, OTAN", "ÑU"),
    ("change_case:spanish_capital", {}, "HOY HACE MUY BUEN TIEMPO EN LA CIUDAD", "TODAY THE WEATHER IS GOOD"),
    ("change_case:spanish_lowercase", {}, "hoy hace muy buen tiempo en la ciudad", "Hoy hace muy buen tiempo"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Di hola."}, "di hola. Hola.", "Hola."),
    ("combination:two_responses", {}, "uno ****** dos", "uno"),
    ("detectable_content:number_placeholders", {"num_placeholders": 1, "relation": "al menos"}, "[a]", "a"),
    ("detectable_content:postscript", {"postscript_marker": "P.D."}, "x\nP. D. y", "x PD y"),
    ("detectable_content:postscript", {"postscript_marker": "Nota"}, "NOTA: y", "y"),
    ("detectable_format:constrained_response", {}, "Digo: Sí.", "Sí"),
    ("detectable_format:json_format", {}, "{}", "{"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECCIÓN", "num_sections": 1, "relation": "al menos"},
        "SECCIÓN 1",
        "Sección 1",
    ),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "* a\n- b", "- b"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1, "relation": "al menos"}, "*a*", "a"),
    ("detectable_format:title", {}, "<<a>>", "<a>"),
    ("keywords:existence", {"keywords": ["ADN"]}, "adn", "arn"),
    ("keywords:forbidden_words", {"forbidden_words": ["éxito"]}, "éxitos", "ÉXITO"),
    ("keywords:frequency", {"keyword": "éxito", "frequency": 1, "relation": "como máximo"}, "Éxito", "éxito éxito"),
    ("keywords:letter_frequency", {"letter": "a", "let_frequency": 2, "let_relation": "al menos"}, "Aa", "a"),
    ("language:response_language", {"language": "es"}, "Hoy hace muy buen tiempo", "The weather is fine today"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "En mi opinión"},
        "Uno.\n\n'En mi opinión, sí",
        "Uno.\n\nEn mi casa",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a *** b", "a"),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "como máximo"},
        "1. Sí.\n2. No.",
        "A. B? C.",
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": "como máximo"}, "«uno», dos-tres y", "a b,c d"),
    ("punctuation:exclamation_marks", {}, "¡Hola!", "¡!Hola!"),
    ("punctuation:no_comma", {}, "a; b", "a, b"),
    ("punctuation:question_marks", {}, "a ¿Qué\ntal? b", "Qué? ¿¿ ?"),
    ("special_character:dieresis", {"let_frequency": 1}, "pingüino", "pinguino"),
    ("special_character:enie", {"let_frequency": 2}, "Ñu y niño", "niño"),
    ("special_character:tildes", {"num_words": 1, "relation": "como máximo"}, "avión", "camión rápido"),
    ("startend:end_checker", {"end_phrase": "Un saludo"}, "Y nada. Un saludo.", "Un saludo y adiós"),
    ("startend:end_checker", {"end_phrase": "¿Algo más?"}, "Fin. ¿Algo más?", "¿Algo más? No"),
    ("startend:quotation", {}, '"a"', "«a»"),
]


FRENCH = [
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "au moins"}, "UE OTAN", "UE"),
    ("change_case:french_capital", {}, "IL FAIT TRÈS BEAU AUJOURD'HUI DANS LA VILLE", "THE WEATHER IS GOOD TODAY"),
    ("change_case:french_lowercase", {}, "il fait très beau aujourd'hui dans la ville", "Il fait très beau"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Dis oui."}, "dis oui. Oui.", "Oui."),
    ("combination:two_responses", {}, "un ****** deux", "un"),
    ("detectable_content:informal_address", {}, "Que veux-tu ?", "Que voulez-vous ?"),
    ("detectable_content:no_digits", {}, "deux", "2"),
    ("detectable_content:number_placeholders", {"num_placeholders": 1}, "[a]", "a"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "P.S. a", "PS a"),
    ("detectable_format:constrained_response", {}, "Je dis : Peut-être.", "Peut-être"),
    ("detectable_format:json_format", {}, "{}", "{"),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 1}, "Section 1", "Section"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "*a*", "a"),
    ("detectable_format:title", {}, "##hymne à la joie##", "## Titre"),
    ("keywords:existence", {"keywords": ["été"]}, "L'ÉTÉ", "ete"),
    ("keywords:forbidden_words", {"forbidden_words": ["été"]}, "étés", "été"),
    ("keywords:frequency", {"keyword": "oui", "frequency": 2, "relation": "moins de"}, "Oui", "oui oui"),
    ("keywords:letter_frequency", {"letter": "a", "let_frequency": 2, "let_relation": "au moins"}, "Aa", "à a"),
    ("language:response_language", {"language": "fr"}, "Il fait très beau aujourd'hui", "The weather is good today"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Puis"},
        "Un.\n\nPuis, deux",
        "Un.\n\nEnfin",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a *** b", "a"),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "moins de"},
        "Voir Mme. Du, etc. ici",
        "A. B?",
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": "au moins"}, "l'été va", "été va"),
    ("punctuation:no_comma", {}, "a ; b", "a, b"),
    ("special_character:accents", {"word_to_accentuate": {"lecon": "leçon", "a": None}}, "La Leçon, à", "la lecon"),
    ("special_character:ethel_or_cedilla", {"forbidden_char": "ç"}, "ca", "Ça"),
    ("special_character:no_accents", {}, "ete", "été"),
    ("startend:end_checker", {"end_phrase": "Merci."}, "Bien. Merci.", "Merci. Bien"),
    ("startend:quotation", {}, "« oui »", "« oui"),
]

JAPANESE = [
    ("combination:repeat_prompt", {"prompt_to_repeat": "言って。"}, "言って。はい", "はい"),
    ("combination:two_responses", {}, "一 ****** 二", "一"),
    ("detectable_content:number_placeholders", {"num_placeholders": 1}, "[名前]", "名前"),
    ("detectable_content:postscript", {"postscript_marker": "追伸"}, "本文\n追伸 あ", "本文"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "p.s. あ", "ps"),
    ("detectable_format:constrained_response", {}, "はい、そうです。", "はい"),
    ("detectable_format:json_format", {}, "{}", "{"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "章", "num_sections": 2},
        "第1章 あ\n第２章 い",
        "第1章",
    ),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "・一\n ・二\n・・三", "・一"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "《強調》", "《 》"),
    (
        "detectable_format:nominal_ending",
        {"count": 3},
        "千年の都、京都。四季の美しさ。静かなひととき！",
        "京都。「東京。」とても美しい。雨が降る。それは夢です。",
    ),
    ("detectable_format:number_numbered_lists", {"num_items": 2}, "1. 一\n 2. 二\n3.三", "1. 一"),
    ("detectable_format:title", {}, "『喜び』", "『』"),
    ("keywords:existence", {"keywords": ["桜"]}, "桜が咲く", "梅が咲く"),
    ("keywords:forbidden_words", {"forbidden_words": ["桜"]}, "梅が咲く", "桜が咲く"),
    ("keywords:frequency", {"keyword": "桜", "frequency": 2, "relation": "以上"}, "桜と桜", "桜"),
    ("keywords:letter_frequency", {"letter": "あ", "let_frequency": 2, "let_relation": "以上"}, "あア", "あ"),
    ("language:response_language", {"language": "ja"}, "今日はとても良い天気です。", "The weather is good"),
    ("length_constraints:number_letters", {"num_letters": 3, "relation": "未満"}, "あい", "あいう"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "一 *** 二", "一"),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "以上"},
        "はい。「ああ。いい。」だ！\n以上",
        "私の\n本。は",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "次に"},
        "一\n\n「次に行く",
        "一\n\n二",
    ),
    ("letters:furigana", {}, "漢字（かんじ）です", "漢字です"),
    ("letters:hiragana_only", {}, "はい、そうです。", "ハイ"),
    ("letters:kanji", {"kanji_limit": 2, "relation": "未満"}, "漢です", "漢字です"),
    ("letters:kansuuji", {}, "二つ", "２つ"),
    ("letters:katakana_only", {}, "ハイ、ソウデス。", "はい"),
    ("letters:no_hiragana", {}, "漢字", "漢字だ"),
    ("letters:no_katakana", {}, "漢字", "漢字ダ"),
    ("punctuation:no_comma", {}, "はい。", "はい、"),
    ("punctuation:no_period", {}, "はい", "はい。"),
    ("startend:end_checker", {"end_phrase": "以上です。"}, "「以上です。」", "以上です。はい"),
    ("startend:quotation", {}, "「はい」", "「はい"),
    ("startend:sentence_unified_end", {"ending": "です"}, "「違う。」雨です。晴れです。", "雨です。晴れ。"),
]

CHINESE = [
    ("combination:repeat_prompt", {"prompt_to_repeat": "说好。"}, "说好。好", "好"),
    ("combination:two_responses", {}, "一 ****** 二", "一"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[姓名]，【地址】", "【姓名】"),
    ("detectable_content:postscript", {"postscript_marker": "附言"}, "正文\n附言：好", "正文"),
    ("detectable_format:json_format", {}, '{"答": 1}', "{"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "部分", "num_sections": 2},
        "第一部分 好\n第 12 部分 好",
        "第一部分 好\n各部分",
    ),
    ("detectable_format:multiple_sections", {"section_spliter": "章节", "num_sections": 2}, "章节 1\n章节二", "章节1"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 3}, "* 一\n- 二\n• 三", "* 一\n- 二"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "*重点*", "重点"),
    ("detectable_format:number_numbered_lists", {"num_items": 4}, "1. 甲\n2、乙\n（三）丙\n四、丁", "3.14\n1. 甲"),
    ("detectable_format:title", {}, "<<春天>>", "春天"),
    ("keywords:existence", {"keywords": ["樱花"]}, "樱花开了", "櫻花開了"),
    ("keywords:forbidden_words", {"forbidden_words": ["樱花"]}, "梅花", "樱花开了"),
    ("keywords:frequency", {"keyword": "花", "frequency": 2, "relation": "少于"}, "花", "花花"),
    ("keywords:letter_frequency", {"letter": "的", "let_frequency": 2, "let_relation": "at least"}, "我的你的", "我的"),
    ("language:response_language", {"language": "zh"}, "今天天气很好，我们去公园散步。", "The weather is good"),
    ("length_constraints:number_letters", {"num_letters": 5, "relation": "至少"}, "用GPT写。好吗", "用GPT写。"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "一 *** 二", "一"),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "至少"},
        "他说：“好。走吧！”然后走了。真的吗？！\n是的",
        "“一。二。三。”他说。\n……",
    ),
    ("length_constraints:number_words", {"num_words": 4, "relation": "less than"}, "我用GPT。", "我们用GPT。"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "其次"},
        "一\n\n“其次，二",
        "一\n\n二",
    ),
    ("punctuation:no_comma", {}, "甲、乙。", "甲，乙"),
    ("punctuation:no_period", {}, "好", "好。"),
    ("startend:end_checker", {"end_phrase": "完毕。"}, "好。“完毕。”", "完毕。好"),
    ("startend:quotation", {}, "“好”", "“好"),
]

CASES = [
    (f"{language}:{case[0]}", *case[1:])
    for language, cases in (("es", SPANISH), ("fr", FRENCH), ("ja", JAPANESE), ("zh", CHINESE))
    for case in cases
]
ALL = [Constraint(kind, kwargs) for kind, kwargs, _, _ in CASES]


@pytest.mark.parametrize(("kind", "kwargs", "good", "bad"), CASES)
def test_by_hand(kind, kwargs, good, bad):
    assert met(kind, good, **kwargs)
    assert not met(kind, bad, **kwargs)


def test_every_kind_has_a_case():
    kinds = {f"{language}:{kind}" for language, kinds in LANGUAGES.items() for kind in kinds if language != "en"}
    assert {case[0] for case in CASES} == kinds
    assert LANGUAGES["en"] == CONSTRAINTS


def test_a_comparison_has_the_names_of_its_language():
    with pytest.raises(RowError, match="'al menos' or 'como máximo'"):
        met("es:keywords:frequency", "a", keyword="a", frequency=1, relation="at least")
    with pytest.raises(RowError, match="unknown constraint 'special_character:enie'"):
        met("special_character:enie", "ñ", let_frequency=1)


def test_a_mapping_is_asked_for():
    with pytest.raises(RowError, match="a mapping of texts to texts"):
        met("fr:special_character:accents", "a", word_to_accentuate=["lecon"])


HOSTILE = [
    "a",
    "*",
    "\n",
    " ",
    ".",
    "¿",
    "¡",
    "ñ,",
    "¿?",
    "「",
    "」「",
    "『",
    "《",
    "(",
    "漢",
    "漢（",
    "第1",
    "の\n",
    "#",
    "##",
    "\ud800",
    "1. ",
    "“",
    "”“",
    "（",
    "第一",
    "【",
    "一",
    "。",
]


@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_a_long_text_of_anything(piece):
    """Quadratic time would take hours and run into the timeout of every test."""
    Checker(ALL).both(piece * (200_000 // len(piece)))


@given(
    st.one_of(
        st.text(max_size=100),
        st.lists(st.sampled_from([*HOSTILE, "¿Qué?", "第1章", "です。"]), max_size=20).map("".join),
    )
)
@settings(deadline=None)
def test_never_fails_and_loose_is_never_stricter(response):
    both = Checker(ALL).both(response)
    assert all(loose >= strict for strict, loose in both)
    assert [strict for strict, _ in both] == check(response, ALL)
