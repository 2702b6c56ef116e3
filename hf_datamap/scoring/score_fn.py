"""`score_fn`: scoring inside ``Dataset.map``, in every mode it has."""

from __future__ import annotations

import asyncio
import collections
import itertools
import weakref
from collections.abc import Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import Example, Layout, columns, detect_layout
from hf_datamap.data.dataset import with_table
from hf_datamap.data.messages import is_message
from hf_datamap.engine.config import __version__
from hf_datamap.engine.run import Run
from hf_datamap.engine.scheduler import engine
from hf_datamap.errors import DataMapError, LayoutError, RowError
from hf_datamap.scorers.adapter import as_fitted_scorer, as_scorer
from hf_datamap.scorers.base import Scorer, ScorerLike, Way
from hf_datamap.scoring.score_table import (
    Outcome,
    columns_of,
    prepare,
    read_examples,
    schema_of,
    score_inline,
    table_of,
)

if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

_GATE: Final = 4  # batches of one async `map` that are read and scored at the same time
_BURST: Final = 0.02  # seconds between two hand-backs of rows to a row-wise `map`


def score_fn(scorer: ScorerLike, *, layout: Layout | None = None) -> ScoreFn:
    """Return a function for ``Dataset.map`` that adds the score columns.

    Works row-wise and ``batched=True``, with ``num_proc``, on `Dataset`, `IterableDataset` and the splits of a
    `DatasetDict`, in a script and inside a running event loop. Many requests are in flight in every mode but one:
    row by row inside a running loop, where ``datasets`` waits for each row; use ``batched=True`` there.

    Args:
        scorer: any scorer.
        layout: where prompt and responses are; detected from the columns by default.

    Raises:
        ScorerError: a panel whose members' scales are not known yet.
    """
    return ScoreFn(as_fitted_scorer(scorer), layout)


class ScoreFn:
    """What `score_fn` returns.

    ``datasets`` overlaps the calls of a coroutine function, but cannot call one inside a running event loop. It asks
    ``inspect.iscoroutinefunction`` right before it starts, which looks at ``__code__`` of function-like objects: this
    object answers according to whether a loop is running then.
    """

    __name__ = "score_fn"
    __qualname__ = "score_fn"
    __defaults__ = None
    __kwdefaults__ = None
    __annotations__: Final[dict[str, Any]] = {}

    def __init__(self, scorer: ScorerLike, layout: Layout | None = None) -> None:
        self.scorer, self.layout = as_scorer(scorer), layout
        self._known: dict[tuple[str, ...], Layout] = {}  # of plain rows, by the names of their columns
        # Running loops in which map was told to call us plainly.
        self._inside: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._gates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._gates = weakref.WeakKeyDictionary()
        self._rows: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _RowByRow] = weakref.WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"score_fn({type(self.scorer).__name__})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Also what the fingerprint is made of: it changes with the scorer, the layout and the package.
        return _restore, (self.scorer, self.layout, __version__)

    @property
    def __code__(self) -> CodeType:
        loop = _running_loop()
        if loop is not None:
            self._inside.add(loop)
        # What needs no requests has nothing to overlap; and of a stream, datasets reads a thousand batches ahead.
        return _coroutine.__code__ if loop is None and self.scorer.way is Way.ENGINE else _plain.__code__

    def __call__(self, rows: Any) -> Any:  # noqa: ANN401 - a row or a batch; columns, or a coroutine of them
        """Score a row or a batch; inside a loop that ``datasets`` runs, return a coroutine."""
        batch = _Batch(rows, self.layout, self.scorer, self._known)
        loop = _running_loop()
        if loop is None or loop in self._inside:
            return self._score(batch)
        return self._score_async(batch)

    def features(self, ds: Dataset | IterableDataset | Features) -> Features:
        """Return the features of ``ds`` after the map, for ``map(features=...)``."""
        return columns.features(getattr(ds, "features", ds), schema_of(self.scorer))

    def _score(self, batch: _Batch) -> Any:  # noqa: ANN401
        if (table := self._at_once(batch)) is None:
            outcomes, run = self._run(batch)
            engine().run(run)
            table = table_of(outcomes, self.scorer)
        return batch.answer(table)

    async def _score_async(self, batch: _Batch) -> Any:  # noqa: ANN401
        loop = asyncio.get_running_loop()
        if batch.single:
            if (table := self._at_once(batch)) is None:
                joined = self._rows.setdefault(loop, _RowByRow(self.scorer, loop))
                table = table_of([await joined.outcome(batch.examples[0])], self.scorer)
            return batch.answer(table)
        # datasets starts up to a thousand batches at once; only a few are read into memory.
        async with self._gates.setdefault(loop, asyncio.Semaphore(_GATE)):
            if (table := self._at_once(batch)) is None:
                outcomes, run = self._run(batch)
                try:
                    await asyncio.wrap_future(engine().start(run))
                except asyncio.CancelledError:
                    run.stop()
                    raise
                table = table_of(outcomes, self.scorer)
            return batch.answer(table)

    def _at_once(self, batch: _Batch) -> pa.Table | None:
        """The columns, where they can be had without the engine."""
        if self.scorer.way is Way.COLUMNS:
            return columns_of(self.scorer, batch.table, batch.layout_or_none)
        if self.scorer.way is Way.INLINE:
            return table_of([score_inline(self.scorer, example) for example in batch.examples], self.scorer)
        return None

    def _run(self, batch: _Batch) -> tuple[list[Outcome], Run]:
        return prepare(self.scorer, batch.examples)


