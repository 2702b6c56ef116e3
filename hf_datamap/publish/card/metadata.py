"""The card's YAML: what the map knows goes in, what the publisher wrote stays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.errors import CardError
from hf_datamap.publish.card.facts import Facts
from hf_datamap.publish.card.frontmatter import FrontMatter
from hf_datamap.publish.card.validate import LICENSES, config_refusals, refusals, size_category

if TYPE_CHECKING:
    from datasets import Features

TAGS: Final = ("datamap", "alignment-data-map", "preference", "dpo", "rlhf")
#: What may be copied from the card of the source dataset.
TERMS: Final = ("language", "license", "license_name", "license_link")


@dataclass(frozen=True)
class Config:
    """One configuration of a repository, as its card describes it.

    Attributes:
        name: its name.
        directory: folder of its shards.
        features: columns and types.
        rows: rows per split.
        nbytes: decoded size per split, in bytes; empty when not known.
        patterns: files per split; ``DIRECTORY/SPLIT-*`` where not given.
        download_size: size of its files in bytes, None when not known.
    """

    name: str
    directory: str
    features: Features
    rows: Mapping[str, int]
    nbytes: Mapping[str, int] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    download_size: int | None = None

    def data_files(self) -> dict[str, Any]:
        """Return the item of ``configs``."""
        files = [
            {"split": split, "path": self.patterns.get(split, f"{self.directory}/{split}-*")} for split in self.rows
        ]
        return {"config_name": self.name, "data_files": files}

    def info(self) -> dict[str, Any]:
        """Return the item of ``dataset_info``."""
        from datasets import DatasetInfo
        from datasets.info import DatasetInfosDict
        from huggingface_hub import DatasetCardData

        card = DatasetCardData()
        DatasetInfosDict({self.name: DatasetInfo(features=self.features, config_name=self.name)}).to_dataset_card_data(
            card
        )
        splits = [
            {"name": split, **({"num_bytes": self.nbytes[split]} if split in self.nbytes else {}), "num_examples": rows}
            for split, rows in self.rows.items()
        ]
        sizes = {"dataset_size": sum(self.nbytes.values())} if self.nbytes else {}
        if self.download_size is not None:
            sizes = {"download_size": self.download_size, **sizes}
        return {"config_name": self.name, "features": card["dataset_info"]["features"], "splits": splits, **sizes}


def update(
    front: FrontMatter,
    facts: Facts,
    configs: Sequence[Config],
    *,
    repo_id: str | None = None,
    terms: Mapping[str, Any] | None = None,
    kept: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    dropped: Collection[str] = (),
) -> None:
    """Bring a card's YAML up to date.

    Args:
        front: the card; changed in place.
        facts: what is known about the map.
        configs: the configurations that are published now; the first is the mapped one.
        repo_id: where the card will be; a dataset is not its own source.
        terms: language and licence of the source; never override what the card says.
        kept: files per split of configurations that are in the repository without being listed in its card.
        dropped: names of configurations that go.

    Raises:
        CardError: what the card says of configurations has another form than the Hub's.
    """
    described = _accepted({**{key: facts.source[key] for key in TERMS if facts.source.get(key)}, **(terms or {})})
    if wrong := config_refusals(front.data):
        raise CardError(f"the card's YAML cannot be merged into: {'; '.join(wrong)}. Correct it first")
    licensed = "license" in front.data
    for key in TERMS:
        if key in described and key not in front.data and not (licensed and key.startswith("license")):
            front.set(key, described[key])
    if facts.source_id and facts.source_id != repo_id:
        front.set_items("source_datasets", [facts.source_id], str)
    front.set_items("annotations_creators", ["machine-generated"], str)
    if "task_categories" not in front.data:
        front.set("task_categories", ["text-generation"])
    front.set_items("tags", TAGS, str)
    _list_configs(front, configs, kept or {}, dropped)
    _size(front)


def _accepted(described: Mapping[str, Any]) -> dict[str, Any]:
    """The source's terms in a form that the Hub accepts: what has none is left out, nothing is made up."""
    terms = dict(described)
    licences = terms.get("license")
    texts = [one for one in licences if isinstance(one, str)] if isinstance(licences, list) else [licences]
    if any(isinstance(one, str) and one not in LICENSES for one in texts):
        name = terms.get("license_name") or ", ".join(map(str, texts))
        terms |= {"license": "other", "license_name": name}
    accepted = {key: value for key, value in terms.items() if not refusals({key: value})}
    return accepted if "license" in accepted else {k: v for k, v in accepted.items() if k == "language"}


def _list_configs(
    front: FrontMatter,
    configs: Sequence[Config],
    kept: Mapping[str, Mapping[str, Sequence[str]]],
    dropped: Collection[str],
) -> None:
    listed = [item for item in front.data.get("configs") or [] if isinstance(item, dict)]
    old = {item.get("config_name"): item for item in listed}
    implied = [
        {"config_name": name, "data_files": [{"split": split, "path": list(paths)} for split, paths in splits.items()]}
        for name, splits in kept.items()
        if name not in old
    ]
    items = []
    for config in configs:
        described = old.get(config.name, {})  # what else it says (a separator, a folder) is about the files it had
        items.append({**config.data_files(), **{k: described[k] for k in ("default", "version") if k in described}})
    mine = {item["config_name"]: item for item in items}
    everything = {*old, *(item["config_name"] for item in implied), *(config.name for config in configs)} - {*dropped}
    has_default = "default" in everything or any(item.get("default") for item in [*listed, *items])
    if len(everything) > 1 and not has_default:
        # load_dataset(repo) needs one to choose: the only one there was, else the mapped one
        before = [item for item in [*listed, *implied] if item["config_name"] in everything]
        chosen = before[0] if len(before) == 1 else items[0]
        items = [item for item in items if item["config_name"] != chosen["config_name"]]
        items.insert(0, {**mine.get(chosen["config_name"], chosen), "default": True})
    front.set_items("configs", [*implied, *items], _name, lambda item: _name(item) in dropped)
    if isinstance(front.data.get("dataset_info"), dict) and "config_name" not in front.data["dataset_info"]:
        front.set("dataset_info", [{"config_name": "default", **front.data["dataset_info"]}])
    front.set_items("dataset_info", [config.info() for config in configs], _name, lambda item: _name(item) in dropped)


def _name(item: Any) -> Any:  # noqa: ANN401 - an item of other people's YAML
    return item.get("config_name", "default") if isinstance(item, dict) else str(item)


def _size(front: FrontMatter) -> None:
    """The size class of the largest configuration: curated subsets repeat its rows."""
    sizes = []
    for info in front.data["dataset_info"]:
        splits = info.get("splits") if isinstance(info, dict) else None
        if not isinstance(splits, list) or not all(isinstance(s, dict) and "num_examples" in s for s in splits):
            continue
        sizes.append(sum(int(split["num_examples"]) for split in splits))
    known = {_name(info) for info in front.data["dataset_info"]}
    if "size_categories" in front.data and {_name(item) for item in front.data["configs"]} - known:
        return  # a configuration of unknown size: the publisher knows better
    front.set("size_categories", [size_category(max(sizes, default=0))])
