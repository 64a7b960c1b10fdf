"""Addresses of SharedArrays, for processes that pardata did not start: workers of multiprocessing, joblib, ...

A named block is attached to by its name. An anonymous one is reached and held as `exports.py` (the owner's side) and
`imports.py` describe. A block that is still on its way when its owner ends is handed over: copied into a named block of
the session, from which each receiver takes its array. That block, in bytes:

    0         the contents, `extent` bytes                       written by the owner, before the name
    extent    q left: the pickles that are still on their way    written by the holder of the file's flock
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import weakref
from collections.abc import Iterator
from multiprocessing import util
from typing import Any, Final

import numpy as np

from pardata.errors import StaleBlockError
from pardata.memory.array import Anchor, NamedAnchor, find_anchor, find_named, named_anchor
from pardata.memory.exchange.exports import BlockAddress, Exports
from pardata.memory.exchange.imports import ImportedSegment
from pardata.memory.named import os_objects, session
from pardata.memory.named.block import SharedMemory
from pardata.memory.named.guardian import FileId, id_of
from pardata.process.system import at_fork, module

fcntl: Any = module("fcntl")

_LEFT: Final = struct.Struct("q")

_lock = threading.RLock()
_exports: Exports | None = None  # of this process
_imports: dict[FileId, ImportedSegment] = {}  # by the segment
_named: weakref.WeakValueDictionary[str, NamedAnchor] = weakref.WeakValueDictionary()
_fds_at_fork: list[int] = []


class _OpenedHere(threading.local):
    """Of a thread: how many addresses it has opened, and how many of the next ones it had opened before."""

    opened = again = 0

    def is_again(self) -> bool:
        """Note that an address is opened; return whether it counts as received already."""
        self.opened += 1
        self.again, is_again = max(0, self.again - 1), self.again > 0
        return is_again


_here = _OpenedHere()


def opened_addresses() -> int:
    """Return how many addresses this thread has opened."""
    return _here.opened


@contextlib.contextmanager
def opened_again(count: int) -> Iterator[None]:
    """Have the next addresses that this thread opens, so many, not count as received: a pickle is loaded again."""
    _here.again = count
    try:
        yield
    finally:
        _here.again = 0


def set_exports(made: Exports) -> None:
    """Set the exports of this process."""
    global _exports
    with _lock:
        _exports = made
    util.Finalize(None, _hand_over_all, exitpriority=-6)  # when queues (-5) have waited for their readers


def name_anchor(block: SharedMemory) -> NamedAnchor:
    """Return an anchor of a named block that this process has created."""
    with _lock:
        made = _named[block.name] = named_anchor(block.name, block.buf)
        return made


def open_address(where: str | BlockAddress) -> Anchor | NamedAnchor:
    """Return an anchor of the block at an address.

    Raises
    ------
    FileNotFoundError
        A named block has been unlinked.
    StaleBlockError
        The owner of an anonymous block was killed, or has deleted it before it was opened here.
    """
    is_again = _here.is_again()
    with _lock:
        if isinstance(where, str):
            known = _named.get(where)
            return known if known is not None else name_anchor(SharedMemory(where))
        address = BlockAddress(*where)
        own = _exports.received(address, is_again) if _exports is not None else None
        if own is not None:
            return own
        try:
            if address.file not in _imports:
                forget_the_gone()
                _imports[address.file] = ImportedSegment(address)
            return _imports[address.file].open(address, is_again)
        except StaleBlockError:
            handed_over = _take(address, is_again)
            if handed_over is None:
                raise
            return handed_over


def forget_the_gone() -> None:
    """Let go of the segments of all processes that have ended; blocks of them that are held here stay mapped."""
    with _lock:
        for file, segment in list(_imports.items()):
            if segment.close_if_gone():
                del _imports[file]


def send_address(array: np.ndarray[Any, Any]) -> tuple[Anchor | NamedAnchor, str | BlockAddress] | None:
    """Return the block that `array` is in, and its address, which is on its way from now on; None if it has none."""
    named = find_named(array)
    if named is not None:
        return (named, named.name) if named.name else None
    block = find_anchor(array)
    if block is None:
        return None
    if isinstance(block.drop, ImportedSegment):
        return (block, block.token) if block.drop.is_ours and block.drop.sent(block.token) else None
    if _exports is None or block.drop is not _exports.arena.dropped:
        return None  # in a forked child, or a result of a run
    return block, _exports.address(block)


def watch(block: Anchor) -> None:
    """Keep a block of this process after its last view, as long as another process has it locked."""
    if _exports is not None and block.drop is _exports.arena.dropped:
        _exports.watch(block)


def is_awaited(address: BlockAddress) -> bool:
    """Return whether a block of this process is on its way to another one, which needs this process meanwhile."""
    return _exports is not None and _exports.is_awaited(address)


def write_off(address: BlockAddress) -> None:
    """Count a pickle with this address, of a block of this process, as received: it was lost."""
    if _exports is not None:
        _exports.write_off(address)


# -- the end of an owner -----------------------------------------------------------------------------------------------


def _hand_over_all() -> None:
    """At the end of this process, give the blocks that are on their way to the session, for those who receive them.

    A worker that returns an array and ends, as a replaced worker of a pool does, may be faster than the receiver.
    """
    # One that is received meanwhile has no pickles left below, and gets no name.
    awaited = _exports.awaited() if _exports is not None else []
    for address in awaited:
        with contextlib.suppress(OSError):  # no room: it is lost, and its receiver gets an error
            if session.is_joined():  # at root's end all is over
                _hand_over(address)


def _hand_over(address: BlockAddress) -> None:
    assert _exports is not None
    name, nbytes, owner = _name_of(address), address.extent + _LEFT.size, session.tree()
    owner.watch()
    fd = os_objects.create_nameless()
    slot = owner.note(name, id_of(os.fstat(fd)), nbytes, 0)
    try:
        # Where there is no room this is an error; a write to the mapping would be a SIGBUS.
        os.posix_fallocate(fd, 0, nbytes)
        memory = memoryview(os_objects.map_block(fd, nbytes))
        memory[: address.extent] = _exports.content(address)
        # SYNC POINT: handed over. The name is given before the address is withdrawn, which happens at the end of this
        # block: an importer that finds the address withdrawn finds the name.
        with _exports.withdrawn(address) as left:
            _LEFT.pack_into(memory, address.extent, left)
            if left:
                os_objects.publish(fd, name)
                owner.keep(name, slot)
                slot = -1
    finally:
        os.close(fd)
        if slot >= 0:
            owner.drop(slot)


def _take(address: BlockAddress, is_again: bool) -> NamedAnchor | None:
    """Return a block that was handed over, for one pickle; None if it was not. The last pickle removes the name.

    SYNC POINT: handed over. Looked for only after the address was found withdrawn, or its owner gone.
    """
    with contextlib.suppress(FileNotFoundError), SharedMemory(_name_of(address)) as block:
        fcntl.flock(block.fileno(), fcntl.LOCK_EX)  # until it is closed
        left = _LEFT.unpack_from(block.buf, address.extent)[0] - (not is_again)
        _LEFT.pack_into(block.buf, address.extent, left)
        if not left:
            block.unlink()
        return named_anchor("", block.buf[: address.extent])
    return None


def _name_of(address: BlockAddress) -> str:
    return f"pd_{address.inode:x}.{address.serial:x}"


# -- forks -------------------------------------------------------------------------------------------------------------


def _before_fork() -> None:
    """Hold for the child the blocks that this process holds now: the child inherits views of them, without locks."""
    _lock.acquire()  # until after the fork: the child is to inherit no view that is not held for it
    if _exports is not None:
        _fds_at_fork.extend(_exports.hold_for_child())
    forget_the_gone()
    for segment in _imports.values():
        _fds_at_fork.extend(segment.hold_for_child())


def _after_fork_in_parent() -> None:
    while _fds_at_fork:
        os.close(_fds_at_fork.pop())
    if _exports is not None:
        _exports.go_on()
    _lock.release()


def _after_fork_in_child() -> None:
    global _lock, _exports
    for held in [_exports, *_imports.values()]:
        if held is not None:
            held.close_in_child()
    _lock, _exports = threading.RLock(), None
    _imports.clear()
    _fds_at_fork.clear()  # they stay open: the kernel ends the locks with this process


at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
