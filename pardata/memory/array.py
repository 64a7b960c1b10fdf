"""Arrays over a block, and the anchor that keeps the block while any view of it lives."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike


class Drop(Protocol):
    """The receiver of an anchor's token when its last view has died: `append` never blocks and never raises."""

    def append(self, token: Any, /) -> None: ...


class Anchor(np.ndarray[Any, np.dtype[np.uint8]]):
    """The bytes of one block. Every view of the block has its anchor in its chain of bases.

    An anchor sits directly on the mapping: NumPy shortens a chain of bases only through arrays of the view's own
    type, so an anchor made by ``.view(Anchor)`` of an ndarray would be cut out of the chain and the block reused
    under a live view. When the last view dies the anchor dies, and its token is dropped.

    While the interpreter shuts down, modules lose their names before the last objects die, and no call made here would
    work. The memory goes with the process then. So this finalizer, like every other one of the package, first asks
    `sys.is_finalizing`, which is bound in its signature: that needs no name of a module.
    """

    __slots__ = (
        "claimed",
        "crowded",
        "drop",
        "extent_bytes",
        "given_away",
        "live_rows",
        "offset",
        "root",
        "shared",
        "token",
    )

    drop: Drop | None
    token: Any
    offset: int  # of the block in the segment, bytes
    extent_bytes: int  # that the block occupies there
    shared: bool  # another process may read the same bytes: never to be handed out writable
    given_away: bool  # one reader was allowed to write to it
    crowded: bool  # this process holds many that it has received
    claimed: bool  # the message that has brought it here is not finished, and refers to it
    live_rows: int  # leases that this process has given to others
    root: np.ndarray[Any, Any]  # of a block in which NumPy has made it: the block is NumPy's again without it

    def __array_finalize__(self, parent: object) -> None:
        # For a slice of an anchor, which keeps that as its base, and drops nothing itself; `anchor` sets its own.
        self.drop = None

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        drop = self.drop
        if drop is not None and not _is_over():
            drop.append(self.token)


def anchor(memory: mmap.mmap, offset: int, extent_bytes: int, drop: Drop | None, token: Any) -> Anchor:
    """Return an anchor over ``memory[offset:offset + extent_bytes]``; `token` is dropped when its last view dies."""
    made: Anchor = np.ndarray.__new__(Anchor, (extent_bytes,), np.uint8, memory, offset)
    made.offset = offset
    made.extent_bytes = extent_bytes
    made.shared = made.given_away = made.claimed = made.crowded = False
    made.live_rows = 0
    made.token = token
    # Last: `__del__` goes by it, and a signal may come between two lines.
    made.drop = drop
    return made


class NamedAnchor(np.ndarray[Any, np.dtype[np.uint8]]):
    """The bytes of a named block. Every array over the block has its anchor in its chain of bases."""

    __slots__ = ("name",)

    name: str


def named_anchor(name: str, buffer: memoryview) -> NamedAnchor:
    """Return an anchor over a named block's contents."""
    made: NamedAnchor = np.ndarray.__new__(NamedAnchor, (buffer.nbytes,), np.uint8, buffer)
    made.name = name
    return made


Adopt = Callable[[np.ndarray[Any, Any]], Anchor | None]
_adopt: Adopt | None = None


def set_adopt(adopt: Adopt | None) -> None:
    """Have `adopt` asked for the anchor of arrays without a base that own their memory: NumPy may have it from here."""
    global _adopt
    _adopt = adopt


def find_anchor(array: object) -> Anchor | None:
    """Return the anchor that keeps `array` alive, through views of any kind; None if it is not in a block."""
    if type(array) is np.ndarray and type(array.base) is Anchor and array.base.drop is not None:  # as most
        return array.base
    while array is not None:
        if type(array) is Anchor:
            return array if array.drop is not None else find_anchor(array.base)
        base = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
        if base is None and _adopt is not None and isinstance(array, np.ndarray) and array.flags.owndata:
            return _adopt(array)
        array = base
    return None


def is_adopted(block: Anchor | None) -> bool:
    """Return whether NumPy has made a block's array here, ``with pardata.in_shared_memory()``."""
    return block is not None and getattr(block, "root", None) is not None


def is_in(block: Anchor, memory: mmap.mmap) -> bool:
    """Return whether a block lies in this mapping."""
    base: object = block.base
    return base is memory


def find_named(array: object) -> NamedAnchor | None:
    """Return the anchor of the named block that `array` lies in, None if it does not."""
    while array is not None and not isinstance(array, memoryview):
        if type(array) is NamedAnchor:
            return array
        array = getattr(array, "base", None)
    return None


def view(base: Anchor, offset: int, dtype: DTypeLike, shape: tuple[int, ...], strides: tuple[int, ...] | None) -> Any:
    """Return an ndarray over the block, `offset` bytes behind the block's beginning."""
    return np.ndarray(shape, dtype, base, offset, strides)
