"""Locks on ranges of a file's bytes, which the kernel ends with the last process that has the open file.

They belong to an open file (F_OFD_*), not to a process: no other descriptor's close ends them, and a descriptor that a
child inherits holds them for the child. Threads that share an open file do not exclude each other; those that each open
it do.
"""

from __future__ import annotations

import functools
import os
import struct
from typing import Any, Final

from pardata.process.capacity import descriptors_for
from pardata.process.system import module, unsupported

fcntl: Any = module("fcntl")

# F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW: by number, as not every Python has their names.
_GET: Final = 36
_SET: Final = 37
_SET_WAITING: Final = 38
# struct flock: kind, whence, offset, length, process (0 for these locks), and padding.
_FLOCK: Final = struct.Struct("hhqqi4x")


def lock_range(fd: int, kind: int, offset: int, nbytes: int, wait: bool = False) -> None:
    """Take a lock, or end it (`fcntl.F_UNLCK`). Raises `BlockingIOError` if it would have to wait and is not to."""
    fcntl.fcntl(fd, _SET_WAITING if wait else _SET, _FLOCK.pack(kind, os.SEEK_SET, offset, nbytes, 0))


def is_locked(fd: int, offset: int, nbytes: int) -> bool:
    """Return whether another open file has a lock in this range."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, nbytes, 0)
    return bool(_FLOCK.unpack(fcntl.fcntl(fd, _GET, asked))[0] != fcntl.F_UNLCK)


def reopen(fd: int, flags: int, pid: int | None = None) -> int:
    """Open a process's descriptor anew, this one's if not told which: the new one has locks of its own.

    Raises OSError, `CapacityError` if this process can open no more, `PlatformError` if /proc is not that of this
    process's system.
    """
    own = os.getpid()
    _check_proc(own)
    # Once the process is gone, the number may be another one's pipe or terminal: neither wait for it nor adopt it.
    path = f"/proc/{pid if pid is not None else own}/fd/{fd}"
    with descriptors_for("what other processes share", 1):
        return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)


@functools.lru_cache(1)
def _check_proc(pid: int) -> None:
    """Raise `PlatformError` if there is no /proc, or one in which the number of this process is that of another."""
    try:
        known_as = os.readlink("/proc/self")
    except OSError:
        known_as = ""
    if known_as != str(pid):
        unsupported("what processes share", "/proc of the namespace in which they have their numbers (mount -t proc)")


def hold(fd: int, places: list[tuple[int, int]]) -> int:
    """Return another descriptor of a file, which holds these (offset, bytes) of it until its last copy is closed."""
    holder = reopen(fd, os.O_RDWR)
    for place in places:
        lock_range(holder, fcntl.F_RDLCK, *place)
    return holder
