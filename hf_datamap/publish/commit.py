"""One commit or none: everything of a release becomes visible in a single step, whatever happens on the way."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from hf_datamap.engine.config import hub_request_timeout
from hf_datamap.errors import DataMapError, HubError
from hf_datamap.publish.hub_errors import check_token, explain, hub_message, is_transient, not_logged_in, retry_after
from hf_datamap.publish.time_limits import DEFAULT, Deadline, TimedOut, limited_requests, within

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

T = TypeVar("T")
_log = logging.getLogger(__name__)
#: Seconds between attempts; the last failure is final. Uploads have their own retries inside an attempt.
_WAITS: Final = (1.0, 2.0, 4.0, 8.0)
_LONGEST_WAIT: Final = 300.0
_REPO: Final = re.compile(r"(?!.*(--|\.\.))(\w[\w.-]*/)?\w[\w.-]{0,95}(?<![.-])", re.ASCII)


@dataclass(frozen=True)
class RepoSnapshot:
    """The state of a repository that a commit will be based on.

    Attributes:
        api: the client.
        repo_id: the repository.
        repo_type: ``dataset`` or ``space``.
        sha: its commit.
        files: the paths in it.
    """

    api: HfApi
    repo_id: str
    repo_type: str
    sha: str
    files: frozenset[str]

    def read(self, path: str) -> bytes | None:
        """Return a file's content, None when there is no such file."""
        from pathlib import Path

        if path not in self.files:
            return None
        local = self.api.hf_hub_download(self.repo_id, path, repo_type=self.repo_type, revision=self.sha)
        return Path(local).read_bytes()


@dataclass(frozen=True)
class Commit:
    """What was published.

    Attributes:
        repo_id: where.
        oid: the commit; the same as before when nothing had changed.
        url: address of the commit, or of the pull request.
        pull_request: its address, None for a direct commit.
    """

    repo_id: str
    oid: str
    url: str
    pull_request: str | None = None


#: From the state of a repository to the operations that bring it to the planned one.
CommitPlanner = Callable[[RepoSnapshot], "Iterable[CommitOperationAdd | CommitOperationDelete]"]


def client(token: str | bool | None) -> HfApi:
    """Return a client that names this package.

    Raises:
        HubError: there is no token at all, or it cannot be one.
    """
    from huggingface_hub import HfApi, get_token

    from hf_datamap.engine.config import __version__

    if not (token if token is not None else get_token()):
        raise not_logged_in("push to", "the Hub")
    check_token(token)
    return HfApi(token=token, library_name="hf_datamap", library_version=__version__)


def full_name(api: HfApi, repo_id: str) -> str:
    """Return ``repo_id`` with the user's own name in front when it has none."""
    if not _REPO.fullmatch(repo_id):
        raise HubError(f"{repo_id!r} is not the name of a repository: owner/name, of letters, digits, . _ -")
    if "/" in repo_id:
        return repo_id
    return f"{with_retries(lambda: str(api.whoami()['name']), 'push to', repo_id)}/{repo_id}"


