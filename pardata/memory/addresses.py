"""Addresses of SharedArrays, for processes that pardata did not start: workers of multiprocessing, joblib, ...

A named block is attached to by its name. An anonymous one is reached through its owner's descriptor
(``/proc/<pid>/fd/<n>``) and held by a lock on its range of bytes, which the kernel ends with its holder. Before the
owner uses a block again it looks whether somebody holds it:

    owner     serial := 0,  any lock on the range?  yes: serial := as it was, the block stays; no: it is free
    importer  lock the range,  serial as in the address?  yes: the array is there; no: it came too late

Both go through system calls, so one of the two sees the other (SYNC POINT: export). What has been pickled and not yet
been received is counted, and kept as well.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import weakref
from collections import Counter, deque
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.errors import StaleBlockError
from pardata.memory.arena import Arena
from pardata.memory.array import Anchor, NamedAnchor, anchor, find_anchor, find_named, named_anchor
from pardata.memory.block import SharedMemory

_SERIAL, _SENT, _RECEIVED = range(3)
_CELL_WORDS: Final = 4
_CELLS_PER_PAGE: Final = mmap.PAGESIZE // (8 * _CELL_WORDS)
_CELL_LOCKS: Final = 1 << 60  # far behind the segment's end: a cell's own lock is not that of its page
_FLOCK: Final = struct.Struct("hhqqi4x")


class Address(NamedTuple):
    """Where an anonymous block is, for any process of this user on this machine."""

    pid: int  # of the owner
    fd: int  # there
    inode: int
    window: tuple[int, int]  # the owner's part of the segment: offset, bytes
    offset: int  # of the block in the segment
    extent: int
    cell: int  # of its cell in the segment
    serial: int


def _lock_range(fd: int, kind: int, offset: int, nbytes: int, wait: bool = False) -> None:
    command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
    fcntl.fcntl(fd, command, _FLOCK.pack(kind, os.SEEK_SET, offset, nbytes, 0))


def _is_locked(fd: int, offset: int, nbytes: int) -> bool:
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, nbytes, 0)
    return bool(_FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)


def _reopen(pid: int, fd: int) -> int:
    """Open a process's descriptor anew: locks belong to an open file, which forked processes would share."""
    # Once the process is gone, the number may be another one's pipe or terminal: neither wait for it nor adopt it.
    return os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)


def _hold(fd: int, places: list[tuple[int, int]]) -> int:
    """Return another descriptor of the segment, which holds these ranges."""
    holder = _reopen(os.getpid(), fd)
    for place in places:
        _lock_range(holder, fcntl.F_RDLCK, *place)
    return holder


