"""What a pool's worker does: take a task, call its function, send the outcome.

A task is a tuple; its function lies in the main process's arena, is decoded once per worker and kept.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from pardata.channel.message import Batch, decode_object
from pardata.channel.order import Arrival
from pardata.memory.array import anchor
from pardata.memory.segment import Segment
from pardata.runtime.faults import Fault, describe_item
from pardata.runtime.port import Port

_FUNCTIONS_KEPT: Final = 64


class CodeAddress(NamedTuple):
    """Where an encoded function (or anything else) lies in the segment."""

    key: int
    offset: int
    length: int
    blocks: list[tuple[int, int]]


class ArrayAddress(NamedTuple):
    """Where an array lies in the segment; valid while the main process holds the array."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def open(self, segment: Segment) -> Any:
        """Return the array, writable."""
        return np.ndarray(self.shape, self.dtype, segment.map, self.offset, self.strides)

    def rows(self, segment: Segment) -> Any:
        """Return the array, read-only."""
        array = self.open(segment)
        array.setflags(write=False)
        return array


class PagedRows(Protocol):
    """Rows that are read where they are needed, page by page: a file, for instance. Pickles as a recipe."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def page_rows(self) -> int:
        """Rows per page: chunks end where pages end."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Return an array of these rows."""


class PagedInput(NamedTuple):
    """Stands where an `ArrayAddress` does, for rows that are not in memory."""

    paged: PagedRows

    def rows(self, segment: Segment) -> PagedRows:
        """Return what gives the rows."""
        return self.paged


class Outcome(NamedTuple):
    """What came of a task: its values, or how far it came and what went wrong then; and the seconds it took."""

    values: Any
    fault: Fault | None
    seconds: float


class CallTask(NamedTuple):
    """One call."""

    code: CodeAddress
    number: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def describe(self) -> str:
        """Return what it is, for messages."""
        return f"task {self.number}: a call with {describe_item(self.args)}"

    def run(self, fn: Callable[..., Any], segment: Segment) -> Outcome:
        """Call the function."""
        try:
            return Outcome(fn(*self.args, **self.kwargs), None, 0.0)
        except Exception as error:
            return Outcome(None, _fault(error, fn, self.number, self.args), 0.0)


class MapTask(NamedTuple):
    """Consecutive calls of a map."""

    code: CodeAddress
    number: int
    items: list[tuple[Any, ...]]

    def describe(self) -> str:
        """Return what it is, for messages."""
        return f"items {self.number} to {self.number + len(self.items) - 1} of a map"

    def run(self, fn: Callable[..., Any], segment: Segment) -> Outcome:
        """Call the function for each item, up to the first error."""
        values: list[Any] = []
        begin = time.perf_counter()
        for item in self.items:
            try:
                values.append(fn(*item))
            except Exception as error:
                fault = _fault(error, fn, self.number + len(values), item)
                return Outcome(values, fault, time.perf_counter() - begin)
        return Outcome(values, None, time.perf_counter() - begin)


class ArrayJob(NamedTuple):
    """What all chunks of a `map_array` have in common; encoded once. Without `out` the result is sent back.

    `exact`: results must have the dtype of `out`; else one that NumPy casts to it as "same_kind".
    """

    fn: Callable[..., Any]
    array: ArrayAddress | PagedInput
    out: ArrayAddress | None
    block: int
    exact: bool


class ArrayTask(NamedTuple):
    """The rows ``[begin, end)`` of a `map_array`."""

    code: CodeAddress
    number: int
    begin: int
    end: int

    def describe(self) -> str:
        """Return what it is, for messages."""
        return f"rows {self.begin} to {self.end - 1} of an array"

    def run(self, job: ArrayJob, segment: Segment) -> Outcome:
        """Call the function block by block, writing into the output."""
        array = job.array.rows(segment)
        begin = time.perf_counter()
        row = self.begin
        try:
            if job.out is None:
                value = np.asarray(job.fn(array[self.begin : self.end]))
                return Outcome(value, None, time.perf_counter() - begin)
            out = job.out.open(segment)
            for row in range(self.begin, self.end, job.block):
                end = min(row + job.block, self.end)
                place_rows(out[row:end], np.asarray(job.fn(array[row:end])), job.exact)
        except Exception as error:
            fault = Fault.of(error, _name(job.fn), row, f"rows {row} to {min(row + job.block, self.end)}")
            return Outcome(None, fault, time.perf_counter() - begin)
        return Outcome(None, None, time.perf_counter() - begin)


def place_rows(out: Any, value: Any, exact: bool) -> None:
    """Put the result for some rows into its place; raises ValueError if its shape or (`exact`) its dtype differs."""
    if value.shape != out.shape:
        raise ValueError(
            f"the function returned shape {value.shape} for {len(out)} rows where {out.shape} was expected: it must "
            f"return one "
            f"row per row, all of one shape"
        )
    if not (value.dtype == out.dtype if exact else np.can_cast(value.dtype, out.dtype, "same_kind")):
        raise ValueError(f"the function returned {value.dtype}, which does not fit the output's {out.dtype}")
    out[...] = value


def _name(fn: Callable[..., Any]) -> str:
    return str(getattr(fn, "__name__", type(fn).__name__))


def _fault(error: Exception, fn: Callable[..., Any], number: int, args: tuple[Any, ...]) -> Fault:
    error = error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
    return Fault.of(error, _name(fn), number, args[0] if len(args) == 1 else args)


class TaskProgram:
    """The loop of a pool's worker."""

    name = "pool"
    inplace = False
    redoable = True

    def order(self, following: dict[int, int]) -> Arrival[Any]:
        """Return the order of tasks: as they come."""
        return Arrival()

    def run(self, port: Port) -> None:
        """Run tasks until the pool closes."""
        functions = _Functions(port.arena.segment)
        while self._step(port, functions):
            pass

    @staticmethod
    def _step(port: Port, functions: _Functions) -> bool:
        try:
            batches = port.take()
        except Exception as error:  # an argument cannot be unpickled
            port.publish(port.claimed().with_items([Outcome(None, Fault.of(error, "a pool's task"), 0.0)], None))
            port.commit()
            return True
        if batches is None:
            return False
        batch = batches[0]
        task = batch.items.pop()
        try:
            outcome = task.run(functions.get(task.code), port.arena.segment)
        except Exception as error:
            fault = Fault.of(error, "a pool's task", task.number, "while its function was being loaded")
            outcome = Outcome(None, fault, 0.0)
        del task, batches
        port.count(1)
        _publish(port, batch, outcome)
        del outcome
        port.commit()
        return True


def _publish(port: Port, batch: Batch, outcome: Outcome) -> None:
    try:
        port.publish(batch.with_items([outcome], None))
    except MemoryError as error:
        port.publish(batch.with_items([Outcome(None, Fault.of(error, "pool", batch.number), 0.0)], None))
    except Exception as error:  # the value cannot be pickled
        port.publish(batch.with_items([Outcome(None, Fault.of(error, "pool", batch.number, "its result"), 0.0)], None))


class _Functions:
    """Decoded functions, the most recent ones."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._known: OrderedDict[int, Any] = OrderedDict()

    def get(self, code: CodeAddress) -> Any:
        if code.key in self._known:
            self._known.move_to_end(code.key)
            return self._known[code.key]
        memory = self._segment.map
        blocks = [anchor(memory, offset, extent, None, None) for offset, extent in code.blocks]
        payload = memoryview(memory)[code.offset : code.offset + code.length]
        made = self._known[code.key] = decode_object(payload, blocks)
        if len(self._known) > _FUNCTIONS_KEPT:
            self._known.popitem(last=False)
        return made
