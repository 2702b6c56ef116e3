"""`load`: dataset and map back from the Hub or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, overload

from hf_datamap.datamap.datamap import DataMap
from hf_datamap.errors import CardError, DataMapError, MapError
from hf_datamap.publish.card import FrontMatter
from hf_datamap.publish.folder import MAP_FILE, read_folder
from hf_datamap.publish.hub_errors import check_token, explain
from hf_datamap.publish.plan import map_folder

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_ATTEMPTS: Final = 3  # at a folder that is being replaced


@overload
def load(
    source: str | Path,
    *,
    config_name: str = ...,
    split: str,
    revision: str | None = ...,
    token: str | bool | None = ...,
) -> tuple[Dataset, DataMap]: ...
@overload
def load(
    source: str | Path,
    *,
    config_name: str = ...,
    split: None = ...,
    revision: str | None = ...,
    token: str | bool | None = ...,
) -> tuple[DatasetDict, DataMap]: ...
def load(
    source: str | Path,
    *,
    config_name: str = "default",
    split: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
) -> tuple[Dataset | DatasetDict, DataMap]:
    """Load a published map, or the folder that ``hf-datamap map`` wrote.

    To extend it, score new rows by the same scorer, give them regions by the same thresholds, and push again::

        new, _ = dm.annotate(rows, scorer)
        grown = concatenate_datasets([ds, data_map.assign(new)])
        dm.push_to_hub(grown, source, data_map=data_map)

    Args:
        source: a folder, or a dataset repository on the Hub.
        config_name: the mapped configuration, or one that holds a region of it.
        split: one split, as a `Dataset`; all of them, as a `DatasetDict`, by default.
        revision: branch, tag, commit or ``refs/pr/N`` on the Hub.
        token: for a private repository.

    Raises:
        MapError: there is no map.
        HubError: the Hub refuses or cannot be reached.
    """
    folder = Path(source)
    return _folder(folder, split) if folder.is_dir() else _hub(str(source), config_name, split, revision, token)


def _folder(folder: Path, split: str | None) -> tuple[Dataset | DatasetDict, DataMap]:
    from datasets import load_dataset

    for _ in range(_ATTEMPTS):
        mapped = read_folder(folder)
        if split is not None and split not in mapped.shards:
            raise MapError(f"{folder} has no split {split!r}; it has {', '.join(mapped.shards)}")
        files = {name: [str(path) for path in paths] for name, paths in mapped.shards.items()}
        try:
            ds = load_dataset("parquet", data_files=files, split=split)
        except FileNotFoundError:  # replaced while it was read
            continue
        if read_folder(folder) == mapped:
            return ds, mapped.data_map
    raise MapError(f"{folder} was replaced {_ATTEMPTS} times while it was read: try again when nobody writes to it")


def _hub(
    repo_id: str, config_name: str, split: str | None, revision: str | None, token: str | bool | None
) -> tuple[Dataset | DatasetDict, DataMap]:
    from datasets import load_dataset
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    check_token(token)
    api = HfApi(token=token, library_name="hf_datamap")

    def read(path: str, sha: str) -> str:
        return Path(api.hf_hub_download(repo_id, path, repo_type="dataset", revision=sha)).read_text(encoding="utf-8")

    try:
        sha = str(api.repo_info(repo_id, repo_type="dataset", revision=revision).sha)
        try:
            folder = map_folder(FrontMatter(read("README.md", sha)), config_name)
            data_map = DataMap.from_json(read(f"{folder}/{MAP_FILE}", sha))
        except (EntryNotFoundError, CardError):
            raise MapError(
                f"{repo_id} holds no Alignment Data Map of config {config_name!r}: make one with dm.annotate, or "
                "`hf-datamap map`"
            ) from None
        ds = load_dataset(repo_id, config_name, split=split, revision=sha, token=token)
    except HFValidationError:
        raise MapError(f"{repo_id!r} is neither a folder nor the name of a dataset on the Hub") from None
    except DataMapError:
        raise
    except Exception as error:
        raise explain(error, "load", repo_id) from error
    return ds, data_map
