"""The owner's side of addresses: the blocks of its arena that other processes may hold.

An anonymous block is reached through its owner's descriptor (``/proc/<pid>/fd/<n>``) and held by a lock on its range of
bytes, which the kernel ends with its holder. Before the owner uses a block again, it checks for such locks:

    owner     serial := 0,  any lock on the range?  yes: serial := as it was, the block stays; no: it is free
    importer  lock the range,  serial as in the address?  yes: the array is there; no: it came too late

Both go through system calls, so one of the two sees the other (SYNC POINT: export). A block of which a pickle has not
been received is kept as well. Each exported block has a cell of four words in a page of the arena:

    byte  word      contents                                       written by
    0     SERIAL    number of the export; 0: it can be opened no more    the owner
    8     SENT      pickles made of its address                    any process, under the cell's lock
    16    RECEIVED  pickles opened or given up, at most SENT       any process, under the cell's lock
    24              unused

A cell's lock is one on the byte CELL_LOCKS + cell of the segment's file: it ends with its holder, too.
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
CELL_BYTES: Final = 32  # a power of two: no cell crosses a page
CELL_LOCKS: Final = 1 << 60  # far behind the segment's end: the locks of cells are apart from those of blocks


class BlockAddress(NamedTuple):
    """The address of an anonymous block, for any process of this user on this machine."""

    pid: int  # of the owner
    fd: int  # the owner's descriptor of the segment
    device: int  # of the segment
    inode: int
    offset: int  # of the block in the segment, bytes
    extent: int  # bytes
    cell: int  # offset of its cell in the segment, bytes
    serial: int  # of the export: another one if the place is used for another block

    @property
    def file(self) -> FileId:
        """The identity of the segment."""
        return self.device, self.inode


class Cells:
    """The words of exported blocks, as one process sees them. The counts change under a lock that ends with its holder.

    Parameters
    ----------
    fd : int
        The segment, opened by this process alone.
    memory : mmap.mmap
        A mapping of the segment from the byte `start` on.
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
        # The kernel's lock is that of the open file, which all threads of this process use: among them it excludes
        # nobody.
        with self._lock:
            lock_range(self._fd, fcntl.F_WRLCK, CELL_LOCKS + cell, 1, wait=True)
            try:
                yield
            finally:
                lock_range(self._fd, fcntl.F_UNLCK, CELL_LOCKS + cell, 1)

    def begin(self, cell: int, serial: int) -> None:
        """Set a cell up for a block."""
        # Nobody has an address with this serial yet, so no lock is needed; one with an older serial is refused before
        # and after.
        for word, value in ((_SENT, 0), (_RECEIVED, 0), (_SERIAL, serial)):
            self[cell, word] = value

    def send(self, cell: int) -> None:
        """Count one more pickle that is on its way."""
        with self._alone(cell):
            self[cell, _SENT] += 1

    def receive(self, cell: int, serial: int, count: int = 1) -> bool:
        """Count `count` less. Return False, and count nothing, if the block is not there any more."""
        with self._alone(cell):
            # SYNC POINT: export (`Exports.is_held`). The caller has locked the block's range before this is read.
            if self[cell, _SERIAL] != serial:
                return False
            self[cell, _RECEIVED] = min(self[cell, _RECEIVED] + count, self[cell, _SENT])
            return True

    def on_their_way(self, cell: int) -> int:
        """Return the number of pickles of the block that have not been received."""
        return self[cell, _SENT] - self[cell, _RECEIVED]

    @contextmanager
    def withdrawn(self, cell: int) -> Iterator[int]:
        """Give the number of pickles that are on their way; afterwards nobody can receive them by this address."""
        with self._alone(cell):
            yield self.on_their_way(cell)
            self[cell, _SERIAL] = 0


