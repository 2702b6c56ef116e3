"""The command line: a thin skin over the public functions. Each command is a file here, read when it is needed."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from hf_datamap.cli.signals import exit_code_of, stopped_like_ctrl_c
from hf_datamap.cli.terminal import guarded
from hf_datamap.engine.config import __version__
from hf_datamap.errors import DataMapError, did_you_mean

_HELP = """Draw an Alignment Data Map of a preference dataset: which third is worth training on, which rows are probably
mislabelled, which carry no signal."""
_EXAMPLES = """\b
Examples:
  hf-datamap demo
  hf-datamap map HuggingFaceH4/ultrafeedback_binarized --split train_prefs --scorer auto --out map
  hf-datamap map pairs.jsonl --scorer judge:gpt-4o-2024-11-20 --budget 5000requests --out map

Exit codes: 0 done, 1 a finding or a gate failed, 2 wrong usage or input, 128 + N stopped by signal N.
"""
#: The commands by what they are for; a command is the file of its name in this folder.
COMMANDS: Final = {
    "Start": {
        "demo": "Draw the map of a bundled sample: no key, no network.",
        "inspect": "Show how a dataset is read, and what would be skipped.",
        "doctor": "Show what is installed, set and reachable.",
    },
    "Judge": {
        "map": "Score a dataset, draw its map, write a folder.",
        "estimate": "Requests, tokens and cost of a map, before any is sent.",
        "calibrate": "Measure scorers against human labels.",
    },
    "Curate": {
        "audit": "Find wrong labels and broken rows; gates for releases.",
        "select": "Choose the rows worth training on.",
        "pairs": "Build preference pairs for TRL.",
    },
    "Publish": {
        "card": "Print or check the card of a map.",
        "push": "Publish a map to the Hub, in one commit.",
        "space": "Show a map in a browser, here or as a Space.",
    },
    "Make": {
        "prompts": "Make prompts with verifiable constraints.",
        "sample": "Sample responses by rejection sampling or tree search.",
    },
}


class _Commands(click.Group):
    """Finds commands by file name; a mistyped name is answered with the nearest one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(name for commands in COMMANDS.values() for name in commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            raise click.UsageError(f"No such command {args[0]!r}. {did_you_mean(args[0], names)}".rstrip(), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx  # click's signature; nothing is imported to print this
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<9}", purpose) for name, purpose in commands.items()])

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:  # one answer, not all that are a little alike
            raise click.NoSuchOption(
                error.option_name, possibilities=(error.possibilities or [])[:1], ctx=error.ctx
            ) from None


@click.group(cls=_Commands, help=_HELP, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hf-datamap")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.pass_context
def group(context: click.Context, *, verbose: bool) -> None:
    """Set up what all commands share."""
    context.with_resource(guarded())
    context.with_resource(stopped_like_ctrl_c())
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("hf_datamap").setLevel(logging.DEBUG if verbose else logging.INFO)
    if not verbose:  # the bars of datasets' own steps would drown ours
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``hf-datamap``; every error that the package foresees is one message and exit code 2."""
    with guarded():
        code = _run(list(arguments) if arguments is not None else None)
    if code:
        sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    """Run a command and return the exit code."""
    try:
        code = group.main(arguments, prog_name="hf-datamap", standalone_mode=False)
        return code if isinstance(code, int) else 0  # what `context.exit` asked for, which click returns
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        _tell("\nStopped. Answers already paid for are kept; the same command goes on from there.")
        return exit_code_of(stop)
    except BrokenPipeError:
        _stop_writing()
        return 0
    except (click.ClickException, DataMapError, OSError) as error:
        _explain(error)
        return 2


def _explain(error: Exception) -> None:
    """Print an error as one message, without a traceback."""
    if isinstance(error, click.ClickException):
        error.show()
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        _tell(f"Error: {where}{error.strerror or error}")
    else:
        _tell(f"Error: {error}")


def _tell(message: str) -> None:
    """Print a message on stderr, if there is still anybody to read it (after SIGHUP the terminal is gone)."""
    try:
        click.echo(message, err=True)
    except OSError:
        _stop_writing()


def _stop_writing() -> None:
    """Send further output nowhere: the reader has gone, and flushing at exit would fail too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
