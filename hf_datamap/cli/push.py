"""``hf-datamap push``: publish a folder that ``hf-datamap map`` wrote."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

_EXAMPLES = """\b
Examples:
  hf-datamap push my-map me/my-map
  hf-datamap push my-map me/my-map --private --space me/my-map-space
  hf-datamap push my-map somebody/prefs --config datamap --create-pr

Log in with `hf auth login`, or set HF_TOKEN, first.
"""


@click.command(epilog=_EXAMPLES)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("repo", metavar="REPO")
@click.option("--private/--public", default=None, help="Whether a new repository is private.")
@click.option("--revision", help="Branch to commit to; made when missing.")
@click.option("--create-pr", is_flag=True, help="Open a pull request instead; pushing again continues it.")
@click.option("--config", default="default", show_default=True, help="Configuration that holds the data.")
@click.option("--max-shard-size", metavar="SIZE", help="Decoded size of a shard, for example 200MB.  [default: 500MB]")
@click.option("--subset", "subsets", multiple=True, help="Region to publish as a configuration (repeatable).")
@click.option("--no-subsets", is_flag=True, help="Publish no curated configurations.")
@click.option("--space", metavar="SPACE", help="Also deploy the map Space under this name, linked from the card.")
@click.option("--timeout", type=click.FloatRange(min=1), metavar="SECONDS", help="How long the push may take.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    folder: Path,
    repo: str,
    *,
    private: bool | None,
    revision: str | None,
    create_pr: bool,
    config: str,
    max_shard_size: str | None,
    subsets: tuple[str, ...],
    no_subsets: bool,
    space: str | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Publish DIR as the dataset REPO: data, card, picture, map, index and curated subsets, in one commit.

    A reader of the repository sees the old state or the new one, whole. Run it again after an interruption.
    """
    from hf_datamap.publish import load, push_to_hub

    if subsets and no_subsets:
        raise click.UsageError("--subset and --no-subsets exclude each other")
    ds, data_map = load(folder)
    readme = folder / "README.md"
    click.echo(f"publishing {sum(map(len, ds.values())):,} rows of {folder} to {repo}", err=True)
    done = push_to_hub(
        ds,
        repo,
        data_map=data_map,
        private=private,
        revision=revision,
        create_pr=create_pr,
        config_name=config,
        max_shard_size=max_shard_size,
        space=space,
        timeout=timeout,
        subsets=() if no_subsets else subsets or None,
        card=readme.read_bytes().decode("utf-8") if readme.is_file() else None,
    )
    click.echo(json.dumps(dataclasses.asdict(done)) if as_json else done.url)
