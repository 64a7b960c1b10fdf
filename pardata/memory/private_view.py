"""Private views of blocks that nobody writes to: writable, and their pages are shared until somebody writes to them.

A page is copied by the kernel at the first write to it, for the process that writes. The block must stay as it is while
such a view lives, also in children that this process forks and in whatever becomes of it: it is held by a lock on its
range of bytes, of an open file that only the mapping refers to. So the kernel ends the lock with the last mapping.
"""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np

from pardata.errors import CapacityError
from pardata.memory.array import Anchor
from pardata.memory.data_pointer import data_pointer
from pardata.memory.exchange.range_locks import hold
from pardata.memory.mapping import advise, map_untracked
from pardata.memory.segment import HUGE_PAGE_BYTES, PAGE_BYTES, Segment

Array = np.ndarray[Any, Any]

# To map and to read it costs as much as a copy; below this size the system calls are a good part of that.
LEAST_BYTES: Final = 1 << 20


def private_copy(segment: Segment | None, block: Anchor, array: Array) -> Array:
    """Return a writable array with the contents of `array`, which lies in `block` without gaps, of a `segment`.

    It is a copy if it is small, or the block lies in no segment.

    The caller has the block until this returns, and nobody writes to it.

    SYNC POINT: private view (`Exports.is_held`). The lock is taken while the owner of the block keeps it for this
    process; the owner looks for locks when it has let go.
    """
    if segment is None or array.nbytes < LEAST_BYTES:
        return array.copy(order="K")
    start = block.offset + data_pointer(array) - data_pointer(block)
    lead = start % PAGE_BYTES
    try:
        fd = hold(segment.fd, [(block.offset, block.extent_bytes)])
        try:
            memory = map_untracked(fd, lead + array.nbytes, start - lead, is_private=True)
        finally:
            os.close(fd)  # the mapping keeps the open file, and so the lock
    except (OSError, CapacityError):  # no descriptors, addresses or mappings are left
        return array.copy(order="K")
    if array.nbytes >= HUGE_PAGE_BYTES:
        advise(memory, "MADV_HUGEPAGE")
    return np.ndarray(array.shape, array.dtype, memory, lead, array.strides)
