"""A map over items: chunks go out, values come back, in order or as they come."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

from pardata.pool.jobs.chunking import TARGET_S, Chunks
from pardata.pool.jobs.job import Effect, Outcome, Task, unsendable
from pardata.pool.jobs.range import RangeJob
from pardata.pool.worker.messages import ITEMS, pack, unpack
from pardata.runtime.faults import describe_item
from pardata.runtime.progress import REFRESH_S, Bars
from pardata.runtime.unpicklable import is_picklable

T = TypeVar("T")

_SLOW_S: Final = 1e-3  # a source that takes longer per item is asked only if no result is there
_CHUNKS_PER_WORKER: Final = 4  # of an endless iterable: taken from it, and not yet with the consumer


class ResultTimeoutError(TimeoutError):
    """A result did not come in time; not an error of the user's function."""


class ItemWindow(Generic[T]):
    """Consecutive items of a long row, by their numbers; those in front are forgotten as they are done."""

    def __init__(self, items: Sequence[T] = ()) -> None:
        self._items = items
        self._first = 0

    def extend(self, items: list[T]) -> None:
        """Append items."""
        assert isinstance(self._items, list)
        self._items += items

    def cut(self, begin: int, end: int) -> Sequence[T]:
        """Return the items ``[begin, end)``."""
        assert begin >= self._first, f"item {begin} is forgotten"
        return self._items[begin - self._first : end - self._first]

    def forget(self, below: int) -> None:
        """Forget the items below a number."""
        if isinstance(self._items, list) and 2 * (below - self._first) > len(self._items):
            del self._items[: below - self._first]
            self._first = below


class MapJob(RangeJob):
    """A map over items that are there, or that are taken from an iterator as results are taken away.

    Parameters
    ----------
    items : sequence
        Arguments, or tuples of them.
    source : iterator, optional
        Gives more items.
    window : int, optional
        How many items may be taken from `source` and not yet be with the consumer.
    ordered : bool
        Values come in the order of their items.
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
    ) -> None:
        super().__init__(code, chunks, len(items), retries)
        self._number = number
        self._window = ItemWindow(items)
        self._source = source
        self._limit = window
        self._workers = chunks._workers
        self._star = star
        self._ordered = ordered
        self._timed = timed
        self._changed = threading.Condition()
        self._done: dict[int, tuple[list[Any], BaseException | None]] = {}  # by the number of the first item
        self._arrived: deque[int] = deque()  # the keys of `_done`, if no order is asked for
        self._ended: BaseException | None = None
        self._is_wanted = True
        self._pull_s = 0.0  # that an item of the source takes, of late
        self.is_complete = source is None

    def message(self, task: Task) -> tuple[Any, ...]:
        items = pack(self._window.cut(task.begin, task.end))
        careful = task.careful or self._timed
        return ITEMS, self.code.wire, self._number, task.begin, items, self._star, self.limit_ns(task), careful

    def describe(self, begin: int, end: int) -> str:
        if end - begin == 1:
            return f"item {begin} of a map: {describe_item(self._window.cut(begin, end)[0])}"
        return f"items {begin} to {end - 1} of a map"

    def finish(self, task: Task, outcome: Outcome) -> Effect | None:
        super().finish(task, outcome)
        self._window.forget(self.lowest)  # only now: an item that failed may have been given back
        return None

    def put_values(self, task: Task, outcome: Outcome, count: int) -> None:
        if count:
            self._put(task.begin, unpack(outcome.values), None)

    def put_error(self, begin: int, end: int, error: BaseException) -> None:
        self._put(begin, [], error)

    def fail(self, task: Task | None, error: BaseException) -> Effect | None:
        if task is not None:
            self._unsent(task, error)
            return None
        return self.drop_rest(error)

    def drop_rest(self, error: BaseException) -> Effect | None:
        with self._changed:
            self.cancelled, self._ended = True, error
            self._changed.notify_all()
        return None

    def leave_results(self) -> None:
        """Drop the results, now and later: the work is done all the same."""
        with self._changed:
            self._is_wanted = False
            self._done.clear()
            self._arrived.clear()

    def _unsent(self, task: Task, error: BaseException) -> None:
        """Find the item that could not be sent; the others are handed out again."""
        self.active.discard(task)
        items = self._window.cut(task.begin, task.end)
        bad = next((index for index, item in enumerate(items) if not is_picklable(item)), 0)
        at = task.begin + bad
        self.ranges.give_back(task.begin, at)
        self.ranges.give_back(at + 1, task.end)
        if isinstance(error, Exception):
            error = unsendable(error, f"item {at} of a map", items[bad])
        self.put_error(at, at + 1, error)

    def _put(self, begin: int, values: list[Any], error: BaseException | None) -> None:
        with self._changed:
            if not self._is_wanted:
                return
            self._done[begin] = (values, error)
            if not self._ordered:
                self._arrived.append(begin)
            self._changed.notify_all()

    # -- the consumer's side: without the pool's lock -----------------------------------------------------------------

    def lift_limit(self) -> None:
        """Let `pull` take all that there is."""
        self._limit = sys.maxsize

    def pull(self, taken: int) -> bool:
        """Take items from the source while no more than the window are on their way. Return whether there were any.

        `taken` is how many values the consumer has had. A slow source does not keep the consumer from results that are
        there. Its errors are raised here.
        """
        if self._source is None or (self._pull_s > _SLOW_S and self.has_value(taken) and self._limit != sys.maxsize):
            return False
        item_s = max(self.chunks.item_s or TARGET_S, 1e-7)
        limit = self._limit
        if limit is None:
            limit = max(1, int(_CHUNKS_PER_WORKER * max(1.0, TARGET_S / item_s))) * self._workers
        wanted = limit - (self.ranges.total - taken)
        if wanted <= 0 or (self._limit is None and wanted < limit // 4):
            return False
        items = []
        begin = time.monotonic()
        for item in self._source:
            items.append(item)
            if len(items) == wanted or time.monotonic() - begin > TARGET_S:
                break
        else:
            self._source, self.is_complete = None, True
        self._pull_s = (time.monotonic() - begin) / max(1, len(items))
        self._window.extend(items)
        self.ranges.total += len(items)
        return bool(items)

    def has_value(self, number: int) -> bool:
        """Return whether the next values (of an ordered map: from item `number` on) are there, or none will come."""
        return self._ended is not None or (number in self._done if self._ordered else bool(self._arrived))

    def take(
        self,
        number: int,
        help_out: Callable[[Callable[[], bool], float | None], bool],
        deadline: float | None,
        bars: Bars | None,
    ) -> tuple[list[Any], BaseException | None]:
        """Return the next values; of an ordered map those from item `number` on. Waits for them."""

        def is_there() -> bool:
            return self.has_value(number)

        while not is_there():
            rest = None if deadline is None else deadline - time.monotonic()
            if rest is not None and rest <= 0:
                raise ResultTimeoutError
            if bars is not None:
                bars.update([self.progress])
                rest = REFRESH_S if rest is None else min(rest, REFRESH_S)
            if not help_out(is_there, rest):
                with self._changed:
                    self._changed.wait_for(is_there, rest)
        with self._changed:
            if not self._done and self._ended is not None:
                return [], self._ended
            key = number if self._ordered else self._arrived.popleft()
            if key not in self._done:
                assert self._ended is not None
                return [], self._ended
            return self._done.pop(key)
