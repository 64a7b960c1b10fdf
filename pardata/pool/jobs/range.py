"""A job over numbered items, in chunks: the common part of all kinds of maps."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

from pardata.pool.jobs.chunking import Chunks, Ranges
from pardata.pool.jobs.job import Death, Effect, Outcome, Task, late
from pardata.process.lifecycle import DEATHS_PER_ITEM


class Repeats:
    """The items of a job that are tried again: those that have failed, and the suspects of deaths.

    Attributes
    ----------
    suspects : list of (begin, end, deaths)
        Items that their workers died of, or that could not be read: each part is a task of its own.
    most : int
        How often an item may fail before that counts.
    splits : bool
        Items that killed their worker in one call may be tried in calls of fewer.
    """

    __slots__ = ("_failures", "most", "splits", "suspects")

    def __init__(self, most: int, splits: bool) -> None:
        self.suspects: list[tuple[int, int, int]] = []
        self.most = most
        self.splits = splits
        self._failures: dict[int, int] = {}

    def halve(self, begin: int, end: int, deaths: int) -> None:
        """Suspect both halves of some items: one of them is to blame, and halving finds it."""
        middle = (begin + end) // 2
        self.suspects += [(middle, end, deaths), (begin, middle, deaths)]

    def allows(self, begin: int) -> bool:
        """Count a failure of the items that begin here; return whether they are tried again."""
        self._failures[begin] = self._failures.get(begin, 0) + 1
        if self._failures[begin] <= self.most:
            return True
        self._failures.pop(begin)
        return False


class RangeJob(ABC):
    """A job over numbered items, in chunks; items that are lost, late or given back are handed out again.

    See `Repeats` for `retries` and `splits`.
    """

    writable = False

    def __init__(self, code: Any, chunks: Chunks, total: int, retries: int, splits: bool = False) -> None:
        self.queued = False
        self.thread = threading.get_ident()
        self.code = code
        self.ranges = Ranges(total)
        self.chunks = chunks
        self.active: set[Task] = set()
        self.done_items = 0
        self.cancelled = False
        self.repeats = Repeats(retries, splits)

    # -- different for each kind of job ------------------------------------------------------------------------------

    @abstractmethod
    def put_values(self, task: Task, outcome: Outcome, count: int) -> None:
        """Take in the results of the first `count` items of a task."""

    @abstractmethod
    def put_error(self, begin: int, end: int, error: BaseException) -> None:
        """Take in that these items have failed."""

    @abstractmethod
    def describe(self, begin: int, end: int) -> str:
        """Return a description of these items for messages."""

    @abstractmethod
    def message(self, task: Task) -> tuple[Any, ...]:
        """Return the message to the worker."""

    @abstractmethod
    def drop_rest(self, error: BaseException) -> Effect | None:
        """Hand out no more, as the user wants it."""

    @abstractmethod
    def fail(self, task: Task | None, error: BaseException) -> Effect | None:
        """Take in that a task could not be sent; None: that the pool has ended."""

    def drop_all(self, error: BaseException) -> Effect | None:
        """As `drop_rest`; the outcomes of tasks that workers have do not count either."""
        return self.drop_rest(error)

    # -- the same for all --------------------------------------------------------------------------------------------

    @property
    def exhausted(self) -> bool:
        return self.cancelled or not (self.repeats.suspects or self.ranges.rest)

    @property
    def progress(self) -> int:
        """Items done so far, with those of tasks at hand."""
        return self.done_items + sum(task.position() for task in list(self.active))

    @property
    def lowest(self) -> int:
        """The lowest item that is not done."""
        suspects = [begin for begin, _, _ in self.repeats.suspects]
        return min([self.ranges.first, *(task.begin for task in self.active), *suspects])

    def do_only(self, missing: list[tuple[int, int]]) -> None:
        """Hand out these ranges alone: the others were done before."""
        self.ranges.leave_all_but(missing)
        self.done_items = self.ranges.total - self.ranges.rest

    def next_task(self, ahead: bool) -> Task | None:
        if self.exhausted or (ahead and not self.chunks.goes_ahead):
            return None
        if self.repeats.suspects:
            task = Task(self, *self.repeats.suspects.pop(), careful=True)
        else:
            rest = self.ranges.rest
            task = Task(self, *self.ranges.take(self.chunks.size(rest, self.ranges.is_complete)))
        self.active.add(task)
        return task

    def limit_ns(self, task: Task) -> int:
        """After how long the worker gives the rest back; 0: never."""
        limit_s = self.chunks.limit_s
        return 0 if limit_s is None or task.careful else int(limit_s * 1e9)

    def note_sent(self, task: Task, nbytes: int) -> None:
        self.chunks.record_sent(task.end - task.begin, nbytes)

    def finish(self, task: Task, outcome: Outcome) -> Effect | None:
        self.active.discard(task)
        if outcome.is_unread and task.end - task.begin > 1:
            self.repeats.halve(task.begin, task.end, task.deaths)
            return None
        done = outcome.done
        self.chunks.record(done, outcome.seconds)
        if task.begin + done < task.end:
            self.chunks.given_back += outcome.fault is None
            self.ranges.give_back(task.begin + done, task.end)
        fault = outcome.fault
        count = done if fault is None else self._failed_from(task, outcome)
        self.done_items += count
        self.put_values(task, outcome, count)
        if fault is not None:
            self._failed(task.begin + count, task.begin + done, fault.exception())
        return None

    def _failed_from(self, task: Task, outcome: Outcome) -> int:
        """Return how many items of the task were done before the call that failed."""
        return outcome.done - 1

    def _failed(self, begin: int, end: int, error: BaseException) -> None:
        if self.repeats.allows(begin):
            self.ranges.give_back(begin, end)
        else:
            self.done_items += end - begin
            self.put_error(begin, end, error)

    def lost(self, task: Task, death: Death) -> Effect | None:
        self.active.discard(task)
        begin, end, deaths = death.begin, death.end, task.deaths + 1
        self.ranges.give_back(task.begin, begin)
        self.ranges.give_back(end, task.end)
        is_one_call = task.careful or end - begin == 1
        if deaths >= DEATHS_PER_ITEM - 1 and self.repeats.splits and end - begin > 1:
            self.repeats.halve(begin, end, 1)
        elif deaths >= DEATHS_PER_ITEM and is_one_call:
            self.put_error(begin, end, death.error(self.describe(begin, end), deaths))
        else:
            # As a task of their own, which says before each call which it is: so the next death names one item.
            self.repeats.suspects.append((begin, end, deaths))
        return None

    def overdue(self, task: Task, begin: int, end: int, timeout_s: float) -> Effect | None:
        self.active.discard(task)
        self.ranges.give_back(task.begin, begin)
        self.ranges.give_back(end, task.end)
        self._failed(begin, end, late(self.describe(begin, end), timeout_s))
        return None

    def again(self, task: Task, has_begun: bool) -> Effect | None:
        self.active.discard(task)
        self.ranges.give_back(task.begin, task.end)
        return None

    def suspect(self, task: Task, deaths: int) -> None:
        self.active.discard(task)
        self.repeats.suspects += [(item, item + 1, deaths) for item in reversed(range(task.begin, task.end))]

    def cancel(self) -> None:
        """Hand out no more."""
        self.cancelled = True
