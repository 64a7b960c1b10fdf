"""A map over items: chunks go out, values come back, in order or as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pardata.checkpoint.results import ResultLog
from pardata.codec.unpicklable import is_picklable
from pardata.pool.jobs.chunking import Chunks
from pardata.pool.jobs.items import MapItems
from pardata.pool.jobs.job import Effect, Outcome, Task, unsendable
from pardata.pool.jobs.range import RangeJob
from pardata.pool.jobs.values import MapValues
from pardata.pool.worker.messages import ITEMS, pack, unpack
from pardata.runtime.faults import describe_item


class MapFacts(NamedTuple):
    """The part of a map that each of its messages repeats; `number` is that of the job."""

    number: int
    star: bool
    timed: bool


class MapJob(RangeJob):
    """A map over items that are there, or that are taken from an iterator as results are taken away.

    Parameters
    ----------
    items : sequence
        Arguments, or tuples of them (`star`).
    source, window
        More items, see `MapItems`.
    ordered : bool
        Values come in the order of their items.
    timed : bool
        An item has a time limit: each is a call of its own.
    writable : bool
        The function gets arrays of its own.
    log : ResultLog, optional
        Stores results; those that it has already are not computed.
    """

    def __init__(
        self,
        code: Any,
        number: int,
        items: Sequence[Any],
        chunks: Chunks,
        *,
        star: bool,
        ordered: bool = True,
        source: Iterator[Any] | None = None,
        window: int | None = None,
        retries: int = 0,
        timed: bool = False,
        writable: bool = False,
        log: ResultLog | None = None,
    ) -> None:
        super().__init__(code, chunks, len(items), retries)
        self.items = MapItems(items, chunks, source, window)
        self.values = MapValues(ordered, log)
        self.ranges.is_complete = self.items.is_complete
        self._told = MapFacts(number, star, timed)
        self.writable = writable
        if log is not None:
            self.do_only(log.done.missing(len(items)))

    def message(self, task: Task) -> tuple[Any, ...]:
        items = pack(self.items.cut(task.begin, task.end))
        number, star, timed = self._told
        careful = task.careful or timed
        return ITEMS, self.code.wire, number, task.begin, items, star, self.limit_ns(task), careful

    def describe(self, begin: int, end: int) -> str:
        if end - begin == 1:
            return f"item {begin} of a map: {describe_item(self.items.cut(begin, end)[0])}"
        return f"items {begin} to {end - 1} of a map"

    def finish(self, task: Task, outcome: Outcome) -> Effect | None:
        super().finish(task, outcome)
        self.items.forget(self.lowest)  # only now: an item that failed may have been given back
        return None

    def put_values(self, task: Task, outcome: Outcome, count: int) -> None:
        if not count:
            return
        values, log = unpack(outcome.values), self.values.log
        if log is not None:
            log.put(task.begin, values, outcome.values if values is not outcome.values else None)
        self.values.put(task.begin, values, None)

    def put_error(self, begin: int, end: int, error: BaseException) -> None:
        self.values.put(begin, [], error)

    def fail(self, task: Task | None, error: BaseException) -> Effect | None:
        if task is not None:
            self._unsent(task, error)
            return None
        return self.drop_rest(error)

    def drop_rest(self, error: BaseException) -> Effect | None:
        self.cancelled = True
        self.values.end(error)
        return None

    def _unsent(self, task: Task, error: BaseException) -> None:
        """Find the item that could not be sent; the others are handed out again."""
        self.active.discard(task)
        items = self.items.cut(task.begin, task.end)
        bad = next((index for index, item in enumerate(items) if not is_picklable(item)), 0)
        at = task.begin + bad
        self.ranges.give_back(task.begin, at)
        self.ranges.give_back(at + 1, task.end)
        if isinstance(error, Exception):
            error = unsendable(error, f"item {at} of a map", items[bad])
        self.put_error(at, at + 1, error)

    def pull(self, taken: int) -> bool:
        """Take more items from the source, in the consumer's thread and without the pool's lock; return whether any.

        `taken` is how many values the consumer has had.
        """
        if self.items.is_slow and self.values.has(taken):
            return False  # a slow source does not keep the consumer from results that are there
        count = self.items.pull(self.ranges.total - taken)
        self.ranges.is_complete = self.items.is_complete
        self.ranges.total += count
        return count > 0
