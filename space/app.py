"""The map Space: ``python app.py``, configured by ``HF_DATAMAP_DATASET`` (Hub id) or ``HF_DATAMAP_DIR`` (folder)."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    import gradio as gr


def build(source: str | None = None) -> gr.Blocks:
    """Build the app.

    Args:
        source: a folder, or a dataset id of the Hub; what the environment names if None.
    """
    from mapspace.app import StartMap
    from mapspace.ui import page

    folder, dataset = os.environ.get("HF_DATAMAP_DIR") or None, os.environ.get("HF_DATAMAP_DATASET") or None
    if source is not None:
        folder, dataset = (source, None) if Path(source).is_dir() else (None, source)
    return page(StartMap(dataset, folder, os.environ.get("HF_DATAMAP_AGAINST") or None))


def _lean() -> None:
    """Give memory of large arrays back to the system at once: glibc would keep it, and a map has large arrays."""
    import ctypes

    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 18)  # M_MMAP_THRESHOLD
        libc.mallopt(-8, 2)  # M_ARENA_MAX


def _without_proxy(host: str | None) -> None:
    """Reach this machine without the proxy of the environment: Gradio asks its own server whether it has started."""
    local = ["127.0.0.1", "localhost", "::1", "0.0.0.0", *([host] if host else [])]  # noqa: S104 - names, nothing binds
    for name in ("no_proxy", "NO_PROXY"):
        before = os.environ.get(name, os.environ.get(name.swapcase(), ""))
        if before != "*":
            os.environ[name] = ",".join([*(part for part in before.split(",") if part), *local])


def main(argv: Sequence[str] | None = None) -> None:
    """Start the app and serve until stopped."""
    parser = argparse.ArgumentParser(description="Show an Alignment Data Map.")
    parser.add_argument("source", nargs="?", help="folder written by hf-datamap map, or dataset id of the Hub")
    parser.add_argument("--host", default=None, help="address to listen on")
    parser.add_argument("--port", type=int, default=None, help="port to listen on")
    options = parser.parse_args(argv)
    _lean()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that files are deleted
    _without_proxy(options.host)
    blocks = build(options.source)
    from mapspace.ui import LAUNCH

    blocks.launch(server_name=options.host, server_port=options.port, **LAUNCH)


if __name__ == "__main__":
    main()
