# /// script
# requires-python = ">=3.11"
# dependencies = ["hf_datamap"]
#
# [tool.hf-jobs]
# name = "hf-datamap"
# flavor = "cpu-basic"
# timeout = "4h"
# secrets = ["HF_TOKEN"]
# ///
r"""Map a dataset and publish the map, on Hugging Face's machines or any other.

    hf jobs uv run hf_datamap/cli/jobs/map_and_push.py SOURCE REPO [--private] [--create-pr] [--space SPACE] [OPTIONS]

for example with an endpoint (its key is a secret of the job, never an argument):

    hf jobs uv run --secrets OPENAI_API_KEY map_and_push.py openbmb/UltraFeedback me/ultrafeedback-map \
        --scorer judge:gpt-4o-2024-11-20 --budget '$20'

or with a reward model on a GPU:

    hf jobs uv run --flavor l4x1 --with 'hf_datamap[reward]' map_and_push.py me/pairs me/pairs-map \
        --scorer reward:Skywork/Skywork-Reward-V2-Qwen3-0.6B

Whatever is not an option of this script goes to `hf-datamap map`. What was paid for is kept in ``HF_DATAMAP_CACHE``
(mount a volume there to keep it between jobs); the push is one commit, so a job that is cut off leaves the repository
as it was. Run locally with ``uv run``.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Map, then push."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("source", help="dataset on the Hub, folder or file")
    parser.add_argument("repo", help="dataset repository to publish to")
    parser.add_argument("--private", action="store_true", help="a new repository is private")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request instead")
    parser.add_argument("--space", help="also deploy the map Space under this name")
    options, for_map = parser.parse_known_args(arguments)
    for_push = [flag for flag, wanted in (("--private", options.private), ("--create-pr", options.create_pr)) if wanted]
    for_push += ["--space", options.space] if options.space else []

    # imported here: hf_datamap is there only once uv has read the header
    from hf_datamap.cli import main as hf_datamap

    if not (os.environ.get("HF_TOKEN") or os.environ.get("HF_TOKEN_PATH")):
        sys.stderr.write("no HF_TOKEN in the environment: the push will use what `hf auth login` left, if anything\n")
    with tempfile.TemporaryDirectory() as folder:
        hf_datamap(["map", options.source, "--out", f"{folder}/map", *for_map])
        hf_datamap(["push", f"{folder}/map", options.repo, *for_push])


if __name__ == "__main__":
    main()
