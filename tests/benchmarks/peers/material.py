"""What every driver is given and says: the same rows, one line of JSON. Nothing but the standard library.

Drivers are run as scripts by the Python of their own environment, which has neither this repository nor our package.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

RESPONSES = 4
MODEL = "m"
_TEXT = "A response of a usual length, so that bodies weigh what they weigh. " * 12


def rows(count: int) -> list[tuple[str, list[str]]]:
    """Prompts, each with its responses."""
    return [
        (f"Question {i}: what is the answer?", [f"{i}, answer {k}. {_TEXT}" for k in range(RESPONSES)])
        for i in range(count)
    ]


def check(scores: list[Any], count: int, low: int, high: int) -> None:
    """A comparison is void where a side got no valid scores."""
    valid = sum(
        isinstance(row, list | tuple)
        and len(row) == RESPONSES
        and all(isinstance(score, int | float) and low <= score <= high for score in row)
        for row in scores
    )
    if valid < count:
        raise SystemExit(f"{sys.argv[0]}: only {valid} of {count} rows got {RESPONSES} scores from {low} to {high}")


def report(*packages: str, **told: Any) -> None:
    """Print the measurement and the versions behind it, as the last line."""
    print(json.dumps({**told, "versions": {package: version(package) for package in packages}}), flush=True)
