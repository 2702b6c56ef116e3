"""A release ready to go up, told in operations against the state a repository is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data import columns
from hf_datamap.errors import CardError, HubError, MapError
from hf_datamap.publish import repo_state as existing
from hf_datamap.publish.card import Config, Facts, FrontMatter, Place, compose, problems, sections, space_of
from hf_datamap.publish.commit import Head
from hf_datamap.publish.shards import Written

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

_FOLDER: Final = "datamap"


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
    folders = sections(front.body)
    owners = [name for name in folders if config_name == name or region_of(config_name, name)]
    if folders and not owners:
        raise MapError(f"config {config_name!r} is not mapped; mapped is {', '.join(sorted(folders))}")
    return folders[owners[0]] if owners else _FOLDER  # a card may have lost its section


@dataclass(frozen=True)
class Told:
    """A release against a state of the repository.

    Attributes:
        card: its card.
        place: where it stands there.
        gone: the shards of an earlier release that go.
    """

    card: str
    place: Place
    gone: frozenset[str]


@dataclass(frozen=True)
class Release:
    """What is to be published; turned into operations against whatever state the repository is in.

    Attributes:
        facts: what the card tells.
        written: the configurations, the mapped one first.
        regions: the curated configurations and their regions.
        files: the map's own files by name.
        place: repository, configuration and Space.
        terms: looks up language and licence of the source.
        card: the card to start from where there is none.
    """

    facts: Facts
    written: list[Written]
    regions: Mapping[str, str | None]
    files: Mapping[str, Path]
    place: Place
    terms: Callable[[], Mapping[str, Any]]
    card: str

    def operations(self, head: Head) -> Iterator[CommitOperationAdd | CommitOperationDelete]:
        """Yield what brings the repository from a state to this release.

        Raises:
            CardError: the card that is there is broken, or the Hub would refuse the one it would become.
            HubError: something that is there would be lost or could not be read any more.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        told = self.told(self._text(head), head.files)
        if wrong := problems(told.card):
            raise CardError(
                f"the Hub would refuse the card of {head.repo_id}: {'; '.join(wrong)}. Correct it there first"
            )
        yield CommitOperationAdd("README.md", told.card.encode())
        for leaf, file in self.files.items():
            yield CommitOperationAdd(f"{told.place.folder}/{leaf}", file)
        for path, file in self._shards().items():
            yield CommitOperationAdd(path, file)
        yield from (CommitOperationDelete(path) for path in sorted(told.gone))
        if (infos := head.read("dataset_infos.json")) is not None:
            rest = existing.without_infos(infos, self._names())
            yield (
                CommitOperationAdd("dataset_infos.json", rest) if rest else CommitOperationDelete("dataset_infos.json")
            )

    def told(self, text: str, files: frozenset[str]) -> Told:
        """What the release makes of a repository with this card and these files.

        Raises:
            CardError: the card's YAML or markers are broken.
            HubError: something that is there would be lost or could not be read any more.
        """
        front = FrontMatter(text)
        there = existing.configs(front.data, files)
        self._same_splits(there)
        dropped = self._stale(there)
        others = {name: splits for name, splits in there.items() if name not in {*self._names(), *dropped}}
        self._one_format(others)
        gone = self._old_shards(files, there, dropped) - self._shards().keys()
        place = self._placed(front)
        card = compose(
            self.facts,
            [self._precise(written, files - gone) for written in self.written],
            place,
            text,
            terms=self.terms(),
            kept={} if front.data.get("configs") else {k: v for k, v in there.items() if k not in self._names()},
            dropped=dropped,
        )
        self._others_untouched(others, existing.configs(FrontMatter(card).data, (files - gone) | self._shards().keys()))
        return Told(card, place, frozenset(gone))

    def _text(self, head: Head) -> str:
        if (readme := head.read("README.md")) is None:
            return self.card
        try:
            return readme.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CardError(f"the card of {head.repo_id} is not UTF-8 ({error}): correct it there first") from None

    def _shards(self) -> dict[str, Path]:
        return {path: file for written in self.written for path, file in written.files.items()}

    def _names(self) -> set[str]:
        return {written.config.name for written in self.written}

    def _same_splits(self, there: Mapping[str, existing.Splits]) -> None:
        """A split that would silently vanish is an error."""
        main = self.written[0].config
        if lost := sorted(set(there.get(main.name, {})) - set(main.rows)):
            raise HubError(
                f"config {main.name!r} of {self.place.repo_id} also has split {', '.join(lost)}, which this dataset "
                "lacks; map all splits (a DatasetDict), or push to a configuration of its own with "
                "config_name='datamap' (--config datamap)"
            )

    def _one_format(self, others: Mapping[str, existing.Splits]) -> None:
        """`datasets` reads every configuration of a repository in the format of the first."""
        for name, splits in others.items():
            odd = next((path for paths in splits.values() for path in paths if not path.endswith(".parquet")), None)
            if odd:
                raise HubError(
                    f"{self.place.repo_id} keeps its data in {odd} (config {name!r}); `datasets` cannot read that "
                    f"beside the Parquet of a map. Map config {name!r} itself (--config {name}), or push to a "
                    "repository of its own"
                )

    def _others_untouched(self, before: Mapping[str, existing.Splits], after: Mapping[str, existing.Splits]) -> None:
        """Files of other configurations are not overwritten, and theirs are still all that they read."""
        for name, splits in before.items():
            files = {path for paths in splits.values() for path in paths}
            then = {path for paths in after.get(name, {}).values() for path in paths}
            if odd := min((files & self._shards().keys()) | (files ^ then), default=None):
                raise HubError(
                    f"config {name!r} of {self.place.repo_id} reads {odd} too, which this push writes or removes: map "
                    f"that config itself (--config {name}), or push under another name (config_name, --config). If its "
                    "data_files match more than its own files, make them narrower in the card first"
                )

    def _stale(self, there: Mapping[str, existing.Splits]) -> set[str]:
        """Region subsets of an earlier release that this one does not have."""
        regions = {subset_name(region, self.place.config) for region in columns.REGIONS}
        return {name for name in there if name in regions} - self._names()

    def _old_shards(self, files: frozenset[str], there: Mapping[str, existing.Splits], dropped: set[str]) -> set[str]:
        found: set[str] = set()
        for written in self.written:
            splits = {*written.config.rows, *there.get(written.config.name, {})}
            shards = existing.shards(files, written.config.directory)
            found |= {path for path, split in shards.items() if split in splits}
        for name in dropped:
            found |= set(existing.shards(files, name))
        return found

    def _precise(self, written: Written, others: frozenset[str]) -> Config:
        """Patterns that match the shards and no other file that is or stays there."""
        config, patterns = written.config, {}
        for split in config.rows:
            prefix = f"{config.directory}/{split}-"
            if any(path.startswith(prefix) and path not in written.files for path in others):
                count = next(path for path in written.files if path.startswith(prefix))[-len("00001.parquet") :]
                patterns[split] = f"{prefix}*-of-{count}"
        return replace(config, patterns=patterns)

    def _placed(self, front: FrontMatter) -> Place:
        folders = sections(front.body)
        taken = {folder for config, folder in folders.items() if config != self.place.config}
        folder = folders.get(self.place.config) or (f"{_FOLDER}/{self.place.config}" if _FOLDER in taken else _FOLDER)
        space = self.place.space or space_of(front, self.place.config)
        return replace(self.place, folder=folder, picture=f"{folder}/map.png", subsets=self.regions, space=space)
