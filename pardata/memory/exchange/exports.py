"""The owner's side of addresses: which blocks of its arena other processes may hold.

An anonymous block is reached through its owner's descriptor (``/proc/<pid>/fd/<n>``) and held by a lock on its range of
bytes, which the kernel ends with its holder. Before the owner uses a block again it looks whether somebody holds it:

    owner     serial := 0,  any lock on the range?  yes: serial := as it was, the block stays; no: it is free
    importer  lock the range,  serial as in the address?  yes: the array is there; no: it came too late

Both go through system calls, so one of the two sees the other (SYNC POINT: export). What has been pickled and not yet
been received is counted, and kept as well.
"""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, Final, NamedTuple

from pardata.memory.arena import Arena
from pardata.memory.array import Anchor
from pardata.memory.exchange.range_locks import hold, is_locked, lock_range, reopen
from pardata.memory.named.guardian import FileId, id_of
from pardata.process.system import module

fcntl: Any = module("fcntl")

_SERIAL, _SENT, _RECEIVED = range(3)
CELL_BYTES: Final = 32  # three words and one that is free: a cell does not cross a page
CELL_LOCKS: Final = 1 << 60  # far behind the segment's end: a cell's own lock is not that of its page


class BlockAddress(NamedTuple):
    """Where an anonymous block is, for any process of this user on this machine."""

    pid: int  # of the owner
    fd: int  # there
    device: int
    inode: int
    offset: int  # of the block in the segment
    extent: int
    cell: int  # of its cell in the segment
    serial: int

    @property
    def file(self) -> FileId:
        """Of the segment."""
        return self.device, self.inode


