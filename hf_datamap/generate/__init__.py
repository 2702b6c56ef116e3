"""Preference data with known attributes: constraint prompts, rejection sampling, tree search, and their study.

After Kim et al. 2025 (arXiv 2412.15282). Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_datamap.generate.model_writer import Writer
    from hf_datamap.generate.prompts import prompts
    from hf_datamap.generate.rejection import Sampled, rejection_sampling
    from hf_datamap.generate.sampler import Sampler
    from hf_datamap.generate.study import Arm, Study, study
    from hf_datamap.generate.tree_search import Searched, tree_search

_HOMES = {
    "Arm": "hf_datamap.generate.study",
    "Sampled": "hf_datamap.generate.rejection",
    "Sampler": "hf_datamap.generate.sampler",
    "Searched": "hf_datamap.generate.tree_search",
    "Study": "hf_datamap.generate.study",
    "Writer": "hf_datamap.generate.model_writer",
    "prompts": "hf_datamap.generate.prompts",
    "rejection_sampling": "hf_datamap.generate.rejection",
    "study": "hf_datamap.generate.study",
    "tree_search": "hf_datamap.generate.tree_search",
}

__all__ = [
    "Arm",
    "Sampled",
    "Sampler",
    "Searched",
    "Study",
    "Writer",
    "prompts",
    "rejection_sampling",
    "study",
    "tree_search",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the home module holds
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_datamap.generate' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
