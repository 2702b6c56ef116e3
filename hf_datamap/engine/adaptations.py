"""What was really sent: parameters that an endpoint did not take, kept beside the answers that came of it.

A later run that finds all answers in the store meets no refusal, and still has to say how they were made.
"""

from __future__ import annotations

from collections.abc import Mapping

from hf_datamap.engine.store import Answers, Keys, Store
from hf_datamap.engine.task import JSON, Answer, Answerer


def _key(answerer: Answerer) -> bytes:
    return Keys({"kind": "adaptations", "of": dict(answerer.identity)}).of("sent otherwise")


def record_adaptations(store: Answers, answerer: Answerer) -> None:
    """Keep what is sent otherwise than asked for."""
    store.put(_key(answerer), Answer(dict(answerer.adaptations)))


def recorded_adaptations(answerer: Answerer) -> Mapping[str, JSON]:
    """Return what was sent otherwise than asked for, in this run or an earlier one; empty when nothing was."""
    store = Store()
    try:
        recorded = store.get([_key(answerer)])
    finally:
        store.close()
    value = next((answer.value for answer in recorded.values()), {})
    earlier = value if isinstance(value, Mapping) else {}
    return {**earlier, **answerer.adaptations}
