"""The tasks of rows by the keys under which their answers are stored."""

from __future__ import annotations

from hf_datamap.data import Example
from hf_datamap.engine.store import Keys
from hf_datamap.engine.task import Answerer, Task
from hf_datamap.scorers.base import Scorer


class TaskKeys:
    """Cuts rows into tasks, and names the key of each answer.

    Args:
        scorer: the scorer.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._keys: dict[int, Keys] = {}  # by who answers: a member of a panel, or a writer of references

    def tasks(self, example: Example) -> dict[bytes, tuple[Task, Answerer]]:
        """The tasks of a row, those that they wait for too, and who answers each, by key."""
        tasks: dict[bytes, tuple[Task, Answerer]] = {}
        for task in self._scorer.tasks(example):
            for each in (task, task.after):
                if each is not None:
                    answerer = each.scorer or self._scorer
                    tasks[self._keys_of(answerer).of(each.content)] = (each, answerer)
        return tasks

    def _keys_of(self, answerer: Answerer) -> Keys:
        if id(answerer) not in self._keys:
            self._keys[id(answerer)] = Keys(dict(answerer.identity))
        return self._keys[id(answerer)]
