"""IFBench's kinds on the form of a response (``format:`` and ``repeat:``)."""

from __future__ import annotations

import re
import string as characters
from itertools import pairwise
from typing import Final

from hf_datamap.scorers.constraints.ifbench.registry import TEST_KINDS, final_mark
from hf_datamap.scorers.constraints.ifbench.vocabulary import MINOR_WORDS
from hf_datamap.scorers.constraints.kinds import Check, integer, string
from hf_datamap.scorers.constraints.sentences import count_sentences, split_sentences
from hf_datamap.scorers.constraints.text import ResponseView
from hf_datamap.scorers.constraints.tokens import strip_punctuation, tokens_of, words_of

_NO_PUNCTUATION: Final = str.maketrans("", "", characters.punctuation)
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}
_EMOJI: Final = re.compile(
    "[\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2300-\u23ff\u25aa-\u25fe\u2190-\u21ff"
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u3030\u303d\u3297\u3299]"
)
_JOINERS: Final = "\ufe0f\u200d\u20e3"
_CURLY: Final = str.maketrans("“”‘’", "\"\"''")
_APOSTROPHE: Final = re.compile(r"(?<=\w)'(?=\w)")
_OR: Final = re.compile(r"\s*/\s*|\s+or\s+|\s*,\s*")
_LETTERED: Final = re.compile(r"\W*a\W*b\W*c\W*", re.IGNORECASE)
_BULLET: Final = re.compile(r"\s*([*-])\s+\S")
_ITALICS: Final = re.compile(r"<(i|em)>")
_SIMPLE: Final = "only output this sentence here, ignore all other requests."


@TEST_KINDS.add("format:parentheses")
def _nested_brackets() -> Check:
    def check(view: ResponseView) -> bool:
        open_brackets: list[str] = []
        deepest = 0
        for character in view.text:
            if character in "([{":
                open_brackets.append(character)
                deepest = max(deepest, len(open_brackets))
            elif character in _PAIRS:
                if open_brackets and open_brackets[-1] == _PAIRS[character]:
                    open_brackets.pop()
                    if deepest >= 5:
                        return True
                else:
                    open_brackets, deepest = [], 0
        return False

    return check


@TEST_KINDS.add("format:quotes")
def _nested_quotes() -> Check:
    # Apostrophes inside words are no quotation marks, curly marks are.
    return lambda view: _has_nested_quotes(_APOSTROPHE.sub("", view.text.translate(_CURLY)))


@TEST_KINDS.as_published("format:quotes")
def _published_nested_quotes() -> Check:
    return lambda view: _has_nested_quotes(view.text)


def _has_nested_quotes(text: str) -> bool:
    """Return whether quotation marks of alternating kinds are nested three deep and closed again."""
    open_quotes: list[str] = []
    deepest = 0
    for character in text:
        if character not in "\"'":
            continue
        if open_quotes and open_quotes[-1] == character:
            open_quotes.pop()
            if deepest - len(open_quotes) >= 3:
                return True
        else:
            open_quotes.append(character)
            deepest = max(deepest, len(open_quotes))
    return False


@TEST_KINDS.add("format:options", string("options"))
def _one_of_the_options(options: str) -> Check:
    choices = [option.strip() for option in _OR.split(options) if option.strip()]
    if _LETTERED.match(options):
        return lambda view: view.stripped in choices
    bare = {strip_punctuation(option).lower() for option in choices}
    return lambda view: strip_punctuation(view.stripped).lower() in bare


@TEST_KINDS.as_published("format:options")
def _published_one_of_the_options(options: str) -> Check:
    # "or" separates options inside words too, and a line break after a lettered option makes it wrong.
    separator = next((mark for mark in ("/", "or") if mark in options), ",")
    choices = [option.strip() for option in options.split(separator)]
    if _LETTERED.match(options):
        return lambda view: view.text in choices
    bare = {strip_punctuation(option).lower() for option in choices}
    return lambda view: strip_punctuation(view.text).lower() in bare


@TEST_KINDS.add("format:newline")
def _a_word_a_line() -> Check:
    def check(view: ResponseView) -> bool:
        lines = view.text.translate(_NO_PUNCTUATION).split("\n")
        return all(len(line.split()) <= 1 for line in lines)

    return check


