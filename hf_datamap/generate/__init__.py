"""Preference data with known attributes: constraint prompts, rejection sampling, tree search, and their study.

After Kim et al. 2025 (arXiv 2412.15282). Names are imported when they are first used.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from hf_datamap.generate.model_writer import Writer as Writer
    from hf_datamap.generate.prompts import prompts as prompts
    from hf_datamap.generate.rejection import Sampled as Sampled
    from hf_datamap.generate.rejection import rejection_sampling as rejection_sampling
    from hf_datamap.generate.sampler import Sampler as Sampler
    from hf_datamap.generate.study import Arm as Arm
    from hf_datamap.generate.study import Study as Study
    from hf_datamap.generate.study import study as study
    from hf_datamap.generate.tree_search import Searched as Searched
    from hf_datamap.generate.tree_search import tree_search as tree_search

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "model_writer": ["Writer"],
        "prompts": ["prompts"],
        "rejection": ["Sampled", "rejection_sampling"],
        "sampler": ["Sampler"],
        "study": ["Arm", "Study", "study"],
        "tree_search": ["Searched", "tree_search"],
    },
)