class Exports:
    """The blocks of this process's arena that other processes may hold."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._pages: list[Anchor] = []
        self._free_cells: list[int] = []
        # From a random number on: the segment of another process may get the inode of one that is gone, and an old
        # address is not to fit it.
        self._serial = int.from_bytes(os.urandom(6), "little")
        self._addresses: dict[tuple[int, int], BlockAddress] = {}
        self._anchors: weakref.WeakValueDictionary[tuple[int, int], Anchor] = weakref.WeakValueDictionary()
        self._watched: set[tuple[int, int]] = set()  # blocks that workers may have private views of
        self._lock = threading.RLock()
        self._has_forked = False

    @cached_property
    def fd(self) -> int:
        """The segment, opened for locks. From the first use on, the arena asks `is_held` before it reuses a block."""
        self.arena.is_held = self.is_held
        return reopen(self.arena.segment.fd, os.O_RDWR)

    @cached_property
    def _cells(self) -> Cells:
        return Cells(self.fd, self.arena.segment.map, 0)

    def address(self, block: Anchor) -> BlockAddress:
        """Return the address of a live block, which is kept until the address was received."""
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
        # Outside of the lock: another process may have that of the cell for a moment. The caller's anchor keeps the
        # block until it is counted.
        self._cells.send(address.cell)
        return address

    def _make(self, place: tuple[int, int], cell: int) -> BlockAddress:
        fd = self.arena.segment.fd
        return BlockAddress(os.getpid(), fd, *id_of(os.fstat(fd)), *place, cell, self._serial)

    def _add_page(self) -> None:
        page = self.arena.reserve(mmap.PAGESIZE)
        self._pages.append(page)
        self._free_cells += range(page.offset, page.offset + mmap.PAGESIZE, CELL_BYTES)

    def watch(self, block: Anchor) -> None:
        """Keep a block from now on while another process has it locked, as for a private view of it."""
        if self.fd >= 0:  # opened here, at the latest
            self._watched.add((block.offset, block.extent_bytes))

    def received(self, address: BlockAddress, is_again: bool) -> Anchor | None:
        """Return the anchor of a block whose address has come back; None if this process has dropped the block.

        `is_again`: that has been counted.
        """
        found = self._anchors.get((address.offset, address.extent))
        if found is None or not self._is_current(address):
            return None
        self._cells.receive(address.cell, address.serial, not is_again)
        return found

    def _is_current(self, address: BlockAddress) -> bool:
        return self._addresses.get((address.offset, address.extent)) == address

    def is_awaited(self, address: BlockAddress) -> bool:
        """Return whether an address of this process's block was sent and not yet received."""
        return self._is_current(address) and self._cells.on_their_way(address.cell) > 0

    def write_off(self, address: BlockAddress) -> None:
        """Count a pickle of this block as received: it was lost."""
        if self._is_current(address):
            self._cells.receive(address.cell, address.serial)

    def awaited(self) -> list[BlockAddress]:
        """Return the addresses of all blocks that are on their way to other processes."""
        return [address for address in list(self._addresses.values()) if self.is_awaited(address)]

    def content(self, address: BlockAddress) -> memoryview:
        """Return the bytes of a block."""
        return memoryview(self.arena.segment.map)[address.offset : address.offset + address.extent]

    def withdrawn(self, address: BlockAddress) -> AbstractContextManager[int]:
        """Do as `Cells.withdrawn`."""
        return self._cells.withdrawn(address.cell)

    def is_held(self, offset: int, extent: int) -> bool:
        """Return whether another process still needs a block that this one has dropped; if not, forget it."""
        place = (offset, extent)
        address = self._addresses.get(place)
        if address is None:
            # SYNC POINT: private view (`private_view.private_copy`). Its maker has locked the block by now.
            if (self._has_forked or place in self._watched) and is_locked(self.fd, offset, extent):
                return True
            self._watched.discard(place)
            return False
        cell = address.cell
        if self._cells.on_their_way(cell) or is_locked(self.fd, offset, extent):
            return True
        self._cells[cell, _SERIAL] = 0
        # SYNC POINT: export (`Cells.receive`). Asked again behind the store: an importer that still saw the serial has
        # its lock by now; one that locks later sees the 0.
        if is_locked(self.fd, offset, extent):
            self._cells[cell, _SERIAL] = address.serial
            return True
        # Without `_lock`: the arena's lock is held here, and `_add_page` takes them the other way round. Nothing else
        # can reach this block, which has no anchor.
        del self._addresses[place]
        self._watched.discard(place)
        # Its serial is 0 until `begin` gives it another one, so an old address fits no later block.
        self._free_cells.append(cell)
        return False

    def hold_for_child(self) -> list[int]:
        """Before a fork: return descriptors that hold all live blocks while any process has them.

        The arena stands still until `go_on`: a block that another thread made meanwhile would be inherited unheld.
        """
        self.arena.lock.__enter__()
        live = self.arena.live_ranges()
        if not live:
            return []
        # From now on a child may hold blocks that have no address: `is_held` looks for locks on each.
        self._has_forked = True
        return [hold(self.fd, live)]

    def go_on(self) -> None:
        """Let the arena go on after a fork, in the parent."""
        self.arena.lock.__exit__()

    def close_in_child(self) -> None:
        """In a forked child, close the descriptor: its locks are the parent's, and end with it while this child lives.

        The arena stands still here for ever: an array that dies in the child has not died in the parent.
        """
        self.arena.is_held = None
        if "fd" in vars(self):
            os.close(self.fd)
