"""A worker's part of a job on arrays: it calls the function block by block, and puts the results into place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np

from pardata.codec.access import Access
from pardata.memory import write_check
from pardata.memory.byte_order import native_array
from pardata.memory.plain import plain_array
from pardata.pool.arrays.work import ArrayRef, Work
from pardata.process import forked_child
from pardata.process.forked_child import leave_if_forked
from pardata.runtime.carried_errors import add_note
from pardata.runtime.isolation import is_settled, isolate

Array = np.ndarray[Any, Any]


class OpenWork:
    """A `Work` with its arrays, as a worker has it. `opened` gives the array at an address."""

    def __init__(self, work: Work, opened: Callable[[ArrayRef], Any]) -> None:
        self.work = work
        self.inputs = [opened(address) for address in work.inputs]
        if work.kind != "each":
            for array in self.inputs:
                if isinstance(array, np.ndarray):
                    array.setflags(write=False)
                    write_check.note_read_only(array)
        self.out = None if work.out is None else opened(work.out)
        for array in self.inputs if work.kind == "each" else [self.out]:
            if isinstance(array, np.ndarray):
                write_check.note_writable(array)
        self.length: int = self.inputs[0].shape[work.axis]
        self._cut = _cut_natively if work.native else cut

    def call(self, begin: int, end: int) -> tuple[Any, int, int]:
        """Return the function's result for the entries ``[begin, end)``, and the range with its halo."""
        low, high = max(0, begin - self.work.halo), min(self.length, end + self.work.halo)
        here = forked_child.generation
        made = self.work.fn(*(self._cut(array, self.work.axis, low, high) for array in self.inputs))
        leave_if_forked(here)  # a child's result is not to be put into the output
        return made, low, high

    def change(self, begin: int, end: int) -> None:
        """Have the function change the entries ``[begin, end)`` in place; a converted block is copied back."""
        here = forked_child.generation
        block = cut(self.inputs[0], self.work.axis, begin, end)
        given = native_array(block) if self.work.native else block
        self.work.fn(given)
        leave_if_forked(here)
        if given is not block or not isinstance(self.inputs[0], np.ndarray):
            self.inputs[0][span(self.work.axis, begin, end)] = given

    def part(self, begin: int, end: int) -> Any:
        """Return the function's result as one that the next call cannot fill again, for a sum of parts."""
        results = [self.call(begin, end)[0]]
        if not is_settled(results):
            results, _ = isolate(results, Access.INPLACE)
        return results.pop()

    def put(self, begin: int, end: int) -> None:
        """Call the function and write its result."""
        work = self.work
        made, low, high = self.call(begin, end)
        value = trimmed(_array(made), work.place, begin, end, low, high)
        place(self.out, work.place, begin, end, value, work.exact)

    def result(self, begin: int, end: int, axis: int) -> Array:
        """Return the function's result for the entries ``[begin, end)``, which lie along `axis` of it."""
        made, low, high = self.call(begin, end)
        return trimmed(_array(made), axis, begin, end, low, high)

    def first(self, begin: int, end: int) -> tuple[Array, int]:
        """Return the function's result for a block, and which of its axes belongs to the inputs' axis."""
        made, low, high = self.call(begin, end)
        value = _array(made)
        ndim = len(self.inputs[0].shape)
        places = places_of(value, ndim, self.work.axis, high - low)
        if len(places) > 1 and high - low < self.length:  # two axes are as long as the block: ask with another length
            other, low_, high_ = self.call(*((begin, end - 1) if end - begin > 1 else self._longer(begin, end)))
            shape = _array(other).shape
            if high_ - low_ != high - low:
                places = [place for place in places if place < len(shape) and shape[place] == high_ - low_] or places
        return trimmed(value, places[0], begin, end, low, high), places[0]

    def do(self, begin: int, end: int, sofar: Any, is_first: bool) -> Any:
        """Do what the job is about for the entries ``[begin, end)``; return what is sent back when all is done.

        `sofar`: what it has returned for the block before, unless this one `is_first`.
        """
        kind = self.work.kind
        if kind == "map":
            return self.put(begin, end)
        if kind == "each":
            return self.change(begin, end)
        if kind == "first":
            return self.first(begin, end)
        made = self.part(begin, end)
        return made if is_first else combined(self.work, sofar, made)

    def _longer(self, begin: int, end: int) -> tuple[int, int]:
        return (begin, end + 1) if end < self.length else (begin - 1, end)


