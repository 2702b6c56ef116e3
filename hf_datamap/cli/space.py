"""``hf-datamap space``: the map Space, on the Hub or here."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from hf_datamap.cli.options import OutputPath

_EXAMPLES = """\b
Examples:
  hf-datamap space deploy me/my-map-space --dataset me/my-map
  hf-datamap space deploy me/my-map-page --dataset me/my-map --static
  hf-datamap space preview my-map --port 7860
  hf-datamap space preview my-map --static map.html
"""


@click.group(epilog=_EXAMPLES)
def command() -> None:
    """Show a map in a browser: as a Space on the Hub, or on this machine."""


@command.command()
@click.argument("space")
@click.option("--dataset", required=True, help="Dataset on the Hub with the map.")
@click.option("--static", is_flag=True, help="A self-contained page instead of the app: hosted for free.")
@click.option("--config", default="default", show_default=True, help="Mapped configuration, for --static.")
@click.option("--private/--public", default=None, help="Whether a new Space is private.  [default: as the dataset]")
@click.option("--secret", "secrets", multiple=True, metavar="NAME", help="Set this Space secret from the environment.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def deploy(
    space: str,
    *,
    dataset: str,
    static: bool,
    config: str,
    private: bool | None,
    secrets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Create or update SPACE on the Hub, in one commit."""
    from hf_datamap.publish import deploy_space

    if missing := [name for name in secrets if name not in os.environ]:
        raise click.UsageError(f"--secret {missing[0]}: there is no such environment variable")
    values = {name: os.environ[name] for name in secrets}
    done = deploy_space(space, dataset=dataset, static=static, config_name=config, private=private, secrets=values)
    click.echo(json.dumps(dataclasses.asdict(done)) if as_json else done.url)


@command.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--port", type=click.IntRange(1, 65535), default=7860, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--static", type=OutputPath(folder=False), help="Write one HTML file and stop.")
def preview(folder: Path, *, port: int, host: str, static: Path | None) -> None:
    """Show the map in DIR on this machine; nothing leaves it."""
    from hf_datamap.errors import HubError
    from hf_datamap.publish import load
    from hf_datamap.publish.space_app import space_files
    from hf_datamap.publish.static import page_of

    if static:
        ds, data_map = load(folder)
        static.write_text(page_of(ds, data_map, title=f"Alignment Data Map of {folder.name}"), encoding="utf-8")
        click.echo(str(static))
        return
    if find_spec("gradio") is None:
        raise HubError(
            "the Space needs gradio: pip install 'hf_datamap[space]', or write a page with --static map.html"
        )
    click.echo(f"http://{host}:{port}", err=True)
    app = str(space_files()["app.py"])
    # the app takes this process's place, so that signals reach it
    os.execv(sys.executable, [sys.executable, app, str(folder.resolve()), "--host", host, "--port", str(port)])  # noqa: S606 - its own interpreter, no shell
