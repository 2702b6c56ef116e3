"""What a judge writes, in the shape that it was asked for: ours, distilabel's UltraFeedback, twelve-angry-llms'.

So that several packages can be measured against the same server, each with replies that its own parser accepts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from tests.servers.llm import Reply, completion

#: distilabel's "overall-rating" asks for sections with these headings, twelve-angry-llms for a list of this length.
_SECTION = re.compile(r"^#### Output for Text (\d+)$", re.MULTILINE)
_LIST = re.compile(r'Score all (\d+) responses\. Reply with ONLY a JSON object of the form \{"scores"')


def judged(request: dict[str, Any]) -> Reply:
    """A completion that scores all responses of a request, by a hash of its messages."""
    return completion(request, written(request))


def written(request: Mapping[str, Any]) -> str | None:
    """The judge's words; None for one score as JSON, which `completion` writes by itself."""
    schema = ((request.get("response_format") or {}).get("json_schema") or {}).get("schema") or {}
    numbers = [name for name in schema.get("properties", ()) if name.isdecimal()]
    if numbers:
        return json.dumps(dict(zip(numbers, scores(request, len(numbers), 10), strict=True)))
    words = str(request["messages"][-1]["content"])
    if sections := _SECTION.findall(words):
        ratings = scores(request, max(map(int, sections)), 5)
        return "\n\n".join(
            f"#### Output for Text {place}\nRating: {rating}\nRationale: It answers the question about as well."
            for place, rating in enumerate(ratings, 1)
        )
    if asked := _LIST.search(words):
        return json.dumps({"scores": scores(request, int(asked[1]), 5)})
    return None


def scores(request: Mapping[str, Any], count: int, highest: int) -> list[int]:
    """``count`` whole numbers from 1 to ``highest``."""
    words = re.sub(r"\b[0-9a-f]{12}\b", "code", json.dumps(request["messages"]))
    digest = hashlib.sha256(words.encode()).digest()
    return [1 + digest[place % 32] % highest for place in range(count)]
