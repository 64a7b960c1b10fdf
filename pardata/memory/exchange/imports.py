"""The importer's side of addresses: blocks of another process's segment. See `exports.py`."""

from __future__ import annotations

import mmap
import os
import threading
from collections import Counter, deque
from typing import Any, Final

from pardata.errors import StaleBlockError
from pardata.memory.array import Anchor, anchor
from pardata.memory.exchange.exports import CELL_BYTES, BlockAddress, Cells
from pardata.memory.exchange.range_locks import hold, lock_range, reopen
from pardata.memory.named.guardian import id_of
from pardata.memory.named.os_objects import map_block
from pardata.process.system import module

fcntl: Any = module("fcntl")

_WINDOW_BYTES: Final = 1 << 30  # mapped at once: address space is 128 TiB, and every process has arrays


class ImportedSegment:
    """One segment of another process, open while its owner lives; anchors of its blocks call `append`.

    Raises
    ------
    StaleBlockError
        The owner has ended.
    """

    def __init__(self, address: BlockAddress) -> None:
        self.fd = _open_segment(address)
        self._owner = address
        self._windows: dict[tuple[int, int], tuple[mmap.mmap, Cells]] = {}
        self._leases: Counter[tuple[int, int]] = Counter()
        self._dropped: deque[BlockAddress] = deque()
        self._lock = threading.Lock()  # a finalizer that runs where it is held leaves its token for later
        self._pid = os.getpid()

    def open(self, address: BlockAddress, is_again: bool = False) -> Anchor:
        """Return an anchor of the block, which is locked while any anchor of it lives here.

        `is_again`: that the address has come was counted before.

        SYNC POINT: export (`Exports.is_held`). The range is locked first, then the serial is compared.

        Raises
        ------
        StaleBlockError
            Its owner has used it for something else, or has handed it over.
        """
        place = (address.offset, address.extent)
        with self._lock:
            self._collect()
            if self.fd < 0:
                raise gone(address)
            start, memory, _ = self._window(*place)
            cells = self._window(address.cell, CELL_BYTES)[2]
            # Once for all anchors here: locks of one open file do not add up, and the first unlock would end all of
            # them.
            if place not in self._leases:
                lock_range(self.fd, fcntl.F_RDLCK, *place)
            self._leases[place] += 1
            is_there = cells.receive(address.cell, address.serial, not is_again)
            if not is_there:
                self._release(place)
        self._drain()  # finalizers that came meanwhile found the lock taken
        if not is_there:
            raise StaleBlockError(
                f"the array of process {address.pid} was deleted there before it was opened here: keep it until "
                "the other process has it"
            )
        return anchor(memory, address.offset - start, address.extent, self, address)

    def _window(self, offset: int, nbytes: int) -> tuple[int, mmap.mmap, Cells]:
        """Return the part of the segment in which this range lies: its beginning, its mapping and its cells."""
        start = offset // _WINDOW_BYTES * _WINDOW_BYTES
        size = -(-(offset + nbytes - start) // _WINDOW_BYTES) * _WINDOW_BYTES
        if (start, size) not in self._windows:
            memory = map_block(self.fd, size, start)
            self._windows[start, size] = memory, Cells(self.fd, memory, start)
        return start, *self._windows[start, size]

    def sent(self, address: BlockAddress) -> bool:
        """Count one more address that is on its way; False if the owner has ended, and nobody could open it."""
        with self._lock:
            self._close_if_gone()
            if self.fd >= 0:
                self._window(address.cell, CELL_BYTES)[2].send(address.cell)
        self._drain()
        return self.fd >= 0

    def append(self, address: BlockAddress, /) -> None:
        """Release one lease of a block, whose last view of one anchor has died."""
        if not self.is_ours:
            return  # the lock is the parent's
        self._dropped.append(address)
        self._drain()

    def _drain(self) -> None:
        while self._dropped and self._lock.acquire(blocking=False):
            try:
                self._collect()
            finally:
                self._lock.release()

    def _collect(self) -> None:
        while self._dropped:
            address = self._dropped.popleft()
            self._release((address.offset, address.extent))

    def _release(self, place: tuple[int, int]) -> None:
        self._leases[place] -= 1
        if not self._leases[place]:
            del self._leases[place]
            if self.fd >= 0:
                lock_range(self.fd, fcntl.F_UNLCK, *place)
                # The owner may have ended, and nothing here needs its segment any more.
                if not self._leases:
                    self._close_if_gone()

    def _close_if_gone(self) -> None:
        if self.fd >= 0 and not _is_open(self._owner):
            fd, self.fd = self.fd, -1
            self._windows.clear()
            os.close(fd)

    def close_if_gone(self) -> bool:
        """Close the descriptor if the owner has ended; return whether it is closed.

        Its memory is used for nothing else any more: blocks that are held here need no lock, and stay mapped.
        """
        with self._lock:
            self._close_if_gone()
        self._drain()
        return self.fd < 0

    @property
    def is_ours(self) -> bool:
        """Return whether this is the process that opened it, not one forked from that."""
        return os.getpid() == self._pid

    def hold_for_child(self) -> list[int]:
        """Before a fork, return descriptors that hold the blocks held here while any process has them."""
        with self._lock:
            self._collect()
            return [hold(self.fd, list(self._leases))] if self._leases and self.fd >= 0 else []

    def close_in_child(self) -> None:
        """In a forked child, close the descriptor: its locks are the parent's."""
        if self.fd >= 0:
            os.close(self.fd)


def gone(address: BlockAddress) -> StaleBlockError:
    """Return the error for a block whose owner has ended."""
    return StaleBlockError(f"process {address.pid}, in whose memory this array was, is gone")


def _is_open(address: BlockAddress) -> bool:
    """Return whether the owner of a segment lives."""
    try:
        return id_of(os.stat(f"/proc/{address.pid}/fd/{address.fd}")) == address.file
    except OSError:
        return False


def _open_segment(address: BlockAddress) -> int:
    try:
        fd = reopen(address.fd, os.O_RDWR, address.pid)
    except (FileNotFoundError, ProcessLookupError):
        raise gone(address) from None
    # The process may have ended meanwhile, and its id, or the number of the descriptor, may be another's.
    if id_of(os.fstat(fd)) != address.file:
        os.close(fd)
        raise gone(address)
    return fd
