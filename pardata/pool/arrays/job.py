"""A job over the entries of arrays along one axis."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pardata.errors import WorkerLostError
from pardata.pool.arrays.going_on import ArrayCheckpoint
from pardata.pool.arrays.rows import NONE_COMBINED, Array, place
from pardata.pool.arrays.work import Work
from pardata.pool.jobs.chunking import Chunks
from pardata.pool.jobs.job import Death, Effect, Outcome, Task
from pardata.pool.jobs.range import RangeJob
from pardata.pool.worker.messages import ROWS
from pardata.process.interrupts import steps
from pardata.runtime.carried_errors import add_note
from pardata.runtime.stage_bars import REFRESH_S, Bars


class Gathered:
    """The results of a job on arrays: rows of an output that the first block's result makes, or values to combine.

    Attributes
    ----------
    out : array, optional
        The output, once it is made.
    partials : dict
        By the first row of their tasks, the values to combine.
    work : Work
        What a task does with its rows; another one from the moment on at which there is an output.
    """

    __slots__ = ("_going_on", "_make_out", "out", "partials", "work")

    def __init__(
        self,
        work: Work,
        make_out: Callable[[Array, int], tuple[Array, Work]] | None,
        going_on: ArrayCheckpoint | None,
    ) -> None:
        self.out: Array | None = None
        self.partials: dict[int, Any] = {}
        self.work = work
        self._make_out = make_out
        self._going_on = going_on

    def begin_out(self, begin: int, end: int, first: Array, axis: int) -> None:
        """Make the output for the first block's result, and put that in its place."""
        assert self._make_out is not None
        self.out, self.work = self._make_out(first, axis)
        place(self.out, axis, begin, end, first, self.work.exact)
        if self._going_on is not None:
            self._going_on.begin(axis, self.work.exact)

    def note(self, begin: int, end: int) -> None:
        """Note rows that are in their place, for a call that goes on after this one."""
        if self._going_on is not None:
            self._going_on.note(begin, end)

    def combined(self) -> Any:
        """Return the partial results, combined two by two in the order of their rows."""
        combine = self.work.combine
        assert combine is not None
        values = [self.partials[begin] for begin in sorted(self.partials)]
        try:
            while len(values) > 1:
                pairs = [combine(*values[at : at + 2]) for at in range(0, len(values) - 1, 2)]
                values = pairs + values[len(pairs) * 2 :]
        except Exception as error:
            if any(value is None for value in self.partials.values()):
                add_note(error, NONE_COMBINED)
            raise
        return values[0]


class JobEnd:
    """The end of a job, as its waiting caller sees it, who does not have the pool's lock.

    Attributes
    ----------
    is_over : bool
        No task is out, none will follow, and everything of the last one is taken in.
    error : BaseException, optional
        The first one that ended it.
    """

    __slots__ = ("_changed", "error", "is_over")

    def __init__(self) -> None:
        self.is_over = False
        self.error: BaseException | None = None
        self._changed = threading.Condition()

    def note(self, is_over: bool) -> None:
        """Say whether the job is over. Called with the pool's lock held."""
        with self._changed:
            self.is_over = is_over
            self._changed.notify_all()

    def wait(
        self,
        run_inline: Callable[[Callable[[], bool], float | None], bool],
        progress: Callable[[], int],
        bars: Bars | None,
        tick: Callable[[], None] | None = None,
    ) -> None:
        """Wait until the last task is done; call `tick` now and then. Called without the pool's lock."""

        def is_over() -> bool:  # read without the pool's lock: nothing else of the job may be
            return self.is_over

        rest = None if bars is None and tick is None else REFRESH_S
        while not self.is_over:
            if not run_inline(is_over, rest):
                with self._changed:
                    self._changed.wait_for(is_over, next(steps(rest)))
            if tick is not None:
                tick()
            if bars is not None:
                bars.update([progress()])