class _Cells:
    """The words of exported blocks, seen from one process."""

    def __init__(self, fd: int, memory: mmap.mmap, start: int) -> None:
        self._fd, self._start = fd, start
        self._words = memoryview(memory).cast("q")
        self._lock = threading.Lock()

    def __getitem__(self, place: tuple[int, int]) -> int:
        cell, word = place
        return int(self._words[(cell - self._start) // 8 + word])

    def __setitem__(self, place: tuple[int, int], value: int) -> None:
        cell, word = place
        self._words[(cell - self._start) // 8 + word] = value

    def count(self, cell: int, word: int) -> None:
        """Add one to SENT, or to RECEIVED up to SENT; any process may."""
        with self._lock:
            _lock_range(self._fd, fcntl.F_WRLCK, _CELL_LOCKS + cell, 1, wait=True)
            value = self[cell, word] + 1
            if word == _SENT or value <= self[cell, _SENT]:
                self[cell, word] = value
            _lock_range(self._fd, fcntl.F_UNLCK, _CELL_LOCKS + cell, 1)


class Exports:
    """The owner's side: which blocks of its arena other processes may hold."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._pages: list[Anchor] = []
        self._free_cells: list[int] = []
        self._serial = int.from_bytes(os.urandom(6), "little")
        self._addresses: dict[tuple[int, int], Address] = {}
        self._anchors: weakref.WeakValueDictionary[tuple[int, int], Anchor] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()
        self._has_forked = False

    @cached_property
    def fd(self) -> int:
        """The segment, opened for locks. From now on the arena asks before it uses a block again."""
        self.arena.is_held = self.is_held
        return _reopen(os.getpid(), self.arena.segment.fd)

    @cached_property
    def _cells(self) -> _Cells:
        return _Cells(self.fd, self.arena.segment.map, 0)

    def address(self, block: Anchor) -> Address:
        """Return the address of a live block; it is kept until somebody has received it."""
        place = (block.offset, block.extent_bytes)
        with self._lock:
            if place not in self._addresses:
                if not self._free_cells:
                    self._add_page()
                self._serial += 1
                address = self._make(place, self._free_cells.pop())
                for word, value in ((_SENT, 0), (_RECEIVED, 0), (_SERIAL, self._serial)):
                    self._cells[address.cell, word] = value
                self._addresses[place] = address
            self._anchors[place] = block
            address = self._addresses[place]
        self._cells.count(address.cell, _SENT)
        return address

    def _make(self, place: tuple[int, int], cell: int) -> Address:
        segment, span = self.arena.segment, self.arena.span
        inode = os.fstat(segment.fd).st_ino
        return Address(os.getpid(), segment.fd, inode, (span.offset, span.size_bytes), *place, cell, self._serial)

    def _add_page(self) -> None:
        page = self.arena.reserve(mmap.PAGESIZE)
        self._pages.append(page)
        self._free_cells += [page.offset + 8 * _CELL_WORDS * index for index in range(_CELLS_PER_PAGE)]

    def received(self, address: Address) -> Anchor | None:
        """Return the anchor of a block whose address has come back; None if this process has dropped the block."""
        found = self._anchors.get((address.offset, address.extent))
        if found is None or self._addresses.get((address.offset, address.extent)) != address:
            return None
        self._cells.count(address.cell, _RECEIVED)
        return found

    def is_awaited(self, address: Address) -> bool:
        """Whether one of the addresses sent of this block of ours has not been received."""
        if self._addresses.get((address.offset, address.extent)) != address:
            return False
        return self._cells[address.cell, _RECEIVED] < self._cells[address.cell, _SENT]

    def is_held(self, offset: int, extent: int) -> bool:
        """Whether a block that this process has dropped is still needed by another one; if not, it is forgotten."""
        address = self._addresses.get((offset, extent))
        if address is None:
            return self._has_forked and _is_locked(self.fd, offset, extent)
        cell = address.cell
        if self._cells[cell, _RECEIVED] < self._cells[cell, _SENT] or _is_locked(self.fd, offset, extent):
            return True
        self._cells[cell, _SERIAL] = 0
        if _is_locked(self.fd, offset, extent):  # SYNC POINT: export
            self._cells[cell, _SERIAL] = address.serial
            return True
        # Without our lock, as the arena's is held here, and `_add_page` takes them the other way round. Nobody else can
        # come to this block: it has no anchor.
        del self._addresses[offset, extent]
        self._free_cells.append(cell)
        return False

    def hold_for_child(self) -> list[int]:
        """Return descriptors that hold all live blocks as long as they are open in any process."""
        live = self.arena.live_ranges()
        if not live:
            return []
        self._has_forked = True
        return [_hold(self.fd, live)]


class _Import:
    """The importer's side: one segment of another process, open while its owner lives or a block of it is held."""

    def __init__(self, address: Address) -> None:
        self.fd = _open_segment(address)
        self._owner = address
        self._windows: dict[tuple[int, int], tuple[mmap.mmap, _Cells]] = {}
        self._leases: Counter[tuple[int, int]] = Counter()
        self._dropped: deque[Address] = deque()
        self._lock = threading.Lock()  # a finalizer that runs where it is held leaves its token for later
        self._pid = os.getpid()

    def open(self, address: Address) -> Anchor:
        """Return an anchor of the block. Raises `StaleBlockError` if its owner has used it for something else."""
        place = (address.offset, address.extent)
        with self._lock:
            self._collect()
            if self.fd < 0:
                raise _gone(address)
            memory, cells = self._window(address.window)
            if place not in self._leases:
                _lock_range(self.fd, fcntl.F_RDLCK, *place)
            self._leases[place] += 1
            if cells[address.cell, _SERIAL] != address.serial:  # SYNC POINT: export
                self._release(place)
                raise StaleBlockError(
                    f"the array of process {address.pid} was deleted there before it was opened here: keep it until "
                    "the other process has it"
                )
        self._drain()  # what was dropped meanwhile found the lock taken
        cells.count(address.cell, _RECEIVED)
        return anchor(memory, address.offset - address.window[0], address.extent, self, address)

    def _window(self, window: tuple[int, int]) -> tuple[mmap.mmap, _Cells]:
        if window not in self._windows:
            memory = mmap.mmap(self.fd, window[1], offset=window[0])
            self._windows[window] = memory, _Cells(self.fd, memory, window[0])
        return self._windows[window]

    def sent(self, address: Address) -> Address:
        """Count one more address that is on its way."""
        self._windows[address.window][1].count(address.cell, _SENT)
        return address

    def append(self, address: Address, /) -> None:
        """The last view of a block has died."""
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
            _lock_range(self.fd, fcntl.F_UNLCK, *place)
            self.close_if_unused()

    def close_if_unused(self) -> None:
        """Give the segment back if its owner is dead and no block of it is held: nobody can send its address again."""
        if not self._leases and not _is_open(self._owner):
            _imports.pop(self._owner.inode, None)
            fd, self.fd = self.fd, -1
            self._windows.clear()
            if fd >= 0:
                os.close(fd)

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that opened it, not one forked from that."""
        return os.getpid() == self._pid

    def hold_for_child(self) -> list[int]:
        """As `Exports.hold_for_child`."""
        return [_hold(self.fd, list(self._leases))] if self._leases else []


_lock = threading.RLock()
_exports: Exports | None = None  # of this process
_imports: dict[int, _Import] = {}  # by the segment's inode
_named: weakref.WeakValueDictionary[str, NamedAnchor] = weakref.WeakValueDictionary()
_fds_at_fork: list[int] = []


def set_exports(made: Exports) -> None:
    """Say what this process exports."""
    global _exports
    _exports = made


def name_anchor(block: SharedMemory) -> NamedAnchor:
    """Return an anchor of a named block that this process has created."""
    with _lock:
        made = _named[block.name] = named_anchor(block.name, block.buf)
        return made


def open_address(where: str | Address) -> Anchor | NamedAnchor:
    """Return an anchor of the block at an address.

    Raises
    ------
    FileNotFoundError
        A named block has been unlinked.
    StaleBlockError
        The owner of an anonymous block has ended, or has deleted it before it was opened here.
    """
    with _lock:
        if isinstance(where, str):
            known = _named.get(where)
            return known if known is not None else name_anchor(SharedMemory(where))
        address = Address(*where)
        own = _exports.received(address) if _exports is not None else None
        if own is not None:
            return own
        if address.inode not in _imports:
            forget_the_gone()
            _imports[address.inode] = _Import(address)
        return _imports[address.inode].open(address)


def forget_the_gone() -> None:
    """Give the segments of all processes back that have ended, as far as nothing of them is held here."""
    with _lock:
        for segment in list(_imports.values()):
            segment.close_if_unused()


def _gone(address: Address) -> StaleBlockError:
    return StaleBlockError(f"process {address.pid}, in whose memory this array was, is gone")


def _is_open(address: Address) -> bool:
    """Whether the owner of a segment lives."""
    try:
        return os.stat(f"/proc/{address.pid}/fd/{address.fd}").st_ino == address.inode
    except OSError:
        return False


def _open_segment(address: Address) -> int:
    try:
        fd = _reopen(address.pid, address.fd)
    except (FileNotFoundError, ProcessLookupError):
        raise _gone(address) from None
    if os.fstat(fd).st_ino != address.inode:
        os.close(fd)
        raise _gone(address)
    return fd


def address_of(array: np.ndarray[Any, Any]) -> tuple[Anchor | NamedAnchor, str | Address] | None:
    """Return the block that `array` is in, and its address, which is on its way from now on; None if it has none."""
    named = find_named(array)
    if named is not None:
        return named, named.name
    block = find_anchor(array)
    if block is None:
        return None
    if isinstance(block.drop, _Import):
        return (block, block.drop.sent(block.token)) if block.drop.is_ours else None
    if _exports is None or block.drop is not _exports.arena.dropped:
        return None  # in a forked child, or a result of a run
    return block, _exports.address(block)


def is_awaited(address: Address) -> bool:
    """Whether a block of this process is on its way to another one, which needs this process until it has it."""
    return _exports is not None and _exports.is_awaited(address)


def _before_fork() -> None:
    """Hold for the child what this process holds now: it inherits views, which nobody would know of."""
    _lock.acquire()
    if _exports is not None:
        _fds_at_fork.extend(_exports.hold_for_child())
    for segment in list(_imports.values()):
        _fds_at_fork.extend(segment.hold_for_child())


def _after_fork_in_parent() -> None:
    while _fds_at_fork:
        os.close(_fds_at_fork.pop())
    _lock.release()


def _after_fork_in_child() -> None:
    global _lock, _exports
    _lock, _exports = threading.RLock(), None
    for segment in _imports.values():
        os.close(segment.fd)
    _imports.clear()
    _fds_at_fork.clear()  # they stay open: the kernel ends the locks with this process


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
