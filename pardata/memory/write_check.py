"""``PARDATA_CHECK=1``: a worker maps what it has received read-only, so that code that writes there faults at its line.

NumPy refuses to write to a read-only array; native code that ignores the flag does not, and changes what others read.
Whole pages are protected, within each array that was sent by another process. What this process may write to is opened
again first: memory that was protected may have become the sender's output meanwhile.
"""

from __future__ import annotations

import faulthandler
import mmap
from typing import Any, Final

import numpy as np

from pardata.memory.data_pointer import data_pointer
from pardata.memory.layout import bounds
from pardata.memory.mapping import protect
from pardata.process.environment import checks_writes

Array = np.ndarray[Any, Any]

_PAGE: Final = mmap.PAGESIZE
_STDERR: Final = 2


class _Watched:
    """The addresses of other processes' memory in this one."""

    def __init__(self) -> None:
        self.segment = range(0)
        self.own = range(0)

    def pages(self, array: Array) -> range:
        """Return the addresses of the whole pages within an array of another process; empty if it is none."""
        if not array.size:
            return range(0)
        start = data_pointer(array)
        low, high = (start + end for end in bounds(array.shape, array.strides, array.itemsize))
        if low not in self.segment or low in self.own:
            return range(0)
        return range(-(-low // _PAGE) * _PAGE, high // _PAGE * _PAGE)


_watched: Final = _Watched()


def begin(memory: mmap.mmap, own_offset: int, own_bytes: int) -> None:
    """Check this process from now on, a worker, if the user has asked for it; a fault prints the stacks of its threads.

    Parameters
    ----------
    memory : mmap.mmap
        The segment.
    own_offset, own_bytes : int
        The part of it that this process writes to.
    """
    if checks_writes():
        base = data_pointer(np.frombuffer(memory, np.uint8, 1))
        _watched.segment = range(base, base + len(memory))
        _watched.own = range(base + own_offset, base + own_offset + own_bytes)
        faulthandler.enable(_STDERR)


def note_read_only(array: Array) -> None:
    """Take in that this process must not write to an array."""
    if _watched.segment and (pages := _watched.pages(array)):
        protect(pages.start, len(pages), True)


def note_writable(array: Array) -> None:
    """Take in that this process may write to an array."""
    if _watched.segment and (pages := _watched.pages(array)):
        protect(pages.start, len(pages), False)
