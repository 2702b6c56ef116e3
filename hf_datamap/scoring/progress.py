"""Progress of scoring, as a bar on stderr."""

from __future__ import annotations

import sys

from hf_datamap.engine.budget import Usage


class Progress:
    """A bar on stderr: rows done, requests under way, answers from the store, retries, failures.

    Args:
        usage: what the bar shows; changed by those who do the work.
        total: rows in all; None where that is not known.
        shown: whether there is a bar; as ``datasets`` is set where None.
        what: what is done, in a word.
    """

    def __init__(self, usage: Usage, total: int | None, shown: bool | None, what: str = "scoring") -> None:
        from datasets import is_progress_bar_enabled
        from tqdm.auto import tqdm

        hidden = not (is_progress_bar_enabled() if shown is None else shown)
        self._usage = usage
        interval = 0.2 if sys.stderr.isatty() else 10.0  # seconds; a log file should get few lines
        self._bar = tqdm(total=total, desc=what, unit=" rows", disable=hidden, mininterval=interval)

    def show(self) -> None:
        """Bring the bar up to date."""
        usage = self._usage
        counts = {
            "in flight": usage.in_flight,
            "from store": usage.from_store,
            "retried": usage.retried,
            "failed": sum(usage.failed.values()),
        }
        self._bar.set_postfix({name: value for name, value in counts.items() if value}, refresh=False)
        self._bar.update(usage.rows - self._bar.n)

    @classmethod
    def hidden(cls) -> Progress:
        """No bar, and nothing to show."""
        return cls(Usage(), None, shown=False)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.show()
        self._bar.close()
