"""From facts to a card: one template, rendered in a sandbox, merged into what the publisher wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from hf_datamap.data import columns
from hf_datamap.engine.config import __version__
from hf_datamap.engine.secrets import mask
from hf_datamap.errors import CardError
from hf_datamap.publish.card.escape import Safe, find_secret, markdown, name
from hf_datamap.publish.card.facts import Facts
from hf_datamap.publish.card.frontmatter import FrontMatter

HUB: Final = "https://huggingface.co"
_BEGIN: Final = re.compile(r"<!-- hf_datamap:begin config=([\w.-]+) folder=([\w./-]+) -->[ \t]*\r?\n?")
_END: Final = re.compile(r"<!-- hf_datamap:end -->[ \t]*\r?\n?")
_SPACE: Final = re.compile(r"\*\*\[Open the map\]\(https://huggingface\.co/spaces/([\w.-]+/[\w.-]+)\)\*\*")
_SQL_SPLITS: Final = 3


@dataclass(frozen=True)
class CardTarget:
    """Where a card will stand, for its links.

    Attributes:
        repo_id: the dataset repository; None for a folder, whose card has no links.
        config: the mapped configuration.
        folder: folder of the map's files in the repository.
        picture: path of the picture.
        subsets: curated configurations, and the region each one holds (None for another choice of rows).
        space: id of the Space that shows the map.
    """

    repo_id: str | None = None
    config: str = "default"
    folder: str = "datamap"
    picture: str = "map.png"
    subsets: Mapping[str, str | None] | None = None
    space: str | None = None


def template() -> str:
    """Return the card's template, ``model_card_template.md``."""
    package = Path(__file__).parents[2]
    for path in (package / "model_card_template.md", package.parent / "model_card_template.md"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise CardError(f"model_card_template.md is missing beside {package}: reinstall hf_datamap")


def map_folders(body: str) -> dict[str, str]:
    """Return the folder of each configuration that has a generated section in a card."""
    return dict(_BEGIN.findall(body))


def render_section(facts: Facts, target: CardTarget, licence: object = None) -> str:
    """Render the generated part of a card, markers included.

    Args:
        facts: what is known about the map.
        target: where the card will stand.
        licence: what the card says of the licence; None when it says nothing.

    Raises:
        CardError: a name cannot stand in a card, or the provenance holds what looks like a secret.
    """
    if secret := find_secret(facts.data_map.to_json()):
        raise CardError(f"the card would show what looks like a secret ({secret}): remove it from the map's provenance")
    rendered = _compiled().render(
        facts=facts,
        map=facts.data_map,
        target=target,
        licence=None if licence in (None, [], "unknown") else licence,
        regions=columns,
        links=_Links(facts, target),
        version=Safe(__version__),
    )
    begin = f"<!-- hf_datamap:begin config={name(target.config)} folder={name(target.folder)} -->"
    return f"{begin}\n{mask(rendered.strip())}\n<!-- hf_datamap:end -->\n"


def merge(front: FrontMatter, generated: str, config: str, title: str) -> None:
    """Put a generated section into a card's body, in place of the one for the same configuration.

    Args:
        front: the card; its body is changed between the markers only.
        generated: what `section` returned.
        config: whose section it is.
        title: heading of a card that is empty so far.

    Raises:
        CardError: the markers in the card do not pair up.
    """
    generated = generated.replace("\n", front.newline)
    lines, begins, ends = _markers(front.body)
    own = [number for number, (_, owner) in enumerate(begins) if owner == config]
    if len(own) > 1:
        raise CardError(f"the card has {len(own)} hf_datamap sections for config {config!r}: remove all but one")
    if own:
        front.body = "".join(lines[: begins[own[0]][0]]) + generated + "".join(lines[ends[own[0]] + 1 :])
        return
    body = front.body
    if not body.strip():
        body = f"{front.newline}# {markdown(title)}{front.newline}"
    elif not body.endswith("\n"):
        body += front.newline
    gap = "" if body.endswith(front.newline * 2) else front.newline
    front.body = body + gap + generated


def space_of(front: FrontMatter, config: str) -> str | None:
    """Return the Space that a configuration's section links to, if any."""
    link = _SPACE.search("".join(_own(front, config)[1]))
    return link[1] if link else None


def link_space(front: FrontMatter, config: str, space: str) -> None:
    """Let a configuration's section link to a Space; nothing else of the card changes.

    Raises:
        CardError: the markers in the card do not pair up.
    """
    before, own, after = _own(front, config)
    line = f"{_space_link(space)}{front.newline}"
    places = [i for i, text in enumerate(own) if _SPACE.match(text)]
    heading = next((i for i, text in enumerate(own) if text.startswith("### ")), None)
    if places:
        own[places[0]] = line
    elif heading is not None:
        own[heading:heading] = [line, front.newline]
    front.body = "".join([*before, *own, *after])


def _space_link(space: str) -> Safe:
    return Safe(
        f"**[Open the map]({HUB}/spaces/{name(space)})** in the Space [{markdown(space)}]({HUB}/spaces/{name(space)})."
    )


def _own(front: FrontMatter, config: str) -> tuple[list[str], list[str], list[str]]:
    """The lines before, of and after a configuration's section."""
    lines, begins, ends = _markers(front.body)
    for (start, owner), end in zip(begins, ends, strict=True):
        if owner == config:
            return lines[:start], lines[start : end + 1], lines[end + 1 :]
    return lines, [], []


def strip_sections(front: FrontMatter) -> None:
    """Take every generated section out of a card.

    Raises:
        CardError: the markers in the card do not pair up.
    """
    lines, begins, ends = _markers(front.body)
    inside = {i for (start, _), end in zip(begins, ends, strict=True) for i in range(start, end + 1)}
    front.body = "".join(line for i, line in enumerate(lines) if i not in inside)


def _markers(body: str) -> tuple[list[str], list[tuple[int, str]], list[int]]:
    """The lines of a body, where sections begin and for which configuration, and where they end."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", body)
    begins = [(i, marker[1]) for i, line in enumerate(lines) if (marker := _BEGIN.fullmatch(line))]
    ends = [i for i, line in enumerate(lines) if _END.fullmatch(line)]
    order = sorted([*((i, "begin") for i, _ in begins), *((i, "end") for i in ends)])
    if [kind for _, kind in order] != ["begin", "end"] * len(begins):
        raise CardError(
            "the card's hf_datamap markers do not pair up: every <!-- hf_datamap:begin … --> needs its own "
            "<!-- hf_datamap:end --> after it; restore them, or remove the generated section as a whole"
        )
    return lines, begins, ends


class _Links:
    """Addresses into the Hub; built from checked names, so safe as Markdown."""

    def __init__(self, facts: Facts, target: CardTarget) -> None:
        self._target = target
        self.repo = name(target.repo_id) if target.repo_id else None
        self.config, self.splits = name(target.config), [name(split) for split in facts.splits]

    def sql(self, condition: str, order: str) -> Safe:
        """Links that open the SQL console on the rows that meet a condition, one per split."""
        return self._each(f"WHERE {condition} ORDER BY {order}")

    def _each(self, rest: str) -> Safe:
        links = []
        for split in self.splits[:_SQL_SPLITS]:
            table = split if split.isidentifier() else f'"{split}"'
            sql = quote(f"SELECT * FROM {table} {rest}", safe="")  # noqa: S608 - for the reader to run; checked names
            address = f"{HUB}/datasets/{self.repo}/viewer/{self.config}/{split}"
            links.append(f"[{split}]({address}?sql_console=true&sql={sql})")
        return Safe(", ".join(links))

    def region(self, region: str) -> Safe:
        """Links to the rows of a region."""
        return self.sql(f"datamap_region = '{region}'", "datamap_mean DESC")

    def suspects(self) -> Safe:
        """Links to the suspects."""
        return self.sql("datamap_suspect", "datamap_margin")

    def subset(self, config: str) -> Safe:
        """A link to a curated configuration."""
        return Safe(f"[{name(config)}]({HUB}/datasets/{self.repo}/viewer/{name(config)})")

    def subset_of(self, region: str) -> Safe | None:
        """The curated configuration that holds a region, if one is published."""
        configs = [config for config, of in (self._target.subsets or {}).items() if of == region]
        return name(configs[0]) if configs else None

    def dataset(self, repo_id: str) -> Safe:
        """A link to a dataset."""
        return Safe(f"[{markdown(repo_id)}]({HUB}/datasets/{name(repo_id)})")

    def space(self) -> Safe:
        """The line that leads to the Space."""
        return _space_link(str(self._target.space))


@cache
def _compiled() -> Any:  # noqa: ANN401 - jinja2.Template, imported late
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_show, autoescape=False
    )
    environment.filters.update(percent=_percent, sources=_sources, name=name, short=_short)
    return environment.from_string(template())


def _show(value: object) -> str:
    """Turn any value of the template into harmless Markdown."""
    if isinstance(value, Safe):
        return value
    if value is None or value == "":
        return "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return markdown(value)


def _percent(value: float | None) -> Safe:
    return Safe("–" if value is None else f"{value:.1%}")


def _short(value: float | None) -> Safe:
    """A number for a table cell, a dash for none."""
    return Safe("–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}")


def _sources(sources: Sequence[tuple[str, float]]) -> Safe:
    return Safe(", ".join(f"{markdown(source, 40)} {share:.0%}" for source, share in sources) or "–")
