"""The dataset card: facts about a map, told by one template, merged into what the publisher wrote."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_datamap.data import columns
from hf_datamap.data.dataset import every_nth
from hf_datamap.data.shards import decoded_bytes, splits_of
from hf_datamap.datamap.index import SAMPLE_ROWS, index_dataset, layout_of
from hf_datamap.errors import CardError
from hf_datamap.publish.card.facts import Facts, gather_facts
from hf_datamap.publish.card.frontmatter import FrontMatter
from hf_datamap.publish.card.metadata import Config, update
from hf_datamap.publish.card.render import (
    CardTarget,
    link_space,
    map_folders,
    merge,
    render_section,
    space_of,
    strip_sections,
    template,
)
from hf_datamap.publish.card.validate import card_problems, config_refusals

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.datamap.datamap import DataMap

__all__ = [
    "CardTarget",
    "Config",
    "Facts",
    "FrontMatter",
    "card_problems",
    "check_mergeable",
    "compose_card",
    "gather_facts",
    "link_space",
    "map_folders",
    "render",
    "space_of",
    "strip_sections",
    "template",
]


def render(
    ds: Dataset | DatasetDict,
    data_map: DataMap,
    *,
    existing: str = "",
    target: CardTarget | None = None,
    directory: str = "data",
) -> str:
    """Return the card of a mapped dataset; nothing is asked of the network.

    Args:
        ds: the dataset with the map's columns.
        data_map: the map, with its provenance.
        existing: a card to merge into: text outside the markers and YAML of other origin stay byte for byte.
        target: where the card will stand; a folder with ``map.png`` by default.
        directory: folder of the shards, ``<split>-*`` in it.

    Raises:
        MapError: a column of the map is missing.
        CardError: the existing card's YAML or markers are broken.
    """
    target = target or CardTarget()
    splits = splits_of(ds)
    features = next(iter(splits.values())).features
    rows = {name: len(split) for name, split in splits.items()}
    # datasets ignores the whole of dataset_info where a split lacks its size.
    nbytes = {name: decoded_bytes(split) for name, split in splits.items()}
    config = Config(target.config, directory, features, rows, nbytes)
    return compose_card(_facts(splits, data_map), [config], target, existing)


def _facts(splits: Mapping[str, Dataset], data_map: DataMap) -> Facts:
    """The facts of a mapped dataset; of a large one that is as it was mapped, those about texts are of a sample."""
    layout = layout_of(data_map.provenance)
    rows = sum(map(len, splits.values()))
    audited = any(columns.SUSPECT in split.column_names for split in splits.values())
    sampled = every_nth(splits, 1 if audited or rows != data_map.rows else max(1, -(-rows // SAMPLE_ROWS)))
    facts = gather_facts(index_dataset(sampled, layout), data_map)
    if sum(map(len, sampled.values())) == rows:
        return facts
    return facts.counted({name: len(split) for name, split in splits.items()})


def check_mergeable(existing: str) -> None:
    """Make sure that a card can be merged into, before anything is spent on what will be merged.

    Raises:
        CardError: its YAML or markers are broken, or its configurations have another form than the Hub's.
    """
    front = FrontMatter(existing)
    if wrong := config_refusals(front.data):
        raise CardError("; ".join(wrong))
    strip_sections(front)


def compose_card(
    facts: Facts,
    configs: Sequence[Config],
    target: CardTarget,
    existing: str = "",
    *,
    terms: Mapping[str, Any] | None = None,
    kept: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    dropped: Collection[str] = (),
) -> str:
    """Return a card from facts: YAML brought up to date, the generated section put in place.

    Args:
        facts: what is known about the map.
        configs: what is published, the mapped configuration first.
        target: where the card will stand.
        existing: the card that is there.
        terms: language and licence of the source dataset.
        kept: configurations of the repository that its card does not list.
        dropped: configurations that go.

    Raises:
        CardError: the existing card's YAML or markers are broken.
    """
    front = FrontMatter(existing)
    update(front, facts, configs, repo_id=target.repo_id, terms=terms, kept=kept, dropped=dropped)
    title = target.repo_id.rpartition("/")[2] if target.repo_id else facts.source_name or "Alignment Data Map"
    merge(front, render_section(facts, target, front.data.get("license")), target.config, title)
    return front.text()
