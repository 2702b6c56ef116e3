"""`deploy_space`: the map Space, or the map as a static page, in one commit."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hf_datamap.datamap.datamap import DataMap
from hf_datamap.engine.config import __version__
from hf_datamap.errors import CardError, HubError, MapError
from hf_datamap.publish.card import FrontMatter, link_space
from hf_datamap.publish.card.escape import name
from hf_datamap.publish.card.render import HUB
from hf_datamap.publish.commit import Commit, RepoSnapshot, client, commit_whole, full_name, with_retries
from hf_datamap.publish.hub_errors import hub_message, status_of
from hf_datamap.publish.plan import map_folder
from hf_datamap.publish.space_app import space_files

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

_log = logging.getLogger(__name__)
_START: Final = '''"""Start the map on one dataset; the Space variable HF_DATAMAP_DATASET shows another."""

import os

os.environ.setdefault("HF_DATAMAP_DATASET", "{dataset}")

from app import main  # noqa: E402 - the setting comes first

main([])
'''
_BODY: Final = """
# {title}

The [Alignment Data Map](https://arxiv.org/abs/2505.23114) of [{dataset}]({hub}/datasets/{dataset}): one point per
prompt, mean against variance of its responses' alignment scores. Made with hf_datamap {version}.

<!-- hf_datamap:space -->
"""
_MARK: Final = "<!-- hf_datamap:space -->"
#: What a deployment owns in the Space's repository, besides its README.md.
_OWN: Final = ("app.py", "start.py", "requirements.txt", "index.html", "mapspace/")


def deploy_space(
    space_id: str,
    *,
    dataset: str,
    static: bool = False,
    config_name: str = "default",
    private: bool | None = None,
    token: str | bool | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Commit:
    """Create or update a Space that shows a published map; the two cards link to each other.

    Args:
        space_id: ``me/name``, or ``name`` for the user's own.
        dataset: the dataset repository with the map.
        static: a self-contained HTML page instead of the Gradio app: hosting is free, no server runs.
        config_name: the mapped configuration, shown by ``static`` and linked from its section of the card.
        private: whether a new Space is private; as private as the dataset by default.
        token: a token with write access; the one of ``hf auth login`` by default. It does not go into the Space.
        secrets: Space secrets to set, for example ``HF_TOKEN`` to read a private dataset; never part of a file.

    Raises:
        HubError: the Hub refuses (an account without Gradio Spaces: use ``static=True``) or cannot be reached.
        MapError: ``static``, and the dataset holds no map.
    """
    api = client(token)
    commit = put_space(api, space_id, dataset=dataset, static=static, config_name=config_name, private=private)
    for key, value in (secrets or {}).items():
        with_retries(_secret_setter(api, commit.repo_id, key, value), "set a secret of", commit.repo_id)
    _link(api, dataset, config_name, commit.repo_id)
    return commit


def put_space(
    api: HfApi,
    space_id: str,
    *,
    dataset: str,
    static: bool = False,
    config_name: str = "default",
    private: bool | None = None,
) -> Commit:
    """Create or update the Space itself; see `deploy_space`."""
    space_id = full_name(api, space_id)
    page = _page(api, dataset, config_name) if static else None

    def plan(snapshot: RepoSnapshot) -> Iterator[CommitOperationAdd | CommitOperationDelete]:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        contents = _contents(dataset, page)
        readme = snapshot.read("README.md")
        contents["README.md"] = _readme(readme.decode() if readme else "", dataset, static=static)
        for path, content in contents.items():
            yield CommitOperationAdd(path, content)
        for path in sorted(snapshot.files - contents.keys()):
            if path in _OWN or path.startswith("mapspace/"):
                yield CommitOperationDelete(path)

    def create() -> None:
        sdk = "static" if static else "gradio"
        try:
            private_space = _source_is_private(api, dataset) if private is None else private
            api.create_repo(space_id, repo_type="space", space_sdk=sdk, private=private_space, exist_ok=True)
        except Exception as error:
            if not static and status_of(error) in (402, 403):
                raise HubError(
                    f"cannot create the Space {space_id}: {hub_message(error)}. It takes a token that may write to "
                    f"{space_id.partition('/')[0]}, and a Gradio Space a PRO account or a team plan too; the map as a "
                    f"self-contained page is hosted for free: hf-datamap space deploy {space_id} --dataset {dataset} "
                    "--static (static=True)"
                ) from error
            raise

    title = f"Alignment Data Map of {dataset} (hf_datamap {__version__})"
    return commit_whole(api, space_id, plan, title=title, repo_type="space", create=create)


def _source_is_private(api: HfApi, dataset: str) -> bool | None:
    """Whether the dataset is private; None, which leaves it to the account, where it is public or not there yet."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return bool(api.repo_info(dataset, repo_type="dataset").private) or None
    except RepositoryNotFoundError:
        return None


def _link(api: HfApi, dataset: str, config_name: str, space_id: str) -> None:
    """Let the dataset's card link to the Space, where the dataset has a map and may be written to."""

    def plan(snapshot: RepoSnapshot) -> Iterator[CommitOperationAdd]:
        from huggingface_hub import CommitOperationAdd

        if (readme := snapshot.read("README.md")) is not None:
            front = FrontMatter(readme.decode())
            link_space(front, config_name, space_id)
            yield CommitOperationAdd("README.md", front.text().encode())

    try:
        commit_whole(api, dataset, plan, title=f"Link to the map Space {space_id}")
    except (CardError, HubError) as error:
        _log.warning("the card of %s does not link to the Space: %s", dataset, error)


def _secret_setter(api: HfApi, space_id: str, key: str, value: str) -> Callable[[], None]:
    return lambda: api.add_space_secret(space_id, key, value)


def _contents(dataset: str, page: str | None) -> dict[str, bytes]:
    if page is not None:
        return {"index.html": page.encode()}
    contents = {path: file.read_bytes() for path, file in space_files().items() if path != "README.md"}
    contents["start.py"] = _START.format(dataset=name(dataset)).encode()
    needed = [line for line in contents.get("requirements.txt", b"").decode().splitlines() if line.strip()]
    other = [line for line in needed if not re.match(r"hf[_-]datamap\b", line)]
    contents["requirements.txt"] = "".join(f"{line}\n" for line in [f"hf_datamap=={__version__}", *other]).encode()
    return contents


def _readme(existing: str, dataset: str, *, static: bool) -> bytes:
    """The Space's card: keys the app needs are set, the rest of a card that is there stays."""
    front = FrontMatter(existing)
    fresh = _MARK not in front.body
    title = f"Alignment Data Map of {dataset.rpartition('/')[2]}"
    needed = {"sdk": "static"} if static else {**_app_settings(), "sdk": "gradio", "app_file": "start.py"}
    looks = {"title": title, "emoji": "🗺️", "colorFrom": "blue", "colorTo": "yellow", "pinned": False}
    for key in ("sdk_version", "python_version", "app_file"):
        if key not in needed:
            front.remove(key)
    for key, value in {**(looks if fresh else {}), **needed}.items():
        front.set(key, value)
    front.set("datasets", [dataset])
    front.set_items("tags", ["datamap"], str)
    if fresh:
        front.body = _BODY.format(title=title, dataset=name(dataset), hub=HUB, version=__version__)
    return front.text().encode()


def _app_settings() -> dict[str, str]:
    """What the app's own card asks of the machine."""
    readme = space_files().get("README.md")
    data = FrontMatter(readme.read_text(encoding="utf-8")).data if readme else {}
    return {key: str(data[key]) for key in ("sdk_version", "python_version") if key in data}


def _page(api: HfApi, dataset: str, config_name: str) -> str:
    import pyarrow.parquet as pq
    from huggingface_hub.errors import EntryNotFoundError

    from hf_datamap.publish.static import static_map

    def read() -> str:
        sha = api.repo_info(dataset, repo_type="dataset").sha

        def local(path: str) -> str:
            return api.hf_hub_download(dataset, path, repo_type="dataset", revision=sha)

        folder = map_folder(FrontMatter(Path(local("README.md")).read_text(encoding="utf-8")), config_name)
        index, data_map = pq.read_table(local(f"{folder}/index.parquet")), DataMap.load(local(f"{folder}/datamap.json"))
        return static_map(
            index, data_map, title=f"Alignment Data Map of {dataset}", repo_id=dataset, config=config_name
        )

    try:
        return with_retries(read, "read the map of", dataset)
    except (CardError, HubError) as error:
        if isinstance(error.__cause__, EntryNotFoundError):
            raise MapError(f"{dataset} holds no map: push one first, with dm.push_to_hub") from None
        raise
