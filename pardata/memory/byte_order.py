"""Arrays in the byte order of the machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from pardata.memory.layout import bounds, is_overlapping, memory_of

Array = np.ndarray[Any, Any]


def native_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a dtype with the machine's order of bytes in all of its fields."""
    if dtype.names is None:  # also those that have no order, as StringDType
        return dtype if dtype.isnative else dtype.newbyteorder("=")
    return dtype.newbyteorder("=")  # NumPy's `isnative` does not look into fields that are arrays


def is_native(dtype: np.dtype[Any]) -> bool:
    """Return whether all of a dtype has the machine's order of bytes."""
    return bool(native_dtype(dtype) == dtype)


def native_array(array: Array) -> Array:
    """Return an array in the machine's order of bytes: itself if it has that, else a converted copy in its layout.

    A copy of an array of a subclass is of that subclass; one of a `numpy.memmap` is an ordinary array.
    """
    dtype = native_dtype(array.dtype)
    if dtype == array.dtype:
        return array
    if not isinstance(array, np.memmap) and type(array) is not np.ndarray:
        return array.astype(dtype)
    if array.size and is_overlapping(array) and not any(stride % array.itemsize for stride in array.strides):
        low, _ = bounds(array.shape, array.strides, array.itemsize)
        memory = memory_of(array).view(array.dtype).astype(dtype)
        made: Array = np.ndarray(array.shape, dtype, memory, -low, array.strides)
        made.setflags(write=False)
        return made
    return array.astype(dtype, order="K", subok=False)
