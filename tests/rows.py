"""Preference rows whose responses carry the score that the graded server gives them: ``Answer 3 [8]`` gets 8."""

from __future__ import annotations

import re
from typing import Any

from tests.servers.llm import Reply, completion

SCORE_TYPES = {
    "datamap_scores": "list<element: float>",
    "datamap_mean": "float",
    "datamap_variance": "float",
    "datamap_noise": "float",
    "datamap_status": "string",
    "datamap_error": "string",
}


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Pairs with a score of 6 to 10 for the chosen response, and 1 to 3 for the rejected one."""
    return [
        {
            "prompt": f"Question {i}?",
            "chosen": f"Good answer {i} [{6 + i % 5}]",
            "rejected": f"Bad answer {i} [{1 + i % 3}]",
        }
        for i in range(start, start + count)
    ]


def scores(count: int, start: int = 0) -> list[list[float]]:
    """What a judge must give those rows."""
    return [[6.0 + i % 5, 1.0 + i % 3] for i in range(start, start + count)]


def parts_of(request: dict[str, Any]) -> list[tuple[str, str]]:
    """What a judge is shown, by the names that the markers give, as it would read it."""
    system, user = (message["content"] for message in request["messages"])
    code = re.search(r"marker line with the code ([0-9a-f]{12}) ", system)[1]
    pieces = re.split(rf"^\[\[{code} ([a-z0-9 ]+)\]\]\n", user, flags=re.MULTILINE)
    assert (pieces[0], pieces[-2]) == ("", "end"), "material outside the markers"
    return list(zip(pieces[1:-2:2], (text.removesuffix("\n\n") for text in pieces[2:-2:2]), strict=True))


def responses_of(request: dict[str, Any]) -> dict[str, str]:
    """The responses that a request asks about, by number; the one of a pointwise request is number 1."""
    return {name[8:].strip() or "1": text for name, text in parts_of(request) if name.startswith("response")}


def response_of(request: dict[str, Any]) -> str:
    """The one response that a request asks about."""
    return responses_of(request)["1"]


def grade(request: dict[str, Any]) -> int:
    """The score that a response carries."""
    return int(re.findall(r"\[(\d+)\]", response_of(request))[-1])


def graded(request: dict[str, Any], _: int = 0) -> Reply:
    """A completion with the score that the response carries; a script for `LLMServer`."""
    return completion(request, f'{{"score": {grade(request)}}}')
