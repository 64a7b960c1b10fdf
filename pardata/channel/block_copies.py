"""Copies of arrays in blocks: one with its layout, or several of one layout beside each other."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pardata.memory.array import Anchor, view
from pardata.memory.gaps import align
from pardata.memory.layout import copy_records, fill, layout_of

ROW_ALIGNMENT: Final = 64  # of each array in a block, in bytes: a cache line
_LARGEST_CLASS: Final = 1 << 20  # bytes; a larger block, rounded up to a power of two, could waste as much again

Array = np.ndarray[Any, Any]


def packed_bytes(nbytes: int) -> int:
    """Return the size of a block for several arrays: one of a few, so that free ones are used again."""
    return 1 << (nbytes - 1).bit_length() if nbytes <= _LARGEST_CLASS else nbytes


def copied(dtype: np.dtype[Any], array: Array, block: Anchor, begin: int) -> tuple[Anchor, int, Array]:
    """Copy an array into a block, from `begin` on; return the block, where in it the copy begins, and the copy.

    `dtype` differs from the array's own in the order of bytes at the most.
    """
    if not array.flags.c_contiguous:
        layout = layout_of(array)
        if layout.nbytes < array.nbytes:  # entries share memory, which is copied
            dtype = array.dtype
        made = view(block, begin + layout.offset, dtype, array.shape, layout.strides)
        fill(made, array)
        return block, begin + layout.offset, made
    made = view(block, begin, dtype, array.shape, None)
    if dtype.names:
        copy_records(made, array)
    else:
        np.copyto(made, array)
    return block, begin, made


def copied_rows(dtype: np.dtype[Any], arrays: list[Array], block: Anchor) -> Array:
    """Copy arrays of one layout, in C order, beside each other into a block; return them as the rows of one array.

    `dtype` differs from the arrays' own, which has no fields, in the order of bytes at the most.
    """
    first = arrays[0]
    strides = (align(first.nbytes, ROW_ALIGNMENT), *first.strides)
    rows: Array = view(block, 0, dtype, (len(arrays), *first.shape), strides)
    for index, array in enumerate(arrays):
        rows[index] = array
    return rows
