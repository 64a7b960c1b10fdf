"""The address of an array's first entry: NumPy tells it in microseconds, as a part of a description of the whole array.

The object of an array begins with what every Python object has, and the address stands behind it: `ndarray` is a struct
that compiled modules read, so it does not change (`PyArrayObject_fields` in NumPy's headers). How long the beginning is
depends on the build of Python, and is measured on the interpreter that runs, on arrays of several kinds. If that fails,
NumPy is asked.
"""

from __future__ import annotations

from ctypes import c_size_t
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]

_HEADS: Final = (16, 32)  # bytes of an object's head: with the interpreter's lock, and without it
_read: Final = c_size_t.from_address


def _asked(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def _measure() -> int | None:
    """Return how far behind the beginning of its object the address of an array stands; None: that is not known."""
    whole = np.arange(12.0).reshape(3, 4)
    probes = [whole, whole[1:, 2:], whole[::-1], whole.view(np.recarray), np.empty(0), np.empty((), "u1"), np.arange(5)]
    for head in _HEADS:
        if object.__basicsize__ <= head and all(_read(id(array) + head).value == _asked(array) for array in probes):
            return head
    return None


_head: Final = _measure()


def data_pointer(array: Array) -> int:
    """Return the address of the first entry of an array, in this process."""
    return _asked(array) if _head is None else _read(id(array) + _head).value
