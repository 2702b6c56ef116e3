"""`push_to_hub`: data, card, picture, map, index and curated subsets, in one commit."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.data.shards import splits_of
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.datamap.index import IndexedDataset, index_dataset, layout_of
from hf_datamap.errors import HubError, MapError
from hf_datamap.publish.card import CardTarget, Facts, FrontMatter, gather_facts, strip_sections
from hf_datamap.publish.card.escape import find_secret
from hf_datamap.publish.card.metadata import TERMS
from hf_datamap.publish.commit import Commit, client, commit_whole, full_name
from hf_datamap.publish.config_files import shard_bytes, write_config, write_index
from hf_datamap.publish.folder import without_secrets
from hf_datamap.publish.hub_errors import is_transient
from hf_datamap.publish.plan import Release, region_of, subset_name
from hf_datamap.publish.time_limits import default_for

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from huggingface_hub import HfApi

_NAME: Final = re.compile(r"[\w.-]+")
_LOCAL: Final = re.compile(r"[/~.\\]|[A-Za-z]:[/\\]|file:")


def push_to_hub(
    ds: Dataset | DatasetDict,
    repo_id: str,
    *,
    data_map: DataMap | None = None,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | bool | None = None,
    config_name: str = "default",
    max_shard_size: int | str | None = None,
    space: str | bool | None = None,
    subsets: Sequence[str] | Mapping[str, Dataset | DatasetDict] | None = None,
    card: str | None = None,
    timeout: float | None = None,
) -> Commit:
    """Publish a mapped dataset: a reader sees the old state or the new one, whole.

    Goes up: the data as Parquet shards, the card (merged into the one that is there), ``datamap/map.png``,
    ``datamap/datamap.json``, ``datamap/index.parquet``, and curated subsets as configurations of their own. All of
    it is one commit; doing it again finishes what was interrupted and commits nothing when nothing has changed. A
    second mapped configuration of a repository keeps its map in ``datamap/CONFIG/``.

    Args:
        ds: a mapped dataset; `Dataset` counts as the split it names, else ``train``.
        repo_id: ``me/name``, or ``name`` for the user's own; made when it does not exist.
        data_map: the map; fitted anew when not given.
        private: whether a new repository is private.
        revision: branch to commit to.
        create_pr: open a pull request instead (for somebody else's repository); pushing again continues it.
        token: a token with write access; the one of ``hf auth login`` by default.
        config_name: configuration that holds the data.
        max_shard_size: decoded bytes of a shard, ``500MB`` by default.
        space: id of a Space to deploy for this dataset (True: the dataset's own name), linked from the card.
        subsets: curated configurations: names of regions, or datasets by name; the regions that have rows by
            default, none with ``()``. Those of another configuration than ``default`` are named
            ``CONFIG-REGION``.
        card: README to start from when the repository has none.
        timeout: seconds that the upload and the commit may take; by default 900, and one more for each 500 KB.

    Returns:
        The commit, or the pull request.

    Raises:
        MapError: the dataset is not mapped, or not by this map.
        CardError: the card that is there is broken.
        HubError: the Hub refuses or cannot be reached; what is there is as it was.
    """
    if create_pr and revision is not None:
        raise HubError("create_pr (--create-pr) is for main: leave revision (--revision) out, or commit to that branch")
    api = client(token)
    checked = _check(ds, data_map, config_name, subsets, max_shard_size)
    repo_id = full_name(api, repo_id)
    if space is True:
        space = repo_id
    if space:
        space = _put_space(api, str(space), repo_id, private=private)
    with tempfile.TemporaryDirectory(prefix="hf_datamap-") as name:
        target = CardTarget(repo_id=repo_id, config=config_name, space=space or None)
        release = _prepare(checked, Path(name), target, card or "", api)
        return commit_whole(
            api,
            repo_id,
            release.operations,
            title=f"Alignment Data Map of config {config_name}",
            revision=revision,
            create_pr=create_pr,
            create=lambda: api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True),
            seconds=default_for(release.nbytes) if timeout is None else timeout,
        )


def preview_card(
    ds: Dataset | DatasetDict,
    repo_id: str,
    *,
    data_map: DataMap | None = None,
    config_name: str = "default",
    max_shard_size: int | str | None = None,
    subsets: Sequence[str] | Mapping[str, Dataset | DatasetDict] | None = None,
    card: str | None = None,
    existing: str | None = None,
) -> str:
    """Return the card that `push_to_hub` would write; nothing is asked of the network.

    Only a licence and a language that the source's own card tells, and not the map, are looked up by the push alone.

    Args:
        ds: a mapped dataset.
        repo_id: ``owner/name``.
        data_map: the map, as for `push_to_hub`.
        config_name: as for `push_to_hub`.
        max_shard_size: as for `push_to_hub`.
        subsets: as for `push_to_hub`.
        card: README to start from when the repository has none.
        existing: the README that the repository has.

    Raises:
        MapError: the dataset is not mapped, or not by this map.
        CardError: the existing card's YAML or markers are broken.
        HubError: a name cannot be used.
    """
    if "/" not in repo_id:
        raise HubError(f"{repo_id!r} does not say whose repository it is: write OWNER/{repo_id}")
    checked = _check(ds, data_map, config_name, subsets, max_shard_size)
    with tempfile.TemporaryDirectory(prefix="hf_datamap-") as name:
        target = CardTarget(repo_id=repo_id, config=config_name)
        release = _prepare(checked, Path(name), target, card or "", api=None)
        return release.changes(release.card if existing is None else existing, frozenset()).card


@dataclass(frozen=True)
class _Checked:
    """What was checked and may be published: the dataset, its map, the survey of its rows, its curated subsets."""

    ds: Dataset | DatasetDict
    splits: Mapping[str, Dataset]
    data_map: DataMap
    indexed: IndexedDataset
    curated: Mapping[str, Dataset | DatasetDict]
    shard_bytes: int


def _check(
    ds: Dataset | DatasetDict,
    data_map: DataMap | None,
    config_name: str,
    subsets: Sequence[str] | Mapping[str, Dataset | DatasetDict] | None,
    max_shard_size: int | str | None,
) -> _Checked:
    from datasets import Dataset, DatasetDict

    if not _NAME.fullmatch(config_name) or config_name in ("data", "."):
        raise HubError(f"config_name {config_name!r} cannot be used: letters, digits, . _ - and not 'data'")
    if not isinstance(ds, Dataset | DatasetDict):
        raise MapError(f"a {type(ds).__name__} cannot be published: make it a Dataset first (it is read several times)")
    limit = shard_bytes(max_shard_size)
    splits = splits_of(ds)
    data_map, indexed = _consistent_map(ds, splits, data_map)
    return _Checked(ds, splits, data_map, indexed, _curated(splits, subsets, config_name), limit)


def _prepare(checked: _Checked, folder: Path, target: CardTarget, card: str, api: HfApi | None) -> Release:
    """Write the data that goes up into a folder; with a client, look up the terms and write the map's files too."""
    subsets = {name: splits_of(subset) for name, subset in checked.curated.items()}
    data_map = without_secrets(_public(checked.data_map))
    facts = gather_facts(checked.indexed, data_map)
    return Release(
        facts=facts,
        written=[
            write_config(name, "data" if name == "default" else name, splits, folder, checked.shard_bytes)
            for name, splits in {target.config: checked.splits, **subsets}.items()
        ],
        regions={name: region_of(name, target.config) for name in subsets},
        files=_map_files(checked.ds, data_map, checked.indexed, folder) if api else {},
        target=target,
        terms=cache(lambda: _terms(api, facts) if api else {}),
        card=_bare(card),
    )


def _put_space(api: HfApi, space: str, dataset: str, *, private: bool | None) -> str:
    from hf_datamap.publish.space import put_space

    try:
        return put_space(api, space, dataset=dataset, private=private).repo_id
    except HubError as error:
        raise HubError(f"{error}. Nothing was published: push without space (--space) first") from error


def _consistent_map(
    ds: Dataset | DatasetDict, splits: Mapping[str, Dataset], data_map: DataMap | None
) -> tuple[DataMap, IndexedDataset]:
    """The map, and the index of the dataset once its regions are known to be this map's."""
    if bad := sorted({*splits, ""} - {split for split in splits if re.fullmatch(r"\w+(\.\w+)*", split)} - {""}):
        raise HubError(f"split {bad[0]!r} cannot be published: letters, digits, _ and . only")
    if any(columns.REGION not in split.column_names for split in splits.values()):
        raise MapError("the dataset has no datamap_region: data_map.assign(ds) adds it, or dm.annotate(ds, scorer)")
    data_map = data_map or DataMap.fit(ds)
    if secret := find_secret(data_map.to_json()):
        raise MapError(f"the map's provenance holds what looks like a secret ({secret}): remove it before publishing")
    indexed = index_dataset(ds, layout_of(data_map.provenance))
    index = indexed.table
    order = pa.concat_tables([index.filter(pa.compute.equal(index["split"], split)) for split in splits])
    mean, variance = (order[name].to_numpy() for name in ("mean", "variance"))
    expected = np.array(columns.REGIONS)[data_map.codes(mean, variance)]
    ties = np.zeros(len(expected), bool)
    for values, boundary in ((variance, data_map.variance), (mean, data_map.mean)):
        if boundary:
            ties |= values == np.float32(boundary.value)
    wrong = (order["region"].cast(pa.string()).to_numpy(zero_copy_only=False) != expected) & ~ties
    if wrong.any():
        raise MapError(
            f"{int(wrong.sum())} rows are in another region than this map puts them (the first is row "
            f"{int(np.flatnonzero(wrong)[0])}): pass the data_map the dataset was assigned with, or data_map.assign(ds)"
        )
    return data_map, indexed


def _public(data_map: DataMap) -> DataMap:
    """The map without the folders of the machine it was made on: a file's path shrinks to its name."""
    source = data_map.provenance.get("source")
    source_id = source.get("id") if isinstance(source, Mapping) else None
    if isinstance(source, Mapping) and isinstance(source_id, str) and _LOCAL.match(source_id):
        public = {**data_map.provenance, "source": {**source, "id": PurePath(source_id).name}}
        return data_map.model_copy(update={"provenance": public})
    return data_map


def _bare(card: str) -> str:
    """A folder's card as the start of a repository's: what the folder's layout says about files does not hold there."""
    front = FrontMatter(card)
    for key in ("configs", "dataset_info"):
        front.remove(key)
    strip_sections(front)
    return front.text()


def _curated(
    splits: Mapping[str, Dataset], subsets: Sequence[str] | Mapping[str, Dataset | DatasetDict] | None, config_name: str
) -> dict[str, Dataset | DatasetDict]:
    if isinstance(subsets, Mapping):
        if bad := [name for name in subsets if not _NAME.fullmatch(name) or name in ("data", config_name)]:
            raise HubError(
                f"a subset cannot be called {bad[0]!r}: letters, digits, . _ -, and not {config_name!r} or 'data'"
            )
        return dict(subsets)
    by_region = {region: _of_region(splits, region) for region in columns.REGIONS[:3]}
    filled = [region for region, subset in by_region.items() if subset]
    if subsets is None:
        subsets = filled if len(filled) > 1 else ()
    if unknown := [name for name in subsets if name not in columns.REGIONS[:3]]:
        raise HubError(
            f"there is no region {unknown[0]!r}: use {', '.join(columns.REGIONS[:3])}, or pass datasets by name"
        )
    return {subset_name(region, config_name): by_region[region] for region in subsets if region in filled}


def _of_region(splits: Mapping[str, Dataset], region: str) -> DatasetDict:
    from datasets import DatasetDict

    rows = {}
    for name, split in splits.items():
        in_region = pa.compute.equal(split.with_format("arrow")[:][columns.REGION], region)
        numbers = np.flatnonzero(in_region.to_numpy(zero_copy_only=False))
        if len(numbers):
            rows[name] = split.select(numbers)
    return DatasetDict(rows)


def _map_files(ds: Dataset | DatasetDict, data_map: DataMap, indexed: IndexedDataset, folder: Path) -> dict[str, Path]:
    from hf_datamap.datamap.plot import draw

    files = {leaf: folder / leaf for leaf in ("datamap.json", "index.parquet", "map.png")}
    data_map.save(files["datamap.json"])
    write_index(indexed.table, files["index.parquet"])
    draw(ds, data_map, files["map.png"])
    return files


def _terms(api: HfApi, facts: Facts) -> dict[str, Any]:
    """Language and licence from the source's own card; nothing when there is none, or it may not be read."""
    source = facts.source_id
    if source is None:
        return {}
    try:
        path = api.hf_hub_download(source, "README.md", repo_type="dataset", revision=facts.source["revision"])
        data = FrontMatter(Path(path).read_text(encoding="utf-8")).data
    except Exception as error:
        if is_transient(error):  # no answer is not "no card"
            raise
        return {}
    return {key: data[key] for key in TERMS if key in data}
