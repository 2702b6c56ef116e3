"""What the visitors share, who a visitor is, and how a failure is told."""

from __future__ import annotations

import atexit
import html
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from hf_datamap.errors import DataMapError
from mapspace.cache import MapCache
from mapspace.errors import SpaceError
from mapspace.explorer import RATES, ExplorerApi, visitor
from mapspace.hub_errors import check_id
from mapspace.points import BrowserFiles
from mapspace.sessions import Limits, Sessions
from mapspace.sources import OpenMap
from mapspace.texts import plain


@dataclass(frozen=True)
class StartMap:
    """What the app shows when the address names nothing.

    Attributes:
        dataset: a Hub id.
        folder: a local folder; wins over ``dataset``.
        against: Hub id or folder to compare with, from whoever starts the app.
    """

    dataset: str | None = None
    folder: str | None = None
    against: str | None = None


class App:
    """Everything the visitors share."""

    def __init__(self, home: StartMap) -> None:
        self.home = home
        self.maps = MapCache()
        self.files = BrowserFiles()
        self.sessions = Sessions(self.files)
        self.limits = Limits(RATES)
        self.server = ExplorerApi(self.sessions, self.limits)
        atexit.register(self.close)
        self._downloads = self.files.folder.with_name(self.files.folder.name + "-downloads")

    def close(self) -> None:
        """Delete what was written."""
        self.files.close()
        shutil.rmtree(self._downloads, ignore_errors=True)

    @property
    def base(self) -> str:
        """Where the browser finds the binary files."""
        return f"/gradio_api/file={self.files.folder}/"

    @property
    def signed_in_possible(self) -> bool:
        """Whether this app offers to sign in with Hugging Face."""
        return os.environ.get("SYSTEM") == "spaces" and bool(os.environ.get("OAUTH_CLIENT_ID"))

    def downloads(self) -> Path:
        """Return a folder of its own for one download; folders older than an hour go."""
        self._downloads.mkdir(exist_ok=True)
        for old in self._downloads.iterdir():
            if time.time() - old.stat().st_mtime > 3600:
                shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=self._downloads))

    def open(self, dataset: str, config: str | None, request: gr.Request | None) -> OpenMap:
        """Open what a visitor asked for, or the configured map.

        Raises:
            SpaceError: it cannot be opened; says why.
        """
        self.limits.take("open", visitor(request))
        if self.home.folder:
            if dataset and dataset != Path(self.home.folder).name:
                raise SpaceError("this app shows one folder; start it without to open datasets of the Hub")
            return self.maps.folder(self.home.folder)
        name = dataset or self.home.dataset
        if not name:
            raise SpaceError("Type the id of a mapped dataset of the Hub, for example owner/name, and press Open.")
        return self.maps.hub(check_id(name), config or None, token_of(request))


def token_of(request: Any) -> str | None:  # noqa: ANN401 - Gradio's request, which wraps another, or None
    """Return the token of the account a visitor signed in with, None without one. Never the Space's own."""
    try:
        info: dict[str, Any] | None = getattr(request, "session", None) or getattr(request.request, "session", None)
    except (AssertionError, AttributeError):  # no session middleware: the app runs without sign-in
        return None
    info = (info or {}).get("oauth_info")
    if not info or (info.get("expires_at") or 0) < time.time():
        return None
    return str(info["access_token"])


def errors_shown(action: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a failure into a message on the page, as text; the visitor's view stays as it was."""

    @wraps(action)
    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Gradio's values
        try:
            return action(*args, **kwargs)
        except DataMapError as error:
            words = html.escape(plain(str(error), 1_000))
            raise gr.Error(words, print_exception=False, title="Not possible") from None

    return call
