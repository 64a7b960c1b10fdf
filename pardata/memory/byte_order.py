"""Arrays in the byte order of the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np

from pardata.memory.layout import bounds, is_overlapping, memory_of, order_of

Array = np.ndarray[Any, Any]
NewArray = Callable[[tuple[int, ...], np.dtype[Any]], Array]

_keeping: dict[type, bool] = {}  # whether `astype` keeps all, by class


def native_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a dtype with the machine's order of bytes in all of its fields."""
    if dtype.names is None:  # also those that have no order, as StringDType
        return dtype if dtype.isnative else dtype.newbyteorder("=")
    return dtype.newbyteorder("=")  # NumPy's `isnative` does not look into fields that are arrays


def is_native(dtype: np.dtype[Any]) -> bool:
    """Return whether all of a dtype has the machine's order of bytes."""
    return bool(native_dtype(dtype) == dtype)


def native_array(array: Array, new: NewArray = np.empty) -> Array:
    """Return an array in the machine's order of bytes: itself if it has that, else a converted copy in its layout.

    A copy of an array of a subclass is of that subclass; one of a `numpy.memmap` is an ordinary array. `new` makes
    the copies of ordinary arrays, from shape and dtype.

    Raises
    ------
    ConversionError
        The subclass would lose what its arrays have besides their numbers.
    """
    dtype = native_dtype(array.dtype)
    if dtype == array.dtype:
        return array
    if not isinstance(array, np.memmap) and type(array) is not np.ndarray:
        return array.astype(dtype) if _astype_keeps_all(array) else _converted_state(array, dtype)
    if array.size and is_overlapping(array) and not any(stride % array.itemsize for stride in array.strides):
        low, _ = bounds(array.shape, array.strides, array.itemsize)
        memory = memory_of(array).view(array.dtype).astype(dtype)
        made: Array = np.ndarray(array.shape, dtype, memory, -low, array.strides)
        made.setflags(write=False)
        return made
    order = order_of(array)
    made = (np.empty if dtype.hasobject else new)(tuple(array.shape[axis] for axis in order), dtype)
    copied = made.transpose([order.index(axis) for axis in range(array.ndim)])
    np.copyto(copied, array)
    return copied


class ConversionError(TypeError):
    """An array of a subclass cannot be converted."""


def _astype_keeps_all(array: Array) -> bool:
    """Return whether `astype` keeps what arrays of this class have besides their numbers; tried out once per class.

    A table of astropy (FITS_rec) does not: its columns have other values then.
    """
    kind = type(array)
    if kind not in _keeping:
        sample = array[(slice(0, 1),) * array.ndim]
        _keeping[kind] = _pickled(sample.astype(native_dtype(array.dtype)).astype(array.dtype)) == _pickled(sample)
    return _keeping[kind]


def _pickled(array: Any) -> bytes | None:
    """Return an array as its own pickle; None if it has none."""
    try:
        return bytes(cloudpickle.dumps(array.astype(array.dtype), 5))
    except Exception:
        return None


def _converted_state(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return a copy as pickle would make it, with its numbers converted."""
    try:
        reduced: Any = array.__reduce__()
        make, arguments, (version, shape, old, is_fortran, data, *rest) = reduced
        assert old == array.dtype and len(data) == array.nbytes
        converted = np.frombuffer(data, old).astype(dtype).tobytes()
        made: Array = make(*arguments)
        made.__setstate__((version, shape, dtype, is_fortran, converted, *rest))
    except Exception as error:
        kind = f"{type(array).__module__}.{type(array).__qualname__}"
        raise ConversionError(
            f"native=True: a {kind} would lose what it has besides its numbers: give plain arrays, np.asarray(...)"
        ) from error
    return made
