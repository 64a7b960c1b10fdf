"""Write a file so that its name always stands for a whole one, and one writer at a time.

      lock path.lock -> fill path.part -> fsync -> rename to path -> fsync the directory -> unlock

A writer that is killed leaves the old file, or none; its lock goes with it, and the next writer throws its part away.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import stat
import sys
import weakref
from collections.abc import Callable, Iterator

from pardata.errors import ConfigError

_held: weakref.WeakSet[HolderLock] = weakref.WeakSet()


class HolderLock:
    """An exclusive lock that dies with the process that holds it.

    Raises
    ------
    ConfigError
        Another process, or another object of this one, holds it; `path` is a directory, or in one that is not there.
    """

    def __init__(self, path: str) -> None:
        self._path = f"{path}.lock"
        self._pid = os.getpid()
        self._fd = -1
        if os.path.isdir(path):
            raise ConfigError(f"{path} cannot be written: it is a directory")
        while self._fd < 0:
            try:
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise ConfigError(f"{path} cannot be written: {error}") from error
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(fd), os.stat(self._path)):
                    self._fd = fd
            except BlockingIOError:
                holder = os.pread(fd, 20, 0).decode(errors="replace") or "?"
                raise ConfigError(f"{path} is being written by process {holder} already") from None
            except FileNotFoundError:
                pass  # its holder has just removed it: what was locked is nobody's lock any more
            finally:
                if self._fd < 0:
                    os.close(fd)
        os.truncate(self._fd, 0)
        os.pwrite(self._fd, str(self._pid).encode(), 0)
        _held.add(self)

    @property
    def is_mine(self) -> bool:
        """Whether this process holds it: not after `release`, and not in a forked child."""
        return self._fd >= 0 and os.getpid() == self._pid

    def release(self) -> None:
        """Let the next one write."""
        if self.is_mine:
            os.unlink(self._path)
            self.forget()

    def forget(self) -> None:
        """Close the descriptor: in a forked child, which would hold the lock as long as it lives."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _is_over():
            self.release()


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()


os.register_at_fork(after_in_child=_forget_all)


@atexit.register
def _release_all() -> None:
    for lock in list(_held):
        lock.release()


def sync_directory(path: str) -> None:
    """Have the system write down which names the directory of `path` has."""
    fd = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def put_in_place(part: str, path: str) -> None:
    """Give a part its name, once all of it is on the disk, and the rights of the file that had it."""
    fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(fd, stat.S_IMODE(os.stat(path).st_mode))
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(part, path)
    sync_directory(path)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Give the name of a part to fill; at the end of the block it becomes `path`, after an error it is removed."""
    lock = HolderLock(path)
    part = f"{path}.part"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        yield part
        if not lock.is_mine:
            raise ConfigError(f"{path} is written by the process that began, not by its forked child")
        put_in_place(part, path)
    finally:
        if lock.is_mine:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
            lock.release()