def commit_whole(
    api: HfApi,
    repo_id: str,
    plan: CommitPlanner,
    *,
    title: str,
    repo_type: str = "dataset",
    revision: str | None = None,
    create_pr: bool = False,
    create: Callable[[], object] | None = None,
    seconds: float = DEFAULT,
) -> Commit:
    """Bring a repository to the planned state with exactly one commit, or with none when nothing has to change.

    The commit is tied to the state that was read (``parent_commit``), so it is refused when somebody else was
    quicker; then, and after any fault that passes, the state is read and planned anew. A commit whose answer got
    lost is found that way too, and not repeated.

    Args:
        api: the client.
        repo_id: the repository.
        plan: what gives the operations that are needed in the present state; called once per attempt.
        title: the commit's title; an open pull request of the same user with this title is continued.
        repo_type: ``dataset`` or ``space``.
        revision: branch; made when it is missing. ``main`` by default.
        create_pr: open one pull request instead of committing to the branch.
        create: makes the repository; None when it must exist already.
        seconds: how long all of it may take.

    Raises:
        HubError: the Hub refuses, or cannot be reached in several attempts. The branch is as it was.
    """

    def attempt() -> Commit:
        branch = _pull_request(api, repo_id, repo_type, title) if create_pr else revision
        snapshot = _read_snapshot(api, repo_id, repo_type, branch, None if create_pr else create)
        opens = create_pr and branch is None
        info = api.create_commit(
            repo_id,
            list(plan(snapshot)),
            commit_message=title,
            repo_type=repo_type,
            revision=branch,
            create_pr=opens,
            parent_commit=snapshot.sha,
        )
        request = info.pr_url if opens else None
        if branch and branch.startswith("refs/pr/"):
            request = f"{api.endpoint}/{repo_type}s/{repo_id}/discussions/{branch.rpartition('/')[2]}"
        return Commit(repo_id, info.oid, request or str(info.commit_url), request)

    return with_retries(attempt, "push to", repo_id, seconds=seconds)


def with_retries(attempt: Callable[[], T], doing: str, repo_id: str, *, seconds: float = DEFAULT) -> T:
    """Run an attempt until it succeeds, is refused, or several faults or the time limit have ended all patience.

    Args:
        attempt: talks to the Hub; it is run again from its beginning.
        doing: what it does, for errors.
        repo_id: where.
        seconds: how long all attempts together may take.

    Raises:
        HubError: it did not succeed.
    """
    deadline = Deadline(seconds)

    def limited() -> T:
        with limited_requests(hub_request_timeout()):
            return attempt()

    for wait in (*_WAITS, None):
        try:
            return within(deadline, limited)
        except DataMapError:
            raise
        except TimedOut:
            raise _too_slow(doing, repo_id, seconds) from None
        except Exception as error:
            if wait is None or not is_transient(error):
                raise explain(error, doing, repo_id) from error
            pause = min(retry_after(error) or wait, _LONGEST_WAIT)
            if pause >= deadline.left:
                raise _too_slow(doing, repo_id, seconds) from error
            _log.warning("%s: %s; trying again in %g s", repo_id, hub_message(error), pause)
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _too_slow(doing: str, repo_id: str, seconds: float) -> HubError:
    return HubError(
        f"cannot {doing} {repo_id}: the Hub did not answer to the end within {seconds:,.0f} s. Nothing half-made is "
        "visible there; run the same again to finish, with more time if the line is slow (timeout=, --timeout)"
    )


def _read_snapshot(
    api: HfApi, repo_id: str, repo_type: str, branch: str | None, create: Callable[[], object] | None
) -> RepoSnapshot:
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = api.repo_info(repo_id, repo_type=repo_type, revision=branch)
    except RevisionNotFoundError:
        if not branch or branch.startswith("refs/") or create is None:
            raise
        api.create_branch(repo_id, branch=branch, repo_type=repo_type, exist_ok=True)
        info = api.repo_info(repo_id, repo_type=repo_type, revision=branch)
    except RepositoryNotFoundError:
        if create is None:
            raise
        create()
        info = api.repo_info(repo_id, repo_type=repo_type)
        if branch:
            return _read_snapshot(api, repo_id, repo_type, branch, create)
    files = api.list_repo_files(repo_id, repo_type=repo_type, revision=info.sha)
    return RepoSnapshot(api, repo_id, repo_type, str(info.sha), frozenset(files))


def _pull_request(api: HfApi, repo_id: str, repo_type: str, title: str) -> str | None:
    """The ref of this user's open pull request with this title, if there is one."""
    me = api.whoami()["name"]
    requests = api.get_repo_discussions(
        repo_id, repo_type=repo_type, author=me, discussion_type="pull_request", discussion_status="open"
    )
    mine = (d for d in requests if d.title == title and d.author == me and d.is_pull_request and d.status == "open")
    request = next(mine, None)
    return f"refs/pr/{request.num}" if request else None