class Cells:
    """The words of exported blocks, seen from one process. They change under a lock that ends with its holder.

    Parameters
    ----------
    fd : int
        The segment, opened by this process alone.
    memory : mmap.mmap
        Of the segment, from the byte `start` on.
    """

    def __init__(self, fd: int, memory: mmap.mmap, start: int) -> None:
        self._fd, self._start = fd, start
        self._words = memoryview(memory).cast("q")
        self._lock = threading.RLock()

    def __getitem__(self, place: tuple[int, int]) -> int:
        cell, word = place
        return int(self._words[(cell - self._start) // 8 + word])

    def __setitem__(self, place: tuple[int, int], value: int) -> None:
        cell, word = place
        self._words[(cell - self._start) // 8 + word] = value

    @contextmanager
    def _alone(self, cell: int) -> Iterator[None]:
        with self._lock:
            lock_range(self._fd, fcntl.F_WRLCK, CELL_LOCKS + cell, 1, wait=True)
            try:
                yield
            finally:
                lock_range(self._fd, fcntl.F_UNLCK, CELL_LOCKS + cell, 1)

    def begin(self, cell: int, serial: int) -> None:
        """Set a cell up for a block."""
        for word, value in ((_SENT, 0), (_RECEIVED, 0), (_SERIAL, serial)):
            self[cell, word] = value

    def send(self, cell: int) -> None:
        """Count one more pickle that is on its way."""
        with self._alone(cell):
            self[cell, _SENT] += 1

    def receive(self, cell: int, serial: int) -> bool:
        """Count one less. Return False, and count nothing, if the block is not there any more."""
        with self._alone(cell):
            if self[cell, _SERIAL] != serial:  # SYNC POINT: export
                return False
            self[cell, _RECEIVED] = min(self[cell, _RECEIVED] + 1, self[cell, _SENT])
            return True

    def on_their_way(self, cell: int) -> int:
        """Return how many pickles of the block have not been received."""
        return self[cell, _SENT] - self[cell, _RECEIVED]

    @contextmanager
    def withdrawn(self, cell: int) -> Iterator[int]:
        """Give how many pickles are on their way; at the end of the block, nobody can receive them any more."""
        with self._alone(cell):
            yield self.on_their_way(cell)
            self[cell, _SERIAL] = 0


class Exports:
    """The owner's side: which blocks of its arena other processes may hold."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._pages: list[Anchor] = []
        self._free_cells: list[int] = []
        self._serial = int.from_bytes(os.urandom(6), "little")
        self._addresses: dict[tuple[int, int], BlockAddress] = {}
        self._anchors: weakref.WeakValueDictionary[tuple[int, int], Anchor] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()
        self._has_forked = False

    @cached_property
    def fd(self) -> int:
        """The segment, opened for locks. From now on the arena asks before it uses a block again."""
        self.arena.is_held = self.is_held
        return reopen(self.arena.segment.fd, os.O_RDWR)

    @cached_property
    def _cells(self) -> Cells:
        return Cells(self.fd, self.arena.segment.map, 0)

    def address(self, block: Anchor) -> BlockAddress:
        """Return the address of a live block; it is kept until somebody has received it."""
        place = (block.offset, block.extent_bytes)
        with self._lock:
            if place not in self._addresses:
                if not self._free_cells:
                    self._add_page()
                self._serial += 1
                address = self._make(place, self._free_cells.pop())
                self._cells.begin(address.cell, address.serial)
                self._addresses[place] = address
            self._anchors[place] = block
            address = self._addresses[place]
        self._cells.send(address.cell)
        return address

    def _make(self, place: tuple[int, int], cell: int) -> BlockAddress:
        fd = self.arena.segment.fd
        return BlockAddress(os.getpid(), fd, *id_of(os.fstat(fd)), *place, cell, self._serial)

    def _add_page(self) -> None:
        page = self.arena.reserve(mmap.PAGESIZE)
        self._pages.append(page)
        self._free_cells += range(page.offset, page.offset + mmap.PAGESIZE, CELL_BYTES)

    def received(self, address: BlockAddress) -> Anchor | None:
        """Return the anchor of a block whose address has come back; None if this process has dropped the block."""
        found = self._anchors.get((address.offset, address.extent))
        if found is None or not self._is_current(address):
            return None
        self._cells.receive(address.cell, address.serial)
        return found

    def _is_current(self, address: BlockAddress) -> bool:
        return self._addresses.get((address.offset, address.extent)) == address

    def is_awaited(self, address: BlockAddress) -> bool:
        """Whether one of the addresses sent of this block of ours has not been received."""
        return self._is_current(address) and self._cells.on_their_way(address.cell) > 0

    def give_up(self, address: BlockAddress) -> None:
        """Take one pickle of this block as received: nobody can."""
        if self._is_current(address):
            self._cells.receive(address.cell, address.serial)

    def awaited(self) -> list[BlockAddress]:
        """Return the addresses of all blocks that are on their way."""
        return [address for address in list(self._addresses.values()) if self.is_awaited(address)]

    def content(self, address: BlockAddress) -> memoryview:
        """Return the bytes of a block."""
        return memoryview(self.arena.segment.map)[address.offset : address.offset + address.extent]

    def withdrawn(self, address: BlockAddress) -> AbstractContextManager[int]:
        """As `Cells.withdrawn`."""
        return self._cells.withdrawn(address.cell)

    def is_held(self, offset: int, extent: int) -> bool:
        """Whether a block that this process has dropped is still needed by another one; if not, it is forgotten."""
        address = self._addresses.get((offset, extent))
        if address is None:
            return self._has_forked and is_locked(self.fd, offset, extent)
        cell = address.cell
        if self._cells.on_their_way(cell) or is_locked(self.fd, offset, extent):
            return True
        self._cells[cell, _SERIAL] = 0
        if is_locked(self.fd, offset, extent):  # SYNC POINT: export
            self._cells[cell, _SERIAL] = address.serial
            return True
        # Without our lock, as the arena's is held here, and `_add_page` takes them the other way round. Nobody else can
        # come to this block: it has no anchor.
        del self._addresses[offset, extent]
        self._free_cells.append(cell)
        return False

    def hold_for_child(self) -> list[int]:
        """Before a fork: return descriptors that hold all live blocks while any process has them.

        The arena stands still until `go_on`: what another thread made meanwhile would be inherited without being held.
        """
        self.arena.lock.__enter__()
        live = self.arena.live_ranges()
        if not live:
            return []
        self._has_forked = True
        return [hold(self.fd, live)]

    def go_on(self) -> None:
        """After a fork, in the parent."""
        self.arena.lock.__exit__()

    def close_in_child(self) -> None:
        """In a forked child: the locks on cells are the parent's, and are to end with it also while this child lives.

        The arena stands still here for ever: what dies in the child has not died in the parent.
        """
        self.arena.is_held = None
        if "fd" in vars(self):
            os.close(self.fd)