def combined(work: Work, one: Any, other: Any) -> Any:
    """Return two results combined; the error of one that is None tells that."""
    assert work.combine is not None
    here = forked_child.generation
    try:
        made = work.combine(one, other)
    except BaseException as error:
        if one is None or other is None:
            add_note(error, NONE_COMBINED)
        raise
    leave_if_forked(here)
    return made


def _array(made: Any) -> Array:
    """Return a result as an array; raises `LossError` if the output would lose a mask or a unit."""
    return made if type(made) is np.ndarray else plain_array(made, "the function returned")


def cut(array: Any, axis: int, begin: int, end: int) -> Any:
    """Return the entries ``[begin, end)`` of `array` along `axis`."""
    return array[begin:end] if axis == 0 else array[span(axis, begin, end)]


def span(axis: int, begin: int, end: int) -> tuple[slice, ...]:
    """Return the index of the entries ``[begin, end)`` along `axis`."""
    return (slice(None),) * axis + (slice(begin, end),)


def _cut_natively(array: Any, axis: int, begin: int, end: int) -> Any:
    """As `cut`, in the machine's byte order; a converted block is read-only as others are."""
    block = cut(array, axis, begin, end)
    made = native_array(block)
    if made is not block:
        made.setflags(write=False)
    return made


def trimmed(value: Array, axis: int, begin: int, end: int, low: int, high: int) -> Array:
    """Return a result for ``[low, high)`` without its halo."""
    if (low, high) == (begin, end):
        return value
    if value.ndim <= axis or value.shape[axis] != high - low:
        raise ValueError(_wrong(value, high - low))
    kept: Array = cut(value, axis, begin - low, end - low)
    return kept


NONE_COMBINED: Final = "reduce_array: the function has returned None for some rows (is its `return` missing?)"


def _wrong(value: Array, length: int) -> str:
    """Return the text for a result that has not one row per row; it names the method that may be meant."""
    needed = "it must return one row per row, all of one shape"
    if value.ndim:
        return f"the function returned shape {value.shape} for {length} rows: {needed}"
    if not value.dtype.hasobject:
        return (
            f"the function returned a single number for {length} rows: {needed}; for one value of all rows there is "
            f"reduce_array(fn, array, combine)"
        )
    if value.item() is None:
        return (
            f"the function returned None for {length} rows: {needed} (is its `return` missing?); for a function that "
            f"changes its block in place there is foreach_array(fn, array)"
        )
    return f"the function returned a {type(value.item()).__name__} for {length} rows: {needed}"


def places_of(value: Array, ndim: int, axis: int, length: int) -> list[int]:
    """Return which axes of a result may belong to `axis` of an input of `ndim` axes, of which the call got `length`.

    It stays where it is; if the function has put or dropped an axis in front of it, it is counted from the end.
    """
    shape = value.shape
    candidates = dict.fromkeys((axis, axis - ndim + len(shape)))
    places = [where for where in candidates if 0 <= where < len(shape) and shape[where] == length]
    if not places:
        raise ValueError(_wrong(value, length))
    return places


def place(out: Any, axis: int, begin: int, end: int, value: Array, exact: bool) -> None:
    """Put a result into its place in `out`; raises ValueError if its shape or (`exact`) its dtype differs."""
    check_fit(out, axis, begin, end, value, exact)
    if axis == 0:
        out[begin:end] = value
    else:
        out[span(axis, begin, end)] = value


def check_fit(out: Any, axis: int, begin: int, end: int, value: Array, exact: bool) -> None:
    """Raise ValueError if the shape or (`exact`) the dtype of a result is not that of its place in `out`.

    The byte order may be another one: new files of some formats have the machine's, whatever the first result had.
    """
    shape = (*out.shape[:axis], end - begin, *out.shape[axis + 1 :])
    if value.shape != shape and not value.ndim:
        raise ValueError(_wrong(value, end - begin))
    if value.shape != shape:
        raise ValueError(
            f"the function returned shape {value.shape} for {end - begin} rows where {shape} was expected: it must "
            f"return one row per row, all of one shape"
        )
    casting: Literal["equiv", "same_kind"] = "equiv" if exact else "same_kind"
    if not np.can_cast(value.dtype, out.dtype, casting):
        raise ValueError(f"the function returned {value.dtype}, which does not fit the output's {out.dtype}")


def writing(work: Work, out: Any, axis: int, exact: bool) -> Work:
    """Return the work that writes into `out`, an address."""
    return replace(work, kind="map", out=out, place=axis, exact=exact)


def result_shape(first: Array, axis: int, rows: int) -> tuple[int, ...]:
    """Return the shape of a whole result by that of its first block."""
    return (*first.shape[:axis], rows, *first.shape[axis + 1 :])