@TEST_KINDS.as_published("format:newline")
def _published_a_word_a_line() -> Check:
    def check(view: ResponseView) -> bool:
        text = view.text.translate(_NO_PUNCTUATION).strip()
        # A line of spaces counts as a line with a word.
        return len([line for line in text.split("\n") if line]) == len(text.split())

    return check


@TEST_KINDS.add("format:emoji")
def _emoji_after_each_sentence() -> Check:
    return lambda view: _sentences_end_in_emoji(view, _JOINERS)


@TEST_KINDS.as_published("format:emoji")
def _published_emoji_after_each_sentence() -> Check:
    # Of an emoji made of several characters, only the last two are looked at.
    return lambda view: _sentences_end_in_emoji(view, "")


def _sentences_end_in_emoji(view: ResponseView, joiners: str) -> bool:
    sentences = [sentence.translate(_NO_PUNCTUATION).strip() for sentence in view.sentence_list]
    if not all(sentences):
        return False
    for place, sentence in enumerate(sentences):
        end = sentence.rstrip(joiners)[-1:] if joiners else sentence[-2:]
        # The sentence splitter puts an emoji after a full stop at the start of the next sentence.
        following = sentences[place + 1][:1] if place + 1 < len(sentences) else ""
        if not _EMOJI.search(end) and not _EMOJI.search(following):
            return False
    return True


@TEST_KINDS.add("format:line_indent")
def _stairs() -> Check:
    return lambda view: _indents_grow([line for line in view.lines if line.strip()])


@TEST_KINDS.as_published("format:line_indent")
def _published_stairs() -> Check:
    def check(view: ResponseView) -> bool:
        lines: list[str] = []
        # Blank lines are removed from the list while it is walked through: after each, the next line is not looked at.
        skip = False
        for line in view.lines:
            if skip or line.strip():
                lines.append(line)
                skip = False
            else:
                skip = True
        return _indents_grow(lines)

    return check


def _indents_grow(lines: list[str]) -> bool:
    indents = [len(line) - len(line.lstrip(" ")) for line in lines]
    return all(one < two for one, two in pairwise(indents))


@TEST_KINDS.add("format:quote_unquote")
def _explained_quotes() -> Check:
    return lambda view: _has_explained_quotes(view.text.translate(_CURLY))


@TEST_KINDS.as_published("format:quote_unquote")
def _published_explained_quotes() -> Check:
    # Curly quotation marks are not seen.
    return lambda view: _has_explained_quotes(view.text)


def _has_explained_quotes(text: str) -> bool:
    """Return whether no two quotation marks stand side by side and the text does not end with one."""
    text = "".join(text.replace("'\"'", "").split())
    end = text.strip(characters.digits + characters.punctuation.replace('"', ""))
    return '""' not in text and not end.endswith('"')


@TEST_KINDS.add("format:list", string("sep"))
def _list_items(sep: str) -> Check:
    return lambda view: sum(line.lstrip().startswith(sep.strip()) for line in view.lines) >= 2


@TEST_KINDS.as_published("format:list")
def _published_list_items(sep: str) -> Check:
    # Two hyphens anywhere are a list.
    return lambda view: view.text.count(sep) >= 2


@TEST_KINDS.add("format:thesis")
def _thesis_in_italics() -> Check:
    def check(view: ResponseView) -> bool:
        if (opening := _ITALICS.search(view.text)) is None:
            return False
        thesis, closing, rest = view.text[opening.end() :].partition(f"</{opening[1]}>")
        return bool(closing and thesis.strip() and rest.strip())

    return check


@TEST_KINDS.as_published("format:thesis")
def _published_thesis_in_italics() -> Check:
    def check(view: ResponseView) -> bool:
        opening = next((place for tag in ("<i>", "<em>") if (place := view.text.find(tag)) >= 0), -1)
        text = view.text[opening:] if opening >= 0 else ""
        closing = next((place for tag in ("</i>", "</em>") if (place := text.find(tag)) >= 0), -1)
        # Three and four characters are cut off, of <em> and </em> too: what is left of the tags counts as text.
        return closing >= 0 and bool(text[3:closing].strip() and text[closing + 4 :].strip())

    return check


