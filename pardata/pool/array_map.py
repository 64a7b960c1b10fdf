"""`map_array`: chunks of a shared array in, rows written into one output array."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np

from pardata.errors import ConfigError
from pardata.memory.array import find_anchor, is_in
from pardata.memory.home import home, new_array
from pardata.pool.chunking import Chunks, Chunksize, block_rows
from pardata.pool.dispatcher import Dispatcher
from pardata.pool.jobs import Code, name_of
from pardata.pool.tasks import ArrayAddress, ArrayJob, ArrayTask, Outcome, PagedInput, PagedRows, place_rows
from pardata.runtime.progress import REFRESH_S, Bars

Array = np.ndarray[Any, Any]


def address_of(array: Array) -> ArrayAddress:
    """Return the address of an array in the segment."""
    memory = np.frombuffer(home().segment.map, np.uint8, 1)
    offset = array.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    return ArrayAddress(offset, array.dtype, array.shape, array.strides)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array that the pool's workers see: in a nested pool that is not what `pardata.empty` gives."""
    made: Array = new_array(home().arena, shape, dtype)
    return made


def _copy(array: Array) -> Array:
    copied = _empty(array.shape, array.dtype)
    copied[...] = array
    return copied


def is_shared(array: Array) -> bool:
    """Whether an array lies in the segment."""
    block = find_anchor(array)
    return block is not None and is_in(block, home().segment.map)


class _ArrayMap:
    """The job. It keeps input and output alive until its last task is done, whatever became of the caller."""

    def __init__(
        self, fn: Callable[[Any], Any], array: Array | PagedRows, out: Array | None, chunks: Chunks, block: int
    ) -> None:
        self._fn = fn
        self._array = array
        self._block = block
        self._chunks = chunks
        self._active = 0
        self._cancelled = False
        self.out = out
        self._exact = out is None  # the first chunk's dtype is everybody's; an `out` of the user's takes what fits
        self.error: BaseException | None = None
        self.rows_done = 0
        self.changed = threading.Condition()
        self._code = self._encode()

    def _encode(self) -> Code:
        address = None if self.out is None else address_of(self.out)
        array = address_of(self._array) if isinstance(self._array, np.ndarray) else PagedInput(self._array)
        job = ArrayJob(self._fn, array, address, self._block, self._exact)
        return Code(job, name_of(self._fn))

    @property
    def finished(self) -> bool:
        """Whether no task is out and none will follow."""
        return self._active == 0 and self.exhausted

    @property
    def exhausted(self) -> bool:
        return self._cancelled or self._chunks.position >= self._chunks.total

    def cancel(self) -> None:
        """Hand out no more tasks."""
        self._cancelled = True

    def next_task(self) -> ArrayTask | None:
        with self.changed:
            if self.exhausted or (self.out is None and self._active):
                return None  # the first chunk says what the output looks like
            begin, end = self._chunks.next() or (0, 0)
            self._active += 1
        return ArrayTask(self._code.address, begin, begin, end)

    def finish(self, task: ArrayTask, outcome: Outcome) -> None:
        try:
            if outcome.fault is not None:
                raise outcome.fault.exception()
            self._chunks.record(task.end - task.begin, outcome.seconds)
            if self.out is None:
                self._make_out(task, outcome.values)
        except BaseException as error:
            self._stop(error)
        self._settle(task.end - task.begin)

    def _make_out(self, task: ArrayTask, first: Array) -> None:
        rows = task.end - task.begin
        if first.ndim == 0 or len(first) != rows:
            raise ValueError(
                f"the function returned shape {first.shape} for {rows} rows: it must return one row per row"
            )
        self.out = _empty((self._chunks.total, *first.shape[1:]), first.dtype)
        place_rows(self.out[task.begin : task.end], first, True)
        self._code = self._encode()

    def fail(self, task: ArrayTask | None, error: BaseException) -> None:
        self._stop(error)
        self._settle(0, lost=task is not None)

    def _stop(self, error: BaseException) -> None:
        self.error = self.error or error
        self._cancelled = True

    def _settle(self, rows: int, lost: bool = True) -> None:
        with self.changed:
            self._active -= lost
            self.rows_done += rows
            self.changed.notify_all()


def _checked(array: Any) -> Array:
    if isinstance(array, np.ma.MaskedArray):
        raise ConfigError("map_array cannot share a masked array: give its data and its mask")
    given = np.asarray(array)
    if given.ndim == 0:
        raise ConfigError(f"map_array needs an array with at least one axis, not {type(array).__name__}")
    if given.dtype.hasobject:
        raise ConfigError(f"map_array cannot share an array of {given.dtype}: it holds Python objects")
    return given


def _is_paged(array: object) -> TypeGuard[PagedRows]:
    return not isinstance(array, np.ndarray) and hasattr(array, "page_rows")


def _whole_pages(paged: PagedRows, block: int) -> int:
    """Return `block` rows, rounded up to whole pages: no two chunks read the same page."""
    return -(-block // paged.page_rows) * paged.page_rows


def _check_out(out: Any, rows: int) -> None:
    if (
        not isinstance(out, np.ndarray)
        or out.ndim == 0
        or len(out) != rows
        or not out.flags.writeable
        or out.dtype.hasobject
    ):
        what = f"an array of shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ConfigError(f"out must be a writable array of {rows} rows without objects, not {what}")


def map_array(
    dispatcher: Dispatcher, fn: Callable[[Any], Any], array: Any, chunksize: Chunksize, out: Any, progress: bool
) -> Any:
    """Do what `WorkerPool.map_array` says."""
    if not callable(fn):
        raise ConfigError(f"map_array needs a function, not {type(fn).__name__}")
    paged = array if _is_paged(array) else None
    given = _checked(array) if paged is None else paged
    rows = given.shape[0]
    if out is not None:
        _check_out(out, rows)
    if rows == 0:
        made = np.asarray(fn(given[:]))
        if out is None:
            return _copy(made)
        return out
    shared = given if not isinstance(given, np.ndarray) or is_shared(given) else _copy(given)
    overlaps = isinstance(shared, np.ndarray) and out is not None and np.may_share_memory(out, shared)
    in_place = out is not None and is_shared(out) and not overlaps
    # What overlaps the input is written at the end: a chunk that is done again must find the input as it was.
    target = out if out is None or in_place else _empty(out.shape, out.dtype)
    nbytes = math.prod(given.shape) * given.dtype.itemsize
    block = chunksize if isinstance(chunksize, int) else block_rows(rows, nbytes)
    if paged is not None and not isinstance(chunksize, int):
        block = _whole_pages(paged, block)
    job = _ArrayMap(fn, shared, target, Chunks(rows, dispatcher.workers, chunksize, block), block)
    dispatcher.add(job)
    _wait(dispatcher, job, rows, progress)
    if job.error is not None:
        raise job.error
    if out is None:
        return job.out
    if target is not out:
        out[...] = target
    return out


def _wait(dispatcher: Dispatcher, job: _ArrayMap, rows: int, progress: bool) -> None:
    """Wait until the last task is done; on Ctrl-C hand out no more and leave."""
    bars = Bars(["map_array"], rows, "row") if progress else None
    try:
        with job.changed:
            while not job.finished:
                job.changed.wait(REFRESH_S if bars is not None else None)
                if bars is not None:
                    bars.update([job.rows_done])
    finally:
        job.cancel()
        dispatcher.wake()
        if bars is not None:
            bars.update([job.rows_done], final=True)
            bars.close()
