"""A prompt as it was drawn, before a model may word it and before it is a row."""

from __future__ import annotations

from dataclasses import dataclass

from hf_datamap.data.example import Constraint
from hf_datamap.generate.base_prompts import BasePrompt


@dataclass(frozen=True, slots=True)
class Draft:
    """A prompt and what it is made of.

    Attributes:
        base: its base prompt.
        constraints: the constraints that it states besides.
        prompt: its text, worded by template.
        reference_response: a response that meets every constraint.
    """

    base: BasePrompt
    constraints: tuple[Constraint, ...]
    prompt: str
    reference_response: str
