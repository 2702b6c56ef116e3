"""The dataset card: facts about a map, told by one template, merged into what the publisher wrote."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_datamap.data.shards import decoded_bytes, splits_of
from hf_datamap.datamap.index import layout_of, survey
from hf_datamap.publish.card.facts import Facts, gather
from hf_datamap.publish.card.frontmatter import FrontMatter
from hf_datamap.publish.card.metadata import Config, update
from hf_datamap.publish.card.render import Place, link_space, merge, section, sections, space_of, strip, template
from hf_datamap.publish.card.validate import problems

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.datamap.datamap import DataMap

__all__ = [
    "Config",
    "Facts",
    "FrontMatter",
    "Place",
    "compose",
    "gather",
    "link_space",
    "problems",
    "render",
    "sections",
    "space_of",
    "strip",
    "template",
]


def render(
    ds: Dataset | DatasetDict,
    data_map: DataMap,
    *,
    existing: str = "",
    place: Place | None = None,
    directory: str = "data",
) -> str:
    """Return the card of a mapped dataset; nothing is asked of the network.

    Args:
        ds: the dataset with the map's columns.
        data_map: the map, with its provenance.
        existing: a card to merge into: text outside the markers and YAML of other origin stay byte for byte.
        place: where the card will stand; a folder with ``map.png`` by default.
        directory: folder of the shards, ``<split>-*`` in it.

    Raises:
        MapError: a column of the map is missing.
        CardError: the existing card's YAML or markers are broken.
    """
    place = place or Place()
    splits = splits_of(ds)
    features = next(iter(splits.values())).features
    rows = {name: len(split) for name, split in splits.items()}
    # datasets ignores the whole of dataset_info where a split lacks its size.
    nbytes = {name: decoded_bytes(split) for name, split in splits.items()}
    config = Config(place.config, directory, features, rows, nbytes)
    return compose(gather(survey(ds, layout_of(data_map.provenance)), data_map), [config], place, existing)


def compose(
    facts: Facts,
    configs: Sequence[Config],
    place: Place,
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
        place: where the card will stand.
        existing: the card that is there.
        terms: language and licence of the source dataset.
        kept: configurations of the repository that its card does not list.
        dropped: configurations that go.

    Raises:
        CardError: the existing card's YAML or markers are broken.
    """
    front = FrontMatter(existing)
    update(front, facts, configs, repo_id=place.repo_id, terms=terms, kept=kept, dropped=dropped)
    title = place.repo_id.rpartition("/")[2] if place.repo_id else facts.source_name or "Alignment Data Map"
    merge(front, section(facts, place), place.config, title)
    return front.text()