class _RowByRow:
    """Scores rows that ``datasets`` asks for one by one, in few runs and bursts.

    Each time one of its rows is done ``datasets`` looks through all it has started (a thousand), and again at once
    while the oldest is not done. So rows that arrive together become one run, and go back in order, several at a time.
    """

    def __init__(self, scorer: Scorer, loop: asyncio.AbstractEventLoop) -> None:
        self._scorer, self._loop = scorer, loop
        self._fresh: list[tuple[Example, asyncio.Future[Outcome]]] = []
        self._waiting: collections.deque[tuple[asyncio.Future[Outcome], list[Outcome]]] = collections.deque()
        self._ticking = False

    async def outcome(self, example: Example | RowError) -> Outcome:
        """Score one row.

        Raises:
            EndpointError: the endpoint refuses every request.
        """
        if isinstance(example, RowError):
            return example
        future: asyncio.Future[Outcome] = self._loop.create_future()
        if not self._fresh:
            self._loop.call_soon(self._start)
        self._fresh.append((example, future))
        return await future

    def _start(self) -> None:
        fresh, self._fresh = self._fresh, []
        boxes: list[list[Outcome]] = [[] for _ in fresh]
        self._waiting += [(future, box) for (_, future), box in zip(fresh, boxes, strict=True)]
        _, run = prepare(self._scorer, [example for example, _ in fresh])
        run.deliver = lambda index, scores: boxes[index].append(scores)
        ended = asyncio.wrap_future(engine().start(run), loop=self._loop)
        ended.add_done_callback(lambda done: self._fail([future for _, future in fresh], done))
        for _, future in fresh:
            future.add_done_callback(lambda done: run.stop() if done.cancelled() else None)
        if not self._ticking:
            self._ticking = True
            self._release()

    def _release(self) -> None:
        """Hand back what is done, oldest first."""
        while self._waiting and (self._waiting[0][0].done() or self._waiting[0][1]):
            future, box = self._waiting.popleft()
            if not future.done():
                future.set_result(box[0])
        self._ticking = bool(self._waiting)
        if self._ticking:
            self._loop.call_later(_BURST, self._release)

    @staticmethod
    def _fail(futures: list[asyncio.Future[Outcome]], ended: asyncio.Future[None]) -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            for future in futures:
                if not future.done():
                    future.set_exception(error)


def _restore(scorer: Scorer, layout: Layout | None, version: str) -> ScoreFn:  # noqa: ARG001 - version is for the fingerprint
    return ScoreFn(scorer, layout)


async def _coroutine(rows: Any) -> Any: ...  # noqa: ANN401 - only its code flags are looked at


def _plain(rows: Any) -> Any: ...  # noqa: ANN401


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Column(list[Any]):
    """A list of Python values that knows its Arrow form: written with its own type, however few values are not null."""

    def __init__(self, array: pa.Array) -> None:
        super().__init__(array.to_pylist())
        self._array = array

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:  # noqa: A002 - Arrow's protocol
        return self._array if type is None else self._array.cast(type)


def _to_write(array: pa.Array) -> np.ndarray | _Column:
    """What ``Dataset.map`` writes as it is: numpy where nothing is missing, which spares a million small lists."""
    if pa.types.is_floating(array.type) and not array.null_count:
        return np.asarray(array.to_numpy())
    if (
        pa.types.is_list(array.type)
        and len(array)
        and not array.null_count
        and not (flat := array.flatten()).null_count
    ):
        widths = np.unique(array.value_lengths().to_numpy())
        if len(widths) == 1 and widths[0] and pa.types.is_floating(flat.type):
            return np.asarray(flat.to_numpy().reshape(len(array), widths[0]))
    return _Column(array)


