"""What a client process does first, and what the local Hub then holds."""

from hf_datamap.publish.card.frontmatter import FrontMatter

PRELUDE = """
from datasets import DatasetDict, concatenate_datasets, get_dataset_config_names, load_dataset
from huggingface_hub import HfApi
from hf_datamap.publish import deploy_space, load, push_to_hub
from hf_datamap.errors import *
from tests.publish.data import *

def refused(kind, *words, **arguments):
    try:
        push_to_hub(**arguments)
    except kind as error:
        for word in words:
            assert word in str(error), (word, str(error))
        return error
    raise AssertionError(f"{kind.__name__} was not raised")

api = HfApi()
"""


def client(hub, code, **env):
    return hub.run(PRELUDE + code, **env)


def card(hub, repo, ref="refs/heads/main"):
    return FrontMatter(hub.file(repo, "README.md", ref).decode())


def titles(hub, repo, ref="refs/heads/main"):
    return [commit["title"] for commit in hub.history(repo, ref)]
