"""Arrays of a pool past one machine: rows are the items of a map, results come back, and this process puts them away.

array, cut here ---> worker of a node: calls the function ---> this thread: writes, combines
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from pardata.modules.function_name import function_name
from pardata.pool.arrays.addresses import LocalRef, array_here
from pardata.pool.arrays.inputs import InputArrays
from pardata.pool.arrays.output import Output
from pardata.pool.arrays.row_spans import RowSpan, naming_rows
from pardata.pool.arrays.rows import Array, OpenWork, combined, cut, place
from pardata.pool.arrays.work import Work
from pardata.pool.jobs.chunking import parse_chunksize
from pardata.pool.options import check_awaits_nothing
from pardata.pool.results import Results, take_all
from pardata.runtime.stage_bars import Bars


class RowBlock:
    """Rows on their way, with those beside them that the function needs; errors name the rows.

    Attributes
    ----------
    arrays : list
        The entries from `low` on, of each array.
    """

    def __init__(self, begin: int, end: int, low: int, arrays: list[Any]) -> None:
        self.begin, self.end = begin, end
        self.low = low
        self.arrays = arrays

    def __repr__(self) -> str:
        return f"rows {self.begin} to {self.end}"


@dataclass
class RowsCall:
    """A method of `OpenWork` as the function of a map over blocks of rows.

    Parameters
    ----------
    work : Work
        Without inputs.
    """

    work: Work
    method: str
    rest: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        check_awaits_nothing(self.work.fn)
        self.__name__ = function_name(self.work.fn)  # for messages

    def __call__(self, block: RowBlock) -> Any:
        """Return the result for a block."""
        opened = OpenWork(self.work_on(block.arrays), array_here)
        return getattr(opened, self.method)(block.begin - block.low, block.end - block.low, *self.rest)

    def work_on(self, arrays: list[Any]) -> Work:
        """Return the work with its inputs."""
        return replace(self.work, inputs=tuple(LocalRef(array.view()) for array in arrays))


class RowSender(NamedTuple):
    """A way to send rows as the items of a pool's map.

    Attributes
    ----------
    results : callable
        That of the pool.
    inputs : InputArrays
    block : int
        Entries per call.
    chunksize
        How many calls travel together, as of a map.
    bars : Bars, optional
    """

    results: Callable[..., Results]
    inputs: InputArrays
    block: int
    chunksize: Any
    bars: Bars | None

    def spans(self) -> list[RowSpan]:
        """Return the rows of all calls."""
        rows = self.inputs.rows
        return [(begin, min(begin + self.block, rows)) for begin in range(0, rows, self.block)]

    def cut(self, begin: int, end: int, more: int = 0) -> RowBlock:
        """Return a block; `more` rows behind it go along, where there are any."""
        inputs = self.inputs
        low, high = max(0, begin - inputs.halo), min(inputs.rows, end + more + inputs.halo)
        return RowBlock(begin, end, low, [np.asarray(cut(array, inputs.axis, low, high)) for array in inputs.arrays])

    def each(self, call: RowsCall, spans: list[RowSpan], take: Callable[[RowSpan, Any], None]) -> None:
        """Have `take` called with the rows of each call and its result, in their order; few are under way at a time."""

        def take_one(span: RowSpan, value: Any) -> None:
            take(span, value)
            if self.bars is not None:
                self.bars.update([span[1]])

        blocks: Iterable[RowBlock] = (self.cut(*span) for span in spans)
        with naming_rows(spans):
            take_all(self.results(call, blocks, chunksize=self.chunksize, lazy=True), spans, take_one)
        if self.bars is not None:
            self.bars.update([self.inputs.rows], final=True)


@contextmanager
def sending(
    results: Callable[..., Results], what: str, inputs: InputArrays, block: int, chunksize: Any, progress: Any
) -> Iterator[RowSender]:
    """Give a `RowSender`; `chunksize` and `progress` are those of the method `what`."""
    bars = Bars({what: inputs.rows}, "row", progress) if progress else None
    is_of_calls = parse_chunksize(chunksize).kind in ("fixed", "bytes")  # else of what travels together
    try:
        yield RowSender(results, inputs, block, "auto" if is_of_calls else chunksize, bars)
    finally:
        if bars is not None:
            bars.close()


def map_rows(sender: RowSender, work: Work, output: Output) -> None:
    """Fill the output."""
    spans = sender.spans()
    first_block = sender.cut(*spans[0], more=1)  # to tell its axis by a result of another length
    with naming_rows(spans):
        ((first, axis),) = sender.results(RowsCall(work, "first"), [first_block])
    target, writing = output.make(work, sender.block)(first, axis)
    place(target, axis, *spans[0], first, writing.exact)
    del first
    call = RowsCall(work, "result", (axis,))
    sender.each(call, spans[1:], lambda span, value: place(target, axis, *span, value, writing.exact))


def reduce_rows(sender: RowSender, work: Work) -> Any:
    """Return the results combined, two by two, in the order of the rows."""
    waiting: list[tuple[int, Any]] = []  # how many calls are in it, and the value; each of more calls than the next

    def take(_: RowSpan, value: Any) -> None:
        count = 1
        while waiting and waiting[-1][0] == count:
            before, other = waiting.pop()
            count, value = count + before, combined(work, other, value)
        waiting.append((count, value))

    sender.each(RowsCall(replace(work, combine=None), "part"), sender.spans(), take)
    value = waiting.pop()[1]
    while waiting:
        value = combined(work, waiting.pop()[1], value)
    return value


@dataclass
class Changed:
    """A function that changes its block in place, as one that returns it."""

    fn: Callable[[Any], Any]

    def __post_init__(self) -> None:
        check_awaits_nothing(self.fn)
        self.__name__ = function_name(self.fn)  # for messages

    def __call__(self, block: Array) -> Array:
        """Return a changed copy."""
        own = np.array(block)
        self.fn(own)
        return own


def change_rows(sender: RowSender, work: Work, array: Any) -> None:
    """Have the function change the array, block by block; a block that comes back is put in its place."""
    changed = Work(Changed(work.fn), (), "map", work.axis, native=work.native)
    call = RowsCall(changed, "result", (work.axis,))
    sender.each(call, sender.spans(), lambda span, value: place(array, work.axis, *span, value, exact=False))
