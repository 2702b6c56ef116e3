"""Opening a map on the Hub with the visitor's own token, and what the Hub's refusals mean."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from hf_datamap.errors import DataMapError
from mapspace.errors import SpaceError
from mapspace.hub_errors import check_id, hub_call
from mapspace.sources import OpenMap, assemble, by_split
from mapspace.texts import Shard

MAX_INDEX_BYTES: Final = 512 << 20
MAX_JSON_BYTES: Final = 4 << 20
MAX_SHARDS: Final = 2_000


def open_hub(dataset: str, *, config: str | None = None, token: str | None = None) -> OpenMap:
    """Open a mapped dataset of the Hub.

    Args:
        dataset: Hub id.
        config: the mapped configuration; the first one if None.
        token: the visitor's token; without one only public datasets open. The Space's own token is never used.

    Raises:
        NoAccessError: the dataset is missing, private or gated for this visitor.
        SpaceError: the dataset is not mapped or broken, or the Hub does not answer.
    """
    from huggingface_hub import HfApi, HfFileSystem

    name = check_id(dataset)
    info = hub_call(name, lambda: HfApi(token=token or False).dataset_info(name, files_metadata=True))
    sizes = {item.rfilename: item.size or 0 for item in info.siblings or ()}
    files = HfFileSystem(token=token or False, skip_instance_cache=True)
    base = f"datasets/{name}@{info.sha}"

    def read(path: str, limit: int) -> bytes | None:
        if path not in sizes:
            return None
        if sizes[path] > limit:
            raise SpaceError(f"{path} of {name} has {sizes[path] >> 20} MB; this Space reads up to {limit >> 20} MB")
        return bytes(hub_call(name, lambda: files.cat_file(f"{base}/{path}")))

    readme = read("README.md", MAX_JSON_BYTES) or b""
    configs = _configs(info.card_data, list(sizes))
    folders = _folders(readme.decode("utf-8", "replace"), configs, sizes)
    chosen = config or next(iter(folders), next(iter(configs)))
    if chosen not in (folders or configs):
        raise SpaceError(f"{name} has no map of config {chosen!r:.60}; there are {', '.join(folders or configs)}")
    folder = folders.get(chosen, "datamap")
    text = read(f"{folder}/datamap.json", MAX_JSON_BYTES)
    secret = token if info.private or info.gated else None
    return assemble(
        name,
        {
            split: tuple(Shard(f"{base}/{path}", files) for path in paths)
            for split, paths in configs.get(chosen, {}).items()
        },
        published=read(f"{folder}/index.parquet", MAX_INDEX_BYTES),
        text=text.decode("utf-8", "replace") if text else None,
        owner=hashlib.sha256(f"{name} {info.sha} {chosen} {secret}".encode()).hexdigest(),
        dataset=name,
        revision=info.sha,
        config=chosen,
        configs=tuple(folders or configs),
    )


def _folders(readme: str, configs: Iterable[str], paths: Iterable[str]) -> dict[str, str]:
    """Which config's map lies in which folder: as the card says, else one map for the first config."""
    from hf_datamap.publish.card import FrontMatter, map_folders

    try:
        said = {name: folder for name, folder in map_folders(FrontMatter(readme).body).items() if name in configs}
    except DataMapError:
        said = {}
    said = {name: folder for name, folder in said.items() if f"{folder}/index.parquet" in paths}
    return said or ({next(iter(configs)): "datamap"} if "datamap/index.parquet" in paths else {})


def _configs(card: Any, paths: Sequence[str]) -> dict[str, dict[str, list[str]]]:  # noqa: ANN401 - card data
    """Parquet files of each config and split, from the card's ``configs`` or else from the file names; at least one."""
    parquet = sorted(path for path in paths if path.endswith(".parquet") and not path.startswith("datamap/"))[
        :MAX_SHARDS
    ]
    listed = card.to_dict().get("configs") if card is not None else None
    configs: dict[str, dict[str, list[str]]] = {}
    for entry in sorted(listed or (), key=lambda item: not (isinstance(item, dict) and item.get("default"))):
        if not isinstance(entry, dict) or not isinstance(entry.get("config_name"), str):
            continue
        splits: dict[str, list[str]] = {}
        for split, patterns in _patterns(entry.get("data_files")):
            matching = [
                p for p in parquet if any(fnmatch.fnmatch(p, str(pattern).removeprefix("./")) for pattern in patterns)
            ]
            splits.setdefault(split, []).extend(matching)
        configs[entry["config_name"]] = {split: files for split, files in splits.items() if files}
    if not any(configs.values()):
        configs["default"] = by_split([path for path in parquet if path.startswith("data/") or "/" not in path])
    return configs


def _patterns(data_files: Any) -> list[tuple[str, list[str]]]:  # noqa: ANN401 - YAML of a card
    if isinstance(data_files, str):
        return [("train", [data_files])]
    pairs = []
    for item in data_files if isinstance(data_files, list) else ():
        if isinstance(item, dict) and isinstance(item.get("split"), str):
            paths = item.get("path")
            pairs.append((item["split"], [paths] if isinstance(paths, str) else list(paths or ())))
        elif isinstance(item, str):
            pairs.append(("train", [item]))
    return pairs
