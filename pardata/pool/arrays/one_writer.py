"""`map_array` into a file that no other process may write, as one of HDF5: workers send results, this process writes.

      range ---> worker: reads, calls the function ---> result in shared memory ---> this thread: writes it

A few results are under way at a time, so that little memory is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from pardata.pool.arrays.addresses import LocalRef, array_here
from pardata.pool.arrays.inputs import InputArrays
from pardata.pool.arrays.output import Output
from pardata.pool.arrays.rows import OpenWork, Work, place
from pardata.runtime.progress import Bars


@dataclass
class RangeCall:
    """The function of a `Work`, for one range of entries; `axis`: of the result, None: to be found out."""

    work: Work
    axis: int | None = None

    def __call__(self, span: tuple[int, int]) -> Any:
        """Return the result; with the axis if that is to be found out."""
        opened = OpenWork(self.work, array_here)
        return opened.first(*span) if self.axis is None else opened.result(*span, self.axis)


def map_by_one_writer(
    results: Callable[..., Iterator[Any]],
    work: Work,
    inputs: InputArrays,
    block: int,
    output: Output,
    bars: Bars | None,
) -> None:
    """Fill the output. `results` is that of a pool, with its window: an iterator over the results of a function."""
    rows = inputs.rows
    spans = [(begin, min(begin + block, rows)) for begin in range(0, rows, block)]
    ((first, axis),) = results(RangeCall(work), spans[:1])
    target, writing = output.make(work, block)(first, axis)
    made = results(RangeCall(work, axis), spans[1:], chunksize=1, lazy=True)
    for (begin, end), value in zip(spans, chain([first], made), strict=True):
        place(target, axis, begin, end, value, writing.exact)
        del value
        if bars is not None:
            bars.update([end])


def captured(inputs: InputArrays) -> tuple[LocalRef, ...]:
    """Return the arrays as parts of a function: frozen, so that workers share them."""
    return tuple(LocalRef(_frozen(array)) for array in inputs.arrays)


def _frozen(array: Any) -> Any:
    if not isinstance(array, np.ndarray):
        return array
    view = array.view()
    view.setflags(write=False)
    return view
