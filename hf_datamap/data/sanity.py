"""Sanity of a reading: sample rows as read, looked at with the eyes of somebody who knows what data look like.

Where the right reading is certain it is mended (`REPAIRS`); where it is not, the layout is refused by column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hf_datamap.data.decode import decoded
from hf_datamap.data.example import Example
from hf_datamap.data.label_columns import is_soft
from hf_datamap.data.layout import Layout
from hf_datamap.data.paths import column_of, read_path
from hf_datamap.data.sample import Sample
from hf_datamap.errors import LayoutError, RowError

_STEP = re.compile(r"\s*(?:\*\*|#+\s*)?step\s*(\d+)\b", re.IGNORECASE)
_MANY = 5  # different rows from which a property that all of them share is no accident


@dataclass(frozen=True)
class Reading:
    """How sample rows read under a layout.

    Attributes:
        examples: the rows that read.
        faults: the errors of the others that the layout may be to blame for; rows that lack content are left out.
        empty: how many rows lack content.
    """

    examples: tuple[Example, ...]
    faults: tuple[RowError, ...]
    empty: int = 0


def try_reading(layout: Layout, sample: Sample) -> Reading:
    """Read the sample rows."""
    examples: list[Example] = []
    faults: list[RowError] = []
    empty = 0
    for row in sample.rows:
        try:
            examples.append(layout.read(row))
        except RowError as error:
            if is_soft(error):
                empty += 1
            else:
                faults.append(error.with_traceback(None))
    return Reading(tuple(examples), tuple(faults), empty)


def checked(layout: Layout, sample: Sample, reading: Reading) -> Layout:
    """Return the layout, mended where the sample shows how; the reading must have examples.

    Raises:
        LayoutError: what was read cannot be right.
    """
    responses = ", ".join(layout.responses)
    columns_in_a_row(layout, sample)
    if _are_steps(reading.examples):
        raise LayoutError(f"{responses} holds the steps of one response (process supervision), not several responses")
    if _all_identical(reading.examples):
        raise LayoutError(
            f"the responses in {responses} are identical in every row looked at: they cannot be what is compared; "
            'name other columns: --layout "prompt=COLUMN,responses=COLUMN|COLUMN"'
        )
    if layout.prompt and "strip-prompt" not in layout.repairs and _repeat_the_prompt(reading.examples):
        asked = {example.prompt[-1]["content"] for example in reading.examples}
        if len(asked) == 1 and len(next(iter(asked))) < 12:
            raise LayoutError(
                f"each response in {responses} begins with the prompt in {column_of(layout.prompt[0])!r}, and the rows "
                "are too few to tell whether it is a repetition; to have it cut off, "
                f"Layout(..., repairs=['strip-prompt'])"
            )
        why = f"{layout.why}; the responses repeat the prompt, which is cut off"
        return layout.but(repairs=(*layout.repairs, "strip-prompt"), why=why)
    return layout


def columns_in_a_row(layout: Layout, sample: Sample) -> None:
    """Refuse rows that hold whole columns: a file that is oriented by column and was taken for one row.

    Raises:
        LayoutError: prompts and responses are lists of the same length in every row.
    """
    if not layout.prompt or layout.turns or len(layout.responses) < 2:
        return
    paths = [path.removesuffix("[]") for path in (layout.prompt[0], *layout.responses)]
    rows = [[decoded(read_path(row, path)) for path in paths] for row in sample.rows]
    lengths = [{len(cell) if isinstance(cell, list) else -1 for cell in cells} for cells in rows]
    texts = all(isinstance(item, str) for cells in rows for cell in cells if isinstance(cell, list) for item in cell)
    if rows and texts and all(len(each) == 1 and min(each) > 1 for each in lengths):
        raise LayoutError(
            f"each row holds lists of prompts and responses of the same length ({', '.join(paths)}): "
            "the data is oriented by column, and was read as one row; write one object per row (JSON Lines), or "
            "Dataset.from_dict(columns)"
        )


def _texts(example: Example) -> list[str]:
    return [text for text in example.responses if text is not None]


def _are_steps(examples: Sequence[Example]) -> bool:
    """Tell whether the responses of every row count their steps: Step 1, Step 2, ..."""
    for example in examples:
        numbers = [match[1] if (match := _STEP.match(text)) else "" for text in _texts(example)]
        if len(numbers) < 2 or numbers != [str(number) for number in range(1, len(numbers) + 1)]:
            return False
    return bool(examples)


def _all_identical(examples: Sequence[Example]) -> bool:
    distinct = {text for example in examples for text in _texts(example)}
    same = all(len(_texts(example)) > 1 and len(set(_texts(example))) == 1 for example in examples)
    return same and len(distinct) >= _MANY


def _repeat_the_prompt(examples: Sequence[Example]) -> bool:
    """Tell whether every response of every row begins with its prompt and goes on."""
    seen_longer = False
    for example in examples:
        asked = example.prompt[-1]["content"].strip()
        texts = _texts(example)
        if example.prompt[-1]["role"] != "user" or not texts or not asked:
            return False
        if not all(_goes_on(text.lstrip(), asked) for text in texts):
            return False
        seen_longer = seen_longer or any(len(text.strip()) > len(asked) for text in texts)
    return bool(examples) and seen_longer


def _goes_on(text: str, asked: str) -> bool:
    return text.startswith(asked) and (len(text) == len(asked) or not text[len(asked)].isalnum())
