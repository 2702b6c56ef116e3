"""Publishing: a mapped dataset to the Hub and back, and the Space that shows it."""

from hf_datamap.publish.commit import Commit
from hf_datamap.publish.load import load
from hf_datamap.publish.push import push_to_hub
from hf_datamap.publish.space import deploy_space

__all__ = ["Commit", "deploy_space", "load", "push_to_hub"]
