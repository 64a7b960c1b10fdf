"""`multiprocessing.shared_memory`, by hand, as far as a careful user would go with the standard library alone.

chain: slots of one block; their numbers travel through queues. A stage that returns a new array copies it over its
argument, one that works in place just passes the slot on, the consumer copies nothing and gives the slot back when it
asks for the next item. Only the source takes slots, so their number bounds what is under way. (None of it survives a
killed process, which the code does not show.) map_array: input and output in blocks, a pool that gets ranges.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.shared_memory import ShareableList, SharedMemory
from typing import Any

import numpy as np

from benchmarks.rivals import rival
from benchmarks.rivals.rival import ArrayWork, Flow

CONTEXT = multiprocessing.get_context("fork")
SLOTS, RANGES = 16, 64
LARGE_BYTES, SLOTS_LARGE = 1_000_000, 8


class Slots:
    """Places for arrays in one block, and a queue of those that are free."""

    def __init__(self, nbytes: int) -> None:
        self.count = SLOTS_LARGE if nbytes > LARGE_BYTES else SLOTS
        self.nbytes = -(-nbytes // 64) * 64
        self.block = SharedMemory(create=True, size=self.count * self.nbytes)
        self.free = CONTEXT.Queue()
        for slot in range(self.count):
            self.free.put(slot)

    def view(self, slot: int, shape: tuple[int, ...]) -> Any:
        return np.ndarray(shape, np.float64, self.block.buf, slot * self.nbytes)

    def empty(self, made: dict[int, int], shape: int | tuple[int, ...]) -> Any:
        """Like `numpy.empty`; `made` gets the slot by the array's address."""
        slot = self.free.get()
        array = self.view(slot, (shape,) if isinstance(shape, int) else shape)
        made[array.ctypes.data] = slot
        return array

    def put(self, x: Any) -> tuple[int, tuple[int, ...]]:
        """Copy an array into a free slot."""
        slot = self.free.get()
        self.view(slot, x.shape)[...] = x
        return slot, x.shape

    def dispose(self) -> None:
        """The block is not closed: the caller may still have the last array, and a view does not keep the memory."""
        self.free.close()
        self.block.unlink()


def _source(flow: Flow, slots: Slots, out: Any) -> None:
    made: dict[int, int] = {}
    for x in flow.items(partial(slots.empty, made)):
        slot = made.pop(x.ctypes.data, None)
        out.put(slots.put(x) if slot is None else (slot, x.shape))
    out.put(None)


def _stage(fn: Callable[[Any], Any], inplace: bool, slots: Slots, inbox: Any, out: Any) -> None:
    while (item := inbox.get()) is not None:
        slot, shape = item
        result = fn(slots.view(slot, shape))
        if not inplace:  # the result has memory of its own: it takes the place of the argument
            shape = result.shape
            slots.view(slot, shape)[...] = result
        out.put((slot, shape))
    out.put(None)


class Rival(rival.Rival):
    slots: Slots  # of the last chain: see `Slots.dispose`

    def chain(self, flow: Flow) -> Iterator[Any]:
        self.slots = slots = Slots(flow.nbytes)
        queues = [CONTEXT.SimpleQueue() for _ in range(len(flow.stages) + 1)]
        running = [CONTEXT.Process(target=_source, args=(flow, slots, queues[0]), daemon=True)]
        for fn, inbox, out in zip(flow.stages, queues, queues[1:], strict=False):
            running.append(CONTEXT.Process(target=_stage, args=(fn, flow.inplace, slots, inbox, out), daemon=True))
        for process in running:
            process.start()
        last = None
        while (item := queues[-1].get()) is not None:
            if last is not None:
                slots.free.put(last)
            last = item[0]
            yield slots.view(*item)
        for process in running:
            process.join()
        slots.dispose()

    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        nbytes = 8 * int(np.prod(work.shape))
        source, target = (SharedMemory(create=True, size=nbytes) for _ in range(2))
        a, out = (np.ndarray(work.shape, np.float64, block.buf) for block in (source, target))
        work.fill(a)
        ranges = work.ranges(RANGES)
        with CONTEXT.Pool(workers, _attach, (source.name, target.name, work.shape, work.fn)) as pool:

            def call() -> Any:
                pool.map(_do, ranges, chunksize=1)
                return out

            yield call
        for block in (source, target):
            block.unlink()
            # not closed: the caller may still have the result, and close() under a view is an error

    def shared_memory(self) -> Any:
        return SharedMemory

    def shareable_list(self) -> Any:
        return ShareableList

    @contextmanager
    def put_array(self, values: Any) -> Iterator[Any]:
        block = SharedMemory(create=True, size=values.nbytes)
        made: Any = np.ndarray(values.shape, values.dtype, block.buf)
        made[:] = values
        try:
            yield made
        finally:
            block.unlink()


attached: list[Any] = []


def _attach(source: str, target: str, shape: tuple[int, ...], fn: Callable[[Any], Any]) -> None:
    """In each worker, once."""
    blocks = [SharedMemory(name) for name in (source, target)]
    attached[:] = [fn, blocks, *(np.ndarray(shape, np.float64, block.buf) for block in blocks)]


def _do(bounds: tuple[int, int]) -> None:
    lo, hi = bounds
    fn, _, a, out = attached
    out[lo:hi] = fn(a[lo:hi])
