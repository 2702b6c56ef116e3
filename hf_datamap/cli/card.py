"""``hf-datamap card``: the card of a map, offline, and what the Hub would say about it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hf_datamap.cli.terminal import print_file

_EXAMPLES = """\b
Examples:
  hf-datamap card my-map                                  the card of a folder
  hf-datamap card my-map --repo me/my-map                 the card that a push would make there
  hf-datamap card my-map --merge README.md > merged.md    into a card that exists
  hf-datamap card README.md                               check a card
"""


@click.command(epilog=_EXAMPLES)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--repo", help="Repository the card is for, OWNER/NAME: as a push would make it.")
@click.option("--config", default="default", show_default=True, help="Configuration that holds the data.")
@click.option("--merge", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Card to merge into.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    context: click.Context, path: Path, *, repo: str | None, config: str, merge: Path | None, as_json: bool
) -> None:
    """Print the card of a folder that `hf-datamap map` wrote, or check a card (PATH is a file). No network.

    Exit code 1: the Hub would refuse the card; why is on stderr.
    """
    from hf_datamap.publish.card import card_problems

    card = _read(path) if path.is_file() else _card(path, repo, config, _read(merge) if merge else None)
    problems = card_problems(card)
    if as_json:
        click.echo(json.dumps({"card": card, "problems": problems}))
    elif path.is_dir():
        print_file(card)
    for problem in problems:
        click.echo(problem, err=True)
    if path.is_file() and not problems:
        click.echo(f"{path}: the Hub would accept this card", err=True)
    context.exit(1 if problems else 0)


def _card(folder: Path, repo: str | None, config: str, existing: str | None) -> str:
    """The card of a folder as it is, or as a push to a repository would make it."""
    from hf_datamap.publish import load
    from hf_datamap.publish.card import CardTarget, render
    from hf_datamap.publish.push import preview_card

    ds, data_map = load(folder)
    if repo is None:
        return render(ds, data_map, existing=existing or "", target=CardTarget(config=config))
    readme = folder / "README.md"
    start = _read(readme) if readme.is_file() else None
    return preview_card(ds, repo, data_map=data_map, config_name=config, card=start, existing=existing)


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")  # as it is: reading as text would change line ends
