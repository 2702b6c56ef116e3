"""The command line: a thin skin over the public functions. Each command is a file here, read when it is needed."""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Sequence

import click

from hf_datamap.engine.config import __version__
from hf_datamap.errors import DataMapError

_HELP = """Draw an Alignment Data Map of a preference dataset: which third is worth training on, which rows are probably
mislabelled, which carry no signal."""
_EXAMPLES = """\b
Examples:
  hf-datamap demo
  hf-datamap map HuggingFaceH4/ultrafeedback_binarized --split train_prefs --scorer auto --out map
  hf-datamap map pairs.jsonl --scorer judge:gpt-4o-2024-11-20 --budget 5000requests --out map

Exit codes: 0 done, 1 a finding or a gate failed, 2 wrong usage or input.
"""


class _Commands(click.Group):
    """Finds commands by file name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        command.name = cmd_name
        return command


@click.group(cls=_Commands, help=_HELP, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hf-datamap")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
def group(*, verbose: bool) -> None:
    """Set up what all commands share."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("hf_datamap").setLevel(logging.DEBUG if verbose else logging.INFO)
    if not verbose:  # the bars of datasets' own steps would drown ours
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``hf-datamap``; every error that the package foresees is one message and exit code 2."""
    try:
        given = list(arguments) if arguments is not None else None
        code = group.main(given, prog_name="hf-datamap", standalone_mode=False)
        if isinstance(code, int) and code:  # what `context.exit` asked for, which click returns here
            sys.exit(code)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nStopped. Answers already paid for are kept; the same command goes on from there.", err=True)
        sys.exit(130)
    except DataMapError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
