"""All kinds of IFBench: importing the modules beside this one fills the registries."""

from hf_datamap.scorers.constraints.ifbench import counts, formats, tasks, training, words
from hf_datamap.scorers.constraints.ifbench.registry import TEST_KINDS, TRAINING_KINDS

__all__ = ["TEST_KINDS", "TRAINING_KINDS", "counts", "formats", "tasks", "training", "words"]