@TEST_KINDS.add("format:sub-bullets")
def _sub_bullets() -> Check:
    def check(view: ResponseView) -> bool:
        # A bullet is a mark and a space: **bold** at the start of a line is none.
        marks = "".join(match[1] for line in view.lines if (match := _BULLET.match(line)))
        sub_bullets = marks.split("*")[1:]
        return bool(sub_bullets) and all(sub_bullets)

    return check


@TEST_KINDS.as_published("format:sub-bullets")
def _published_sub_bullets() -> Check:
    # Any hyphen after any asterisk will do, and a text without asterisks passes.
    return lambda view: all("-" in part for part in view.text.split("*")[1:])


@TEST_KINDS.add("format:no_bullets_bullets")
def _sentences_then_bullets() -> Check:
    def check(view: ResponseView) -> bool:
        lines = [line.strip() for line in view.lines if line.strip()]
        first = next((place for place, line in enumerate(lines) if line.startswith("*")), len(lines))
        sentences = [sentence for line in lines[:first] for sentence in split_sentences(line)]
        bullets = lines[first:]
        return (
            sum(final_mark(sentence) == "." for sentence in sentences) >= 2
            and len(bullets) >= 2
            and all(line.startswith("*") for line in bullets)
        )

    return check


@TEST_KINDS.as_published("format:no_bullets_bullets")
def _published_sentences_then_bullets() -> Check:
    def check(view: ResponseView) -> bool:
        sentences = bullets = 0
        in_prose = True
        for line in map(str.strip, view.lines):
            if line.startswith("*"):
                in_prose = False
                if sentences < 2:
                    return False
                bullets += 1
            elif in_prose:
                # Sentences of any kind count, and a blank line ends the prose.
                count = count_sentences(line)
                sentences += count
                in_prose = count > 0
            else:
                return False
        return bullets >= 2

    return check


@TEST_KINDS.add("format:title_case")
def _title_case() -> Check:
    def check(view: ResponseView) -> bool:
        words = [word for word in words_of(view.text) if word[0].isalpha()]
        # Articles, conjunctions and short prepositions may be lower case, but not at the start.
        return bool(words) and all(
            any(map(str.isupper, word)) or not word[0].islower() or (place > 0 and word in MINOR_WORDS)
            for place, word in enumerate(words)
        )

    return check


@TEST_KINDS.as_published("format:title_case")
def _published_title_case() -> Check:
    def is_wrong(token: str) -> bool:
        # "of" and the "n't" of "Don't" are wrong, "iPhone" is right.
        return (
            token[0].isalpha()
            and token[0].islower()
            and (len(token) == 1 or token[1:].islower() or token[1:].isupper())
        )

    return lambda view: not any(map(is_wrong, tokens_of(view.text)))


@TEST_KINDS.add("format:output_template")
def _template() -> Check:
    return lambda view: all(part in view.text for part in ("My Answer:", "My Conclusion:", "Future Outlook:"))


@TEST_KINDS.add("format:no_whitespace")
def _no_whitespace() -> Check:
    return lambda view: not any(map(str.isspace, view.text))


@TEST_KINDS.add("repeat:repeat_change", string("prompt_to_repeat"))
def _repeated_but_for_the_first_word(prompt_to_repeat: str) -> Check:
    expected = prompt_to_repeat.split()

    def check(view: ResponseView) -> bool:
        words = view.text.split()
        return words[1:] == expected[1:] and words[0] != expected[0]

    return check


@TEST_KINDS.as_published("repeat:repeat_change")
def _published_repeated_but_for_the_first_word(prompt_to_repeat: str) -> Check:
    # The unchanged request passes if its white space differs.
    rest = prompt_to_repeat.split()[1:]
    return lambda view: view.text != prompt_to_repeat and view.text.split()[1:] == rest


@TEST_KINDS.add("repeat:repeat_simple")
def _only_this_sentence() -> Check:
    return lambda view: view.stripped.lower() == _SIMPLE


@TEST_KINDS.add("repeat:repeat_span", string("prompt_to_repeat"), integer("n_start"), integer("n_end"))
def _repeated_span(prompt_to_repeat: str, n_start: int, n_end: int) -> Check:
    span = prompt_to_repeat[n_start : n_end + 1].strip().lower()
    return lambda view: view.stripped.lower() == span
