"""Conversations with constraints for each turn, in the layout of Multi-IF (He et al. 2024, arXiv 2410.15553)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hf_datamap.data.decode import decoded
from hf_datamap.data.example import Constraint, Message
from hf_datamap.data.values import parse_constraints
from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints.checker import Checker


def check_turns(
    responses: Sequence[str | None],
    constraints: Sequence[Constraint],
    *,
    loose: bool = False,
    **options: Any,  # noqa: ANN401 - see Checker
) -> list[list[bool] | None]:
    """Check each response of a conversation against the constraints of its turn.

    Args:
        responses: the model's responses, one per turn, in order; None where there is none.
        constraints: constraints of all turns; see `hf_datamap.data.values.parse_constraints` for a list per turn. Those
            without a turn must be met by every response.
        loose: whether it is enough that a variant of the response meets a constraint; see `Checker.loose`.
        options: see `Checker`.

    Returns:
        A list per turn with a verdict for each of its constraints, None where there is no response.

    Raises:
        RowError: a constraint is unknown, its arguments are wrong, or it belongs to a turn without a response.
    """
    last = max((constraint.turn or 0 for constraint in constraints), default=0)
    if last > len(responses):
        raise RowError(f"there are constraints for turn {last}, but {len(responses)} responses")
    verdicts: list[list[bool] | None] = []
    for turn, response in enumerate(responses, 1):
        checker = Checker([constraint for constraint in constraints if constraint.turn in (None, turn)], **options)
        if response is None:
            verdicts.append(None)
        else:
            verdicts.append(checker.loose(response) if loose else checker.strict(response))
    return verdicts


def rows_of_turns(row: Mapping[str, Any], responses: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return one row per turn of a Multi-IF row, as every other part of the package reads rows.

    Args:
        row: with ``turn_1_prompt``, ``turn_1_instruction_id_list``, ``turn_1_kwargs``, ``turn_2_prompt`` and so on, as
            published: each holds JSON.
        responses: the model's responses to earlier turns; a turn after the first needs those before it.

    Returns:
        For each turn that can be asked: ``prompt`` (messages up to the user's message of that turn),
        ``instruction_id_list``, ``kwargs``, ``turn``, and ``key`` and ``language`` if the row has them.

    Raises:
        RowError: a turn is damaged.
    """
    rows: list[dict[str, Any]] = []
    messages: list[Message] = []
    while (turn := len(rows) + 1) <= len(responses) + 1:
        message = decoded(row.get(f"turn_{turn}_prompt"))
        if message in (None, "", "None"):  # published rows spell a missing turn like this
            break
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
            raise RowError(f"turn_{turn}_prompt is no message", str(message)[:80])
        messages.append({"role": "user", "content": message["content"]})
        constraints = parse_constraints(row.get(f"turn_{turn}_instruction_id_list"), row.get(f"turn_{turn}_kwargs"))
        rows.append(
            {
                **{name: row[name] for name in ("key", "language") if name in row},
                "turn": turn,
                "prompt": list(messages),
                "instruction_id_list": [constraint.id for constraint in constraints],
                "kwargs": [dict(constraint.kwargs) for constraint in constraints],
            }
        )
        if turn <= len(responses):
            messages.append({"role": "assistant", "content": responses[turn - 1]})
    return rows
