"""Whether hf_datamap installs beside other tools, each at its newest: `make neighbours`.

The resolver answers from the package index's metadata; nothing is installed. This needs an index and minutes, so it is
no part of `make test`. With ``--at REV`` the dependencies are those of an older commit. It ends with 1 where an answer
is not the expected one, or where fewer than nine in ten install beside us.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.12", "3.11", "3.13")  # the first that the neighbour itself installs on
ENOUGH = 0.9


@dataclass(frozen=True)
class Neighbour:
    """A tool that our users have, and what is to be expected of it.

    Attributes:
        name: on the package index, with extras.
        what: what people do with it.
        apart: why it does not install beside us, empty where it must.
    """

    name: str
    what: str
    apart: str = ""


NEIGHBOURS = (
    Neighbour("trl", "training"),
    Neighbour("axolotl", "training"),
    Neighbour("llamafactory", "training"),
    Neighbour("ms-swift", "training"),
    Neighbour("openrlhf", "training"),
    Neighbour("verl", "training"),
    Neighbour("unsloth", "training"),
    Neighbour("torchtune", "training"),
    Neighbour("autotrain-advanced", "training", apart="pins huggingface_hub and datasets of 2024"),
    Neighbour("vllm", "serving"),
    Neighbour("sglang", "serving"),
    Neighbour("litellm[proxy]", "gateway"),
    Neighbour("distilabel", "making data"),
    Neighbour("argilla", "labelling"),
    Neighbour("label-studio", "labelling"),
    Neighbour("lighteval", "evaluation"),
    Neighbour("lm-eval", "evaluation"),
    Neighbour("inspect-ai", "evaluation"),
    Neighbour("gradio", "demos"),
    Neighbour("embedding-atlas", "browsing"),
)


@dataclass(frozen=True)
class Answer:
    """What the resolver says of one neighbour."""

    neighbour: Neighbour
    version: str
    python: str
    alone: bool
    beside: bool
    reason: str = ""


def our_requirements(revision: str | None = None) -> list[str]:
    """The dependencies in pyproject.toml, of now or of a commit."""
    if revision is None:
        text = (ROOT / "pyproject.toml").read_text()
    else:
        command = ["git", "show", f"{revision}:pyproject.toml"]
        text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tomllib.loads(text)["project"]["dependencies"]


def resolve(uv: str, python: str, requirements: list[str], *options: str) -> tuple[dict[str, str], str]:
    """The versions that fit together, or none and the resolver's words."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requirements))
        file.flush()
        command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", python]
        command += ["--python-platform", "x86_64-manylinux_2_28", *options, file.name]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode:
        return {}, " ".join(done.stderr.split())
    return dict(line.split("==", 1) for line in done.stdout.splitlines() if "==" in line), ""


def ask(uv: str, neighbour: Neighbour, ours: list[str]) -> Answer:
    """Resolve the newest release of a neighbour by itself, and then with us.

    Where the newest does not install at all, the newest that does is taken.
    """
    name = neighbour.name.split("[")[0]
    version = python = reason = ""
    for python in PYTHONS:
        newest, reason = resolve(uv, python, [name], "--no-deps")
        if not newest:
            continue
        version = next(iter(newest.values())).split(";")[0].strip()
        alone, reason = resolve(uv, python, [f"{neighbour.name}=={version}"])
        if not alone and python == PYTHONS[-1]:
            alone, reason = resolve(uv, python, [neighbour.name])
            version = alone.get(name, version)
        if alone:
            pinned = f"{neighbour.name}=={version}"
            together, reason = resolve(uv, python, [pinned, *ours])
            return Answer(neighbour, version, python, True, bool(together), reason)
    return Answer(neighbour, version, python, False, False, reason)


def culprit(reason: str, ours: list[str]) -> str:
    """The first of our requirements that the resolver's words name."""
    names = [re.split(r"[<>=!~ \[;]", requirement)[0] for requirement in ours]
    told = reason.lower().replace("_", "-")
    blamed = [
        name for name in names if re.search(rf"(?<![\w-]){re.escape(name.lower().replace('_', '-'))}[<>=!]", told)
    ]
    return ", ".join(blamed[:3]) or reason[-160:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--uv", default=str(Path(sys.executable).with_name("uv")))
    parser.add_argument("--at", metavar="REV", help="take the dependencies of this commit")
    parser.add_argument("--only", action="append", metavar="NAME")
    parser.add_argument("-v", action="store_true", help="print the resolver's words")
    options = parser.parse_args()
    ours = our_requirements(options.at)
    answers = []
    print("| tool | newest | Python | installs beside hf_datamap |\n|---|---|---|---|")
    for neighbour in NEIGHBOURS:
        if options.only and neighbour.name not in options.only:
            continue
        answer = ask(options.uv, neighbour, ours)
        answers.append(answer)
        word = (
            "yes"
            if answer.beside
            else f"no: {culprit(answer.reason, ours)}"
            if answer.alone
            else "not by itself either"
        )
        print(f"| {neighbour.name} | {answer.version or '?'} | {answer.python} | {word} |", flush=True)
        if options.v and answer.reason:
            print(answer.reason, file=sys.stderr)
    beside = sum(answer.beside for answer in answers)
    possible = sum(answer.alone for answer in answers)
    print(f"\n{beside} of {len(answers)} install beside hf_datamap; {possible} install at all.")
    unexpected = [a.neighbour.name for a in answers if a.alone and a.beside == bool(a.neighbour.apart)]
    if unexpected:
        print(f"not as expected: {', '.join(unexpected)}", file=sys.stderr)
    if unexpected or beside < ENOUGH * len(answers):
        sys.exit(1)


if __name__ == "__main__":
    main()
