"""One point of the cost curve, in a process of its own: ``python -m tests.benchmarks.curve KIND FILE``, prints JSON.

KIND is ``columns`` (scores that ship with the data), the URL of a judge's endpoint, or ``load``, which only turns the
file into Arrow for the runs that follow. The peak of memory is of the
process's own (anonymous) pages, as the kernel counts them every few milliseconds: pages of memory-mapped Arrow files
are the kernel's cache and would be counted as far as it happens to have room for them.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

_EVERY = 0.005  # seconds


class Peak:
    """The greatest memory of this process while it is open."""

    def __enter__(self) -> Peak:
        self.before = self.most = anonymous()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_EVERY):
            self.most = max(self.most, anonymous())


def anonymous() -> int:
    """Bytes of this process's own pages in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this kernel does not tell RssAnon")


def main(kind: str, path: str) -> None:
    from datasets import Dataset, disable_progress_bars

    import hf_datamap as dm

    disable_progress_bars()
    ds = Dataset.from_parquet(path, cache_dir=str(Path(path).parent / "cache"))
    if kind == "load":
        print(json.dumps({"rows": len(ds)}))
        return
    if kind == "columns":
        scorer: dm.ColumnScorer | dm.LLMJudge = dm.ColumnScorer("rating")
    else:
        scorer = dm.LLMJudge("m", base_url=kind, api_key="k", mode="listwise", max_in_flight=64)
    dm.annotate(ds.select(range(64)), scorer, progress=False)  # imports, connections
    with Peak() as peak:
        start = time.perf_counter()
        out, _ = dm.annotate(ds, scorer, progress=False)
        took = time.perf_counter() - start
    assert len(out) == len(ds)
    assert set(out.select(range(min(1000, len(out))))["datamap_status"]) == {"ok"}
    print(json.dumps({"rows": len(ds), "seconds": took, "before": peak.before, "most": peak.most}))


if __name__ == "__main__":
    main(*sys.argv[1:])
