"""A lock that is a file beside the guarded one, and ends with the process that holds it.

      <path>.lock   created by its holder with O_EXCL; the holder has a `flock` on it and has written its process id

Other users of the folder may have put anything under that name. So an existing file is never written to, and no link is
followed. A lock file without a holder is removed and created anew; any other file under that name is left alone.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import stat
import sys
import weakref
from collections.abc import Callable
from typing import Final

from pardata.errors import ConfigError
from pardata.memory.disk import write_all
from pardata.process.system import at_fork

try:
    import fcntl
except ModuleNotFoundError:  # without `flock` the file itself is the lock, and stays if its holder is killed
    fcntl = None  # type: ignore[assignment]

_MOST_DIGITS: Final = 20
_NO_PLACE: Final = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
# Of NFS without its lock daemon, of Lustre without the mount option `flock`, of some file systems of FUSE.
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_FLAGS: Final = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

_held: weakref.WeakSet[HolderLock] = weakref.WeakSet()


class HolderLock:
    """An exclusive lock that dies with the process that holds it.

    Parameters
    ----------
    path : str
        The guarded file.
    doing : str
        The holder's work in the passive ("written"), for the error that others get.

    Raises
    ------
    ConfigError
        Another process, or another object of this one, holds the lock; `path` is a directory, or in one that does not
        exist; the lock file is some other file; the file system has no locks.
    OSError
        The disk is full.
    """

    def __init__(self, path: str, doing: str = "written") -> None:
        self._path = f"{path}.lock"
        self._pid = os.getpid()
        self._fd = -1
        if os.path.isdir(path):
            raise ConfigError(f"{path} cannot be {doing}: it is a directory")
        try:
            while not self._make():
                self._remove_stale(path, doing)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise ConfigError(
                    f"{path} cannot be {doing}: its file system has no locks (flock: {error.strerror}); give a place "
                    f"in another one"
                ) from error
            if error.errno not in _NO_PLACE:
                raise
            raise ConfigError(f"{path} cannot be {doing}: {error}") from error
        _held.add(self)

    def _make(self) -> bool:
        """Create the lock file and lock it; return False if a file of that name exists."""
        try:
            fd = os.open(self._path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return False
        try:
            # Before it is locked, another process may take it for that of a dead holder, and remove or lock it.
            if not _lock(fd) or not _is_at(fd, self._path):
                return False
            write_all(fd, str(self._pid).encode(), 0, self._path)
            self._fd = fd
            return True
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            raise
        finally:
            if self._fd < 0:
                os.close(fd)

    def _remove_stale(self, path: str, doing: str) -> None:
        """Remove the lock file of a killed holder; raise `ConfigError` if the holder lives, or it is no lock file."""
        foreign = ConfigError(
            f"{path} cannot be {doing}: {self._path} is there and was not made to lock it; remove that if you know why"
        )
        try:
            if not stat.S_ISREG(os.lstat(self._path).st_mode):
                raise foreign
            fd = os.open(self._path, _FLAGS)
        except FileNotFoundError:
            return  # the holder has just removed it
        try:
            text = os.read(fd, _MOST_DIGITS + 1)
            # It is empty while its holder has not written its id, or if that was killed before.
            if len(text) > _MOST_DIGITS or (not text.isdigit() and text):
                raise foreign
            if fcntl is None:
                raise ConfigError(
                    f"{path} is being {doing} by process {text.decode() or '?'} already; if that was killed, "
                    f"remove {self._path}"
                )
            if not _lock(fd):
                raise ConfigError(f"{path} is being {doing} by process {text.decode() or '?'} already")
            if _is_at(fd, self._path):  # only its holder removes it: now this process
                os.unlink(self._path)
        finally:
            os.close(fd)

    @property
    def is_mine(self) -> bool:
        """True if this process holds the lock: False after `release` and in a forked child."""
        return self._fd >= 0 and os.getpid() == self._pid

    def release(self) -> None:
        """Remove the lock file and unlock it."""
        if self.is_mine:
            if _is_at(self._fd, self._path):
                os.unlink(self._path)
            # The name goes before the lock: another process that gets the lock of this file sees that it has no name
            # any more.
            self.forget()

    def forget(self) -> None:
        """Close the descriptor. A forked child calls this, since it would hold the lock as long as it lives."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _is_over():
            self.release()


def _lock(fd: int) -> bool:
    """Lock an open file; return False if another process has locked it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: str) -> bool:
    """Return whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()


@atexit.register
def _release_all() -> None:
    for lock in list(_held):
        lock.release()


at_fork(after_in_child=_forget_all)
