"""if-verifiable over rows of ids, kwargs and response: ``drive_if_verifiable.py ROWS.json``."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import defaultdict
from pathlib import Path

import langdetect
import material
import nltk.tokenize
from if_verifiable.common import evaluate_instructions
from if_verifiable.ifeval import instructions_util
from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
from punkt.data import english


def sentence_tokenizer() -> PunktSentenceTokenizer:
    """NLTK's own tokenizer with NLTK's own English model, from a package instead of its download."""
    learnt = PunktParameters()
    learnt.abbrev_types = set(english.ABBREV_TYPES)
    learnt.collocations = set(english.COLLOCATIONS)
    learnt.sent_starters = set(english.SENT_STARTERS)
    learnt.ortho_context = defaultdict(int, english.ORTHO_CONTEXT)
    return PunktSentenceTokenizer(learnt)


def main(path: str) -> None:
    tokenizer = sentence_tokenizer()
    instructions_util._get_sentence_tokenizer = lambda: tokenizer  # the pickle it asks for is no longer distributed
    nltk.tokenize._get_punkt_tokenizer = lambda language="english": tokenizer
    logging.disable(logging.CRITICAL)
    langdetect.DetectorFactory.seed = 0
    rows = json.loads(Path(path).read_text(encoding="utf-8"))
    evaluate_instructions("warm up", ["language:response_language"], [{"language": "en"}], "", INSTRUCTION_DICT)
    took = float("inf")
    for _ in range(3):  # the best of three, as ours
        start = time.perf_counter()
        found = [evaluate_instructions(text, ids, kwargs, "", INSTRUCTION_DICT)[0] for ids, kwargs, text in rows]
        took = min(took, time.perf_counter() - start)
    verdicts = [[[bool(one.strict_pass), bool(one.loose_pass)] for one in row] for row in found]
    material.report("if-verifiable", "nltk", rows=len(rows), seconds=took, verdicts=verdicts)


if __name__ == "__main__":
    main(sys.argv[1])
