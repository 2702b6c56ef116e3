"""``make bench``: every ``bench_*.py`` beside this file, one table. ``python -m tests.benchmarks judge`` runs one.

The table goes to stdout; how long each benchmark took, to stderr.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path


def main(words: list[str]) -> int:
    names = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    chosen = [name for name in names if not words or any(word in name for word in words)]
    if not chosen:
        print(f"no benchmark matches {words}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{p} {version(p)}" for p in ("datasets", "openai", "numpy", "pyarrow"))
        + "\n"
    )
    print("| figure | measured | goal | | behind it |\n|---|---:|---:|---|---|", flush=True)
    missing = 0
    for name in chosen:
        start = time.perf_counter()
        for figure in importlib.import_module(f"tests.benchmarks.{name}").figures():
            missing += figure.value is None
            print(figure.row, flush=True)
        print(f"{name}: {time.perf_counter() - start:,.0f} s", file=sys.stderr)
    if missing:
        print(f"\n{missing} figures could not be measured: the table says why.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
