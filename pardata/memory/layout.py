"""The layout of arrays in memory, and of copies of them. Pure: no block, no file.

A copy has the axes of the array in the same order in memory, without gaps: NumPy's order "K". An array whose entries
share memory - a sliding window, a broadcast row - has less memory behind it than its entries would take: that memory is
copied, and the view of it is made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class ArrayLayout(NamedTuple):
    """The layout of a copy: its memory, the offset of the first entry and the strides (None: C order), in bytes."""

    nbytes: int
    offset: int
    strides: tuple[int, ...] | None

    def view(self, array: Array, memory: Any, offset: int = 0) -> Array:
        """Return an array like `array` over the bytes of `memory` from `offset` on."""
        return np.ndarray(array.shape, array.dtype, memory, offset + self.offset, self.strides)


def layout_of(array: Array) -> ArrayLayout:
    """Return the layout of a copy of `array`."""
    if array.flags.c_contiguous:
        return ArrayLayout(array.nbytes, 0, None)
    low, high = bounds(array.shape, array.strides, array.itemsize)
    # Entries share memory: a copy has that memory once, and a view like this one over it.
    if high - low < array.nbytes:
        return ArrayLayout(high - low, -low, array.strides)
    return ArrayLayout(array.nbytes, 0, compact_strides(array))


def bounds(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """Return begin and end of the memory of an array, in bytes from its first entry; one without entries has none."""
    if 0 in shape:
        return 0, 0
    low, high = 0, itemsize
    for length, stride in zip(shape, strides, strict=True):
        if stride < 0:
            low += (length - 1) * stride
        else:
            high += (length - 1) * stride
    return low, high


def is_overlapping(array: Array) -> bool:
    """Return whether there is less memory behind an array than its entries would take."""
    return held_bytes(array) < array.nbytes


def held_bytes(array: Array) -> int:
    """Return the bytes of a copy of `array`."""
    return array.nbytes if array.flags.c_contiguous else layout_of(array).nbytes


def order_of(array: Array) -> list[int]:
    """Return the axes of an array by their strides in memory, the largest first."""
    strides = array.strides
    return sorted(range(array.ndim), key=lambda axis: -abs(strides[axis]))


def compact_strides(array: Array) -> tuple[int, ...] | None:
    """Return the strides of a copy without gaps; None if it is in C order."""
    order = order_of(array)
    if order == list(range(array.ndim)):
        return None
    return _strides_in(order, array.shape, array.itemsize)


def _strides_in(order: Sequence[int], shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides = [0] * len(shape)
    step = itemsize
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


class _Bytes:
    """The memory of an array, as NumPy's array interface gives it; keeps that array."""

    def __init__(self, array: Array) -> None:
        low, high = bounds(array.shape, array.strides, array.itemsize)
        start, readonly = array.__array_interface__["data"]
        self.array = array
        self.__array_interface__ = {
            "data": (start + low, readonly),
            "shape": (high - low,),
            "typestr": "|u1",
            "version": 3,
        }


def memory_of(array: Array) -> Array:
    """Return all bytes from the first to the last one of an array, gaps included; it must have entries."""
    return np.asarray(_Bytes(array))


def bytes_of(array: Array, layout: ArrayLayout) -> bytes:
    """Return the contents of a copy's memory."""
    if layout.strides is None:
        return array.tobytes()
    if layout.nbytes < array.nbytes:
        return memory_of(array).tobytes()
    return array.transpose(order_of(array)).tobytes()


def fill(copied: Array, array: Array) -> None:
    """Copy `array` into `copied`, which has its layout, and its dtype but for the order of bytes."""
    if is_overlapping(array):
        memory_of(copied)[...] = memory_of(array)
    elif array.dtype.names:
        copy_records(copied, array)
    else:
        np.copyto(copied, array)


def copy_records(copied: Array, array: Array) -> None:
    """Copy an array of records, each as its bytes: NumPy 2.4 takes seven times as long, as it copies field by field."""
    if copied.dtype != array.dtype:
        np.copyto(copied, array)
        return
    record = f"V{array.itemsize}"
    np.copyto(np.ndarray.view(copied, record), np.ndarray.view(array, record))


def copy(array: Array) -> Array:
    """Return a copy with the layout of `array`; one whose entries share memory is read-only."""
    if not is_overlapping(array):
        if not array.dtype.names or array.dtype.hasobject:
            return array.copy(order="K")
        copied = np.empty_like(array, subok=False)
        fill(copied, array)
        return copied
    copied = layout_of(array).view(array, memory_of(array).copy())
    copied.setflags(write=False)
    return copied


def is_like(array: Array, copied: Array) -> bool:
    """Return whether `copied` has the dtype, shape and layout of a copy of `array`; their bytes may differ."""
    if array.dtype != copied.dtype or array.shape != copied.shape:
        return False
    strides = layout_of(array).strides
    return copied.flags.c_contiguous if strides is None else copied.strides == strides
