"""A release ready to go up, told in operations against the state a repository is in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data import columns
from hf_datamap.errors import CardError, HubError, MapError
from hf_datamap.publish import repo_state
from hf_datamap.publish.card import (
    CardTarget,
    Config,
    Facts,
    FrontMatter,
    card_problems,
    compose_card,
    map_folders,
    space_of,
)
from hf_datamap.publish.commit import RepoSnapshot
from hf_datamap.publish.config_files import WrittenConfig

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

_FOLDER: Final = "datamap"
_DATA_FILE: Final = re.compile(r"(?i)\.(parquet|jsonl?|ndjson|csv|tsv|arrow)(\.(gz|zst|bz2|xz))?$")


def subset_name(region: str, config_name: str) -> str:
    """Return the name of the curated configuration that holds a region of a configuration."""
    return region if config_name == "default" else f"{config_name}-{region}"


def region_of(subset: str, config_name: str) -> str | None:
    """Return the region that a curated configuration holds, None for another choice of rows."""
    return next((region for region in columns.REGIONS if subset_name(region, config_name) == subset), None)


def map_folder(front: FrontMatter, config_name: str) -> str:
    """Return the folder of the map that a configuration belongs to: its own, or the one it holds a region of.

    Raises:
        MapError: the card tells of maps, and none of them is of this configuration.
    """
    folders = map_folders(front.body)
    owners = [name for name in folders if config_name == name or region_of(config_name, name)]
    if folders and not owners:
        raise MapError(f"config {config_name!r} is not mapped; mapped is {', '.join(sorted(folders))}")
    return folders[owners[0]] if owners else _FOLDER  # a card may have lost its section


@dataclass(frozen=True)
class ReleaseChanges:
    """A release against a state of the repository.

    Attributes:
        card: its card.
        target: the same, with the folder and the Space that it has in that repository.
        stale_shards: the shards of an earlier release, which are removed.
    """

    card: str
    target: CardTarget
    stale_shards: frozenset[str]


@dataclass(frozen=True)
class Release:
    """What is to be published; turned into operations against whatever state the repository is in.

    Attributes:
        facts: what the card tells.
        written: the configurations, the mapped one first.
        regions: the curated configurations and their regions.
        files: the map's own files by name.
        target: repository, configuration and Space.
        terms: looks up language and licence of the source.
        card: the card to start from where the repository has none.
    """

    facts: Facts
    written: list[WrittenConfig]
    regions: Mapping[str, str | None]
    files: Mapping[str, Path]
    target: CardTarget
    terms: Callable[[], Mapping[str, Any]]
    card: str

    @property
    def nbytes(self) -> int:
        """Size of all files."""
        paths = [*self.files.values(), *self._shards().values()]
        return sum(path.stat().st_size for path in paths)

    def operations(self, snapshot: RepoSnapshot) -> Iterator[CommitOperationAdd | CommitOperationDelete]:
        """Yield what brings the repository from a state to this release.

        Raises:
            CardError: the repository's card is broken, or the Hub would refuse the new one.
            HubError: other data of the repository would be lost or could not be read any more.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        changes = self.changes(self._card_text(snapshot), snapshot.files)
        if wrong := card_problems(changes.card):
            raise CardError(
                f"the Hub would refuse the card of {snapshot.repo_id}: {'; '.join(wrong)}. Correct it there first"
            )
        yield CommitOperationAdd("README.md", changes.card.encode())
        for leaf, file in self.files.items():
            yield CommitOperationAdd(f"{changes.target.folder}/{leaf}", file)
        for path, file in self._shards().items():
            yield CommitOperationAdd(path, file)
        yield from (CommitOperationDelete(path) for path in sorted(changes.stale_shards))
        if (infos := snapshot.read("dataset_infos.json")) is not None:
            rest = repo_state.without_infos(infos, self._config_names())
            yield (
                CommitOperationAdd("dataset_infos.json", rest) if rest else CommitOperationDelete("dataset_infos.json")
            )

    def changes(self, text: str, files: frozenset[str]) -> ReleaseChanges:
        """Return what the release makes of a repository with this card and these files.

        Raises:
            CardError: the card's YAML or markers are broken.
            HubError: other data of the repository would be lost or could not be read any more.
        """
        front = FrontMatter(text)
        present_configs = repo_state.configs(front.data, files)
        self._refuse_lost_splits(present_configs)
        dropped = self._dropped_configs(present_configs)
        others = {
            name: splits for name, splits in present_configs.items() if name not in {*self._config_names(), *dropped}
        }
        self._refuse_other_formats(others)
        stale_shards = self._stale_shards(files, present_configs, dropped) - self._shards().keys()
        unlisted = {} if front.data.get("configs") else present_configs
        target = self._target_in(front)
        card = compose_card(
            self.facts,
            [self._with_exact_patterns(written, files - stale_shards) for written in self.written],
            target,
            text,
            terms=self.terms(),
            kept={name: splits for name, splits in unlisted.items() if name not in self._config_names()},
            dropped=dropped,
        )
        self._refuse_overlaps(
            others, repo_state.configs(FrontMatter(card).data, (files - stale_shards) | self._shards().keys())
        )
        return ReleaseChanges(card, target, frozenset(stale_shards))

    def _card_text(self, snapshot: RepoSnapshot) -> str:
        if (readme := snapshot.read("README.md")) is None:
            return self.card
        try:
            return readme.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CardError(f"the card of {snapshot.repo_id} is not UTF-8 ({error}): correct it there first") from None

    def _shards(self) -> dict[str, Path]:
        return {path: file for written in self.written for path, file in written.files.items()}

    def _config_names(self) -> set[str]:
        return {written.config.name for written in self.written}

    def _refuse_lost_splits(self, present_configs: Mapping[str, repo_state.Splits]) -> None:
        """A split that would silently vanish is an error."""
        main = self.written[0].config
        if lost := sorted(set(present_configs.get(main.name, {})) - set(main.rows)):
            raise HubError(
                f"config {main.name!r} of {self.target.repo_id} also has split {', '.join(lost)}, which this dataset "
                "lacks; map all splits (a DatasetDict), or push to a configuration of its own with "
                "config_name='datamap' (--config datamap)"
            )

    def _refuse_other_formats(self, others: Mapping[str, repo_state.Splits]) -> None:
        """`datasets` reads every configuration of a repository in the format of the first."""
        for name, splits in others.items():
            all_paths = [path for paths in splits.values() for path in paths]
            if other_format := next((path for path in all_paths if not path.endswith(".parquet")), None):
                raise HubError(
                    f"{self.target.repo_id} keeps its data in {other_format} (config {name!r}); `datasets` cannot read "
                    f"that beside the Parquet of a map. Map config {name!r} itself (--config {name}), or push to a "
                    "repository of its own"
                )

    def _refuse_overlaps(self, before: Mapping[str, repo_state.Splits], after: Mapping[str, repo_state.Splits]) -> None:
        """Files of other configurations are not overwritten, and theirs are still all that they read."""
        for name, splits in before.items():
            files = {path for paths in splits.values() for path in paths}
            files_after = {path for paths in after.get(name, {}).values() for path in paths}
            if shared := min((files & self._shards().keys()) | (files ^ files_after), default=None):
                raise HubError(
                    f"config {name!r} of {self.target.repo_id} reads {shared} too, which this push writes or removes: "
                    f"map that config itself (--config {name}), or push under another name (config_name). If its "
                    "data_files match more than its own files, make them narrower in the card first"
                )

    def _dropped_configs(self, present_configs: Mapping[str, repo_state.Splits]) -> set[str]:
        """Region subsets of an earlier release that this one does not have."""
        regions = {subset_name(region, self.target.config) for region in columns.REGIONS}
        return {name for name in present_configs if name in regions} - self._config_names()

    def _stale_shards(
        self, files: frozenset[str], present_configs: Mapping[str, repo_state.Splits], dropped: set[str]
    ) -> set[str]:
        stale: set[str] = set()
        for written in self.written:
            splits = {*written.config.rows, *present_configs.get(written.config.name, {})}
            shards = repo_state.shards(files, written.config.directory)
            stale |= {path for path, split in shards.items() if split in splits}
        for name in dropped:
            stale |= set(repo_state.shards(files, name))
        return stale | self._orphans(files, present_configs)

    def _orphans(self, files: frozenset[str], present_configs: Mapping[str, repo_state.Splits]) -> set[str]:
        """Data files that the configurations of this release read before, and that nothing would read any more."""
        names = self._config_names()
        before, others = set(), set()
        for name, splits in present_configs.items():
            paths = {path for split_paths in splits.values() for path in split_paths}
            if name in names:
                before |= paths
            else:
                others |= paths
        return {path for path in (before & files) - others if _DATA_FILE.search(path)}

    def _with_exact_patterns(self, written: WrittenConfig, others: frozenset[str]) -> Config:
        """Patterns that match the shards and no other file that is in the repository or stays there."""
        config, patterns = written.config, {}
        for split in config.rows:
            prefix = f"{config.directory}/{split}-"
            if any(path.startswith(prefix) and path not in written.files for path in others):
                count = next(path for path in written.files if path.startswith(prefix))[-len("00001.parquet") :]
                patterns[split] = f"{prefix}*-of-{count}"
        return replace(config, patterns=patterns)

    def _target_in(self, front: FrontMatter) -> CardTarget:
        folders = map_folders(front.body)
        taken = {folder for config, folder in folders.items() if config != self.target.config}
        folder = folders.get(self.target.config) or (f"{_FOLDER}/{self.target.config}" if _FOLDER in taken else _FOLDER)
        space = self.target.space or space_of(front, self.target.config)
        return replace(self.target, folder=folder, picture=f"{folder}/map.png", subsets=self.regions, space=space)
