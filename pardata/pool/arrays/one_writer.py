"""`map_array` into a file that no other process may write, as one of HDF5: workers send results, this process writes.

      range ---> worker: reads, calls the function, compresses ---> shared memory ---> this thread: writes

A few results are under way at a time, so that little memory is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pardata.data.file_array import Encoder
from pardata.modules.function_name import function_name
from pardata.pool.arrays.addresses import LocalRef, array_here
from pardata.pool.arrays.inputs import InputArrays
from pardata.pool.arrays.output import Output
from pardata.pool.arrays.row_spans import RowSpan, naming_rows
from pardata.pool.arrays.rows import Array, OpenWork, check_fit, place
from pardata.pool.arrays.work import Work
from pardata.pool.results import Results, taking
from pardata.runtime.stage_bars import Bars


class RowRange(NamedTuple):
    """A range of entries; errors name it."""

    begin: int
    end: int

    def __repr__(self) -> str:
        return f"rows {self.begin} to {self.end}"


@dataclass
class FirstCall:
    """The function of a `Work`, for the range whose result tells how the output looks."""

    work: Work

    def __post_init__(self) -> None:
        self.__name__ = function_name(self.work.fn)  # for messages

    def __call__(self, span: RowRange) -> tuple[Array, int]:
        """Return the result, and the axis of it that belongs to the inputs' axis."""
        return OpenWork(self.work, array_here).first(*span)


@dataclass
class RangeCall:
    """The function of a `Work` for any other range.

    Parameters
    ----------
    work : Work
        With the axis of the results.
    shape, dtype
        Of the output.
    encoder : Encoder, optional
        Results are sent as chunks of the file.
    """

    work: Work
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    encoder: Encoder | None

    def __post_init__(self) -> None:
        self.__name__ = function_name(self.work.fn)  # for messages

    def __call__(self, span: RowRange) -> Any:
        """Return the result, or its chunks."""
        axis = self.work.place
        value = OpenWork(self.work, array_here).result(*span, axis)
        check_fit(self, axis, *span, value, self.work.exact)
        if self.encoder is None:
            return value
        bounds = [span if number == axis else (0, length) for number, length in enumerate(self.shape)]
        return self.encoder.encode(tuple(slice(*ends) for ends in bounds), value)


def map_by_one_writer(
    results: Callable[..., Results],
    work: Work,
    inputs: InputArrays,
    block: int,
    output: Output,
    bars: Bars | None,
) -> None:
    """Fill the output. `results` is that of a pool, with its window: an iterator over the results of a function."""
    rows = inputs.rows
    spans = [RowRange(begin, min(begin + block, rows)) for begin in range(0, rows, block)]
    with naming_rows(spans):
        ((first, axis),) = results(FirstCall(work), spans[:1])
    target, writing = output.make(work, block)(first, axis)
    call = RangeCall(writing, target.shape, target.dtype, target.encoder())

    def take(span: RowSpan, value: Any) -> None:
        if call.encoder is None:
            place(target, axis, *span, value, writing.exact)
        else:
            target.write_encoded(value)
        if bars is not None:
            bars.update([span[1]])

    with naming_rows(spans[1:]), taking(results(call, spans[1:], chunksize=1, lazy=True)) as made:
        place(target, axis, *spans[0], first, writing.exact)  # which may compress, while the workers are at work
        del first
        for span, value in zip(spans[1:], made, strict=True):
            take(span, value)
            del value
    if bars is not None:
        bars.update([rows], final=True)


def captured(inputs: InputArrays) -> tuple[LocalRef, ...]:
    """Return the arrays as parts of a function: frozen, so that workers share them."""
    return tuple(LocalRef(_frozen(array)) for array in inputs.arrays)


def _frozen(array: Any) -> Any:
    if not isinstance(array, np.ndarray):
        return array
    view = array.view()
    view.setflags(write=False)
    return view