class ArrayJob(RangeJob):
    """Keeps inputs and output alive until its last task is done, even if the caller is gone.

    Parameters
    ----------
    encode : callable
        Encodes a `Work`, for tasks to name.
    make_out : callable
        Of "first": gets the first block's result and its axis, returns the output and the `Work` that writes into it.
    keeps : object
        The arrays that the addresses in `work` refer to.
    block : int
        Entries per call.
    going_on : ArrayCheckpoint, optional
        Rows that were done before are left out, and those that are done are noted.
    """

    def __init__(
        self,
        encode: Callable[[Work], Any],
        work: Work,
        number: int,
        rows: int,
        block: int,
        chunks: Chunks,
        keeps: Any,
        make_out: Callable[[Array, int], tuple[Array, Work]] | None = None,
        retries: int = 0,
        splits: bool = False,
        going_on: ArrayCheckpoint | None = None,
    ) -> None:
        super().__init__(encode(work), chunks, rows, retries, splits)
        self.results = Gathered(work, make_out, going_on)
        if going_on is not None:
            self.do_only(going_on.missing)
        self.end = JobEnd()
        self._encode = encode
        self._number = number
        self._block = block
        self._keeps = keeps
        self.repeats.most *= work.kind != "each"  # rows that were changed half-way cannot be done again

    def next_task(self, ahead: bool) -> Task | None:
        if self.results.work.kind == "first" and self.active:
            return None  # the first block decides the shape of the output
        return super().next_task(ahead)

    def message(self, task: Task) -> tuple[Any, ...]:
        block = task.end - task.begin if task.careful else self._block
        return ROWS, self.code.wire, self._number, task.begin, task.end, block, self.limit_ns(task)

    def describe(self, begin: int, end: int) -> str:
        return f"rows {begin} to {end - 1} of an array" if end - begin > 1 else f"row {begin} of an array"

    def finish(self, task: Task, outcome: Outcome) -> Effect | None:
        super().finish(task, outcome)
        self.end.note(not self.active and self.exhausted)
        return None

    def _failed_from(self, task: Task, outcome: Outcome) -> int:
        block = task.end - task.begin if task.careful else self._block
        return (outcome.done - 1) // block * block

    def put_values(self, task: Task, outcome: Outcome, count: int) -> None:
        if not count:
            return
        if self.results.work.kind == "first":
            try:
                self.results.begin_out(task.begin, task.begin + count, *outcome.values)
                # Tasks from here on write their rows into the output themselves.
                self.code = self._encode(self.results.work)
            except BaseException as error:
                self._stop(error)
                return
        elif self.results.work.kind == "reduce":
            self.results.partials[task.begin] = outcome.values
        self.results.note(task.begin, task.begin + count)

    def put_error(self, begin: int, end: int, error: BaseException) -> None:
        self._stop(error)

    def lost(self, task: Task, death: Death) -> Effect | None:
        if self.results.work.kind == "each":
            self.active.discard(task)
            self._stop(death.error(f"{self.describe(death.begin, death.end)}, which it changed in place", 1))
        else:
            super().lost(task, death)
        self.end.note(not self.active and self.exhausted)
        return None

    def overdue(self, task: Task, begin: int, end: int, timeout_s: float) -> Effect | None:
        super().overdue(task, begin, end, timeout_s)
        self.end.note(not self.active and self.exhausted)
        return None

    def again(self, task: Task, has_begun: bool) -> Effect | None:
        super().again(task, has_begun)
        if has_begun and self.results.work.kind == "each":
            what = f"rows {task.begin} to {task.end - 1} of an array, or some of them,"
            self._stop(WorkerLostError(f"the pool: {what} were changed in place by a worker that had to be ended"))
        self.end.note(not self.active and self.exhausted)
        return None

    def drop_rest(self, error: BaseException) -> Effect | None:
        self._stop(error)
        self.end.note(not self.active and self.exhausted)
        return None

    def fail(self, task: Task | None, error: BaseException) -> Effect | None:
        if task is not None:
            self.active.discard(task)
        else:
            self.active.clear()
        self._stop(error)
        self.end.note(not self.active and self.exhausted)
        return None

    def _stop(self, error: BaseException) -> None:
        self.end.error = self.end.error or error
        self.cancelled = True