class _Batch:
    """What ``map`` hands over: a row or a batch, as Python values, as a lazy Arrow view, or as a table."""

    def __init__(
        self,
        rows: Any,  # noqa: ANN401
        layout: Layout | None,
        scorer: Scorer,
        known: dict[tuple[str, ...], Layout],
    ) -> None:
        from datasets.formatting.formatting import LazyBatch, LazyRow

        self._lazy = isinstance(rows, LazyBatch | LazyRow)
        if not isinstance(rows, Mapping | pa.Table) and hasattr(rows, "__arrow_c_stream__"):  # pandas, polars
            rows = pa.table(rows)
        elif isinstance(rows, Mapping) and not self._lazy:  # numpy and the like
            rows = {name: _as_python(values) for name, values in rows.items()}
        self._rows = rows
        self._layout, self._scorer, self._known = layout, scorer, known
        if isinstance(rows, pa.Table):
            self.single = False
        elif self._lazy:
            self.single = isinstance(rows, LazyRow)
        elif isinstance(rows, Mapping):
            self.single = _looks_like_row(rows, layout)
        else:
            raise LayoutError(f"expected a row or a batch of columns, not {type(rows).__name__}")

    @property
    def table(self) -> pa.Table:
        """The batch as Arrow, whatever it was."""
        if isinstance(self._rows, pa.Table):
            return self._rows
        if self._lazy and not (set(self._rows.pa_table.column_names) - self._rows.keys_to_format):
            return self._rows.pa_table
        values = dict(self._rows.items())
        return pa.Table.from_pylist([values]) if self.single else pa.table(values)

    @property
    def layout_or_none(self) -> Layout | None:
        """The layout, unless nothing fits: the scores may be all that is needed."""
        try:
            return self.layout
        except LayoutError:
            return None

    @property
    def layout(self) -> Layout:
        """The layout given, or the one that the columns fit."""
        if self._layout is None:
            if self._lazy or isinstance(self._rows, pa.Table):
                table = self._rows if isinstance(self._rows, pa.Table) else self._rows.pa_table
                self._layout = detect_in(table, images=self._scorer.takes_images)
            else:
                names = tuple(self._rows)
                if names not in self._known:
                    self._known[names] = detect_layout(self._fullest(), images=self._scorer.takes_images)
                self._layout = self._known[names]
        return self._scorer.read_with(self._layout)

    def _fullest(self) -> dict[str, Any]:
        """The row among the first that lacks least."""
        if self.single:
            return dict(self._rows.items())
        rows = [
            dict(zip(self._rows, row, strict=True))
            for row in itertools.islice(zip(*self._rows.values(), strict=True), 8)
        ]
        return min(rows, key=lambda row: sum(value is None for value in row.values()))

    @property
    def examples(self) -> list[Example | RowError]:
        """The rows as examples."""
        if self.single and any(value is None for value in self._rows.values()):
            try:
                _ = self.layout
            except LayoutError as error:  # what a row lacks is no fault of the others
                return [RowError(str(error))]
        if self.single and not self._lazy:
            if not self._scorer.column_members:
                return [_read(self.layout, self._rows)]
            return read_examples(self._scorer, self.layout, self.table, lambda: self.table)
        rows = self._rows.pa_table if self.single else self._rows
        return read_examples(self._scorer, self.layout, rows, lambda: self.table)

    def answer(self, table: pa.Table) -> Any:  # noqa: ANN401
        """The added columns in the shape that the input had."""
        if isinstance(self._rows, pa.Table):
            return with_table(self._rows, table)
        arrays = {name: table.column(name).combine_chunks() for name in table.column_names}
        arrays = {name: a.chunk(0) if isinstance(a, pa.ChunkedArray) else a for name, a in arrays.items()}
        if not self.single:
            return {name: _to_write(array) if self._lazy else _Column(array) for name, array in arrays.items()}
        # Dataset.map writes Arrow values as they are: nulls keep their column's type. Rows that come as plain values
        # (streams, other formats) get plain values back, and need map(features=...) for that.
        return arrays if self._lazy else {name: array[0].as_py() for name, array in arrays.items()}


def _as_python(value: Any) -> Any:  # noqa: ANN401 - a cell of a dataset
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: _as_python(item) for name, item in value.items()}
    return [_as_python(item) for item in value] if isinstance(value, list | tuple) else value


def _read(layout: Layout, row: Mapping[str, Any]) -> Example | RowError:
    try:
        return layout.read(row)
    except RowError as error:
        return error


def _looks_like_row(rows: Mapping[str, Any], layout: Layout | None) -> bool:
    """Whether plain Python values are one row rather than a batch of columns.

    Columns are lists of equal length; a row may be that too, when each of its values is a list (chat messages). Then
    it is what can be read: a batch if any of its first entries makes a row, else a row.
    """
    lengths = {len(value) if isinstance(value, list) else -1 for value in rows.values()}
    if lengths != {max(lengths, default=-1)} or -1 in lengths or not rows:
        return True
    if lengths == {0}:
        return False
    entries = [{name: value[place] for name, value in rows.items()} for place in range(min(8, *lengths))]
    if all(is_message(value) for value in entries[0].values()):
        return True  # chats rather than columns of single messages
    return not any(_is_readable(entry, layout) for entry in entries) and _is_readable(rows, layout)


def _is_readable(row: Mapping[str, Any], layout: Layout | None) -> bool:
    try:
        (layout or detect_layout(dict(row))).read(row)
    except DataMapError:
        return False
    return True


_layouts: dict[tuple[pa.Schema, bool], Layout] = {}


def detect_in(table: pa.Table, *, images: bool = False) -> Layout:
    """Return the layout of an Arrow table, from its columns and, where they leave it open, its first rows.

    Raises:
        LayoutError: the columns fit no layout, or several.
    """
    from datasets import Features

    schema = table.schema.remove_metadata()
    if (schema, images) not in _layouts:
        sample = table.slice(0, 8).to_pylist()
        _layouts[schema, images] = detect_layout(Features.from_arrow_schema(schema), sample=sample, images=images)
    return _layouts[schema, images]
