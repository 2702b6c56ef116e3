"""What the pages for those who carry on name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import hf_datamap

ROOT = Path(__file__).parents[1]
PAGES = ("CONTRIBUTING.md", "docs/architecture.md", "SECURITY.md", *sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / ".github").rglob("*.md")
))  # fmt: skip
#: Tests, modules and pages, spelled as paths from the root of the repository.
PATH = re.compile(r"`((?:hf_datamap|tests|docs|space)/[\w./-]*)`")
HERE = re.compile(r"`((?:engine|data|cli|generate|scoring|scorers|publish|curate|datamap)/[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_is_named_is_there(page):
    text = (ROOT / page).read_text()
    missing = [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    missing += [path for path in HERE.findall(text) if not (ROOT / "hf_datamap" / path).exists()]
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target and not (ROOT / page).parent.joinpath(target).exists():
            missing.append(target)
    assert missing == []


def test_contributing_names_a_file_and_a_test_for_each_thing_to_add():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| **")]
    assert {row[1].split("**")[1] for row in rows} >= {
        "a scorer", "a layout", "a strategy", "a constraint", "an audit check",
    }  # fmt: skip
    for row in rows:
        assert PATH.search(row[2]), row
        assert all(path.startswith("tests/") for path in PATH.findall(row[4])), row
        assert PATH.search(row[4]), row


def test_every_room_is_on_the_map_of_the_house():
    text = (ROOT / "docs/architecture.md").read_text()
    rooms = {path.parent.name for path in (ROOT / "hf_datamap").glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))


def test_the_targets_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`?make (\w+)", (ROOT / "CONTRIBUTING.md").read_text()))
    assert named
    for target in named:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == hf_datamap.__version__
    assert citation["license"] == "Apache-2.0"
