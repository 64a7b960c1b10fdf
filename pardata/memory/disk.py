"""Files that the package writes: made new, allocated beforehand, written whole. Errors of the disk name the file.

A disk may become full at any write (ENOSPC), and so may a quota (EDQUOT). A write to a mapped file is no call that
could fail: the writer is killed by SIGBUS. So a range of a file is allocated before it is mapped.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any, Final

# For a new file whose name others may have taken: nothing that is there is followed, cut or written to.
_NEW: Final = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_NOT_HERE: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # this file system, or the system, cannot do that
_HERE, _NOREPLACE = -100, 1  # of Linux: relative to the working directory; rename nothing away
_AT_ONCE: Final = 1 << 30  # Linux writes 2 GiB at most


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Add the file's name to an `OSError` of a call that was given a descriptor only."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, path) from None


def home_hint(path: str) -> str:
    """Return what an error about a path that is not there says if it is meant to begin in a home directory."""
    if any(name.startswith("~") for name in path.split(os.sep)):
        return ' ("~" is not expanded, as by open() and NumPy: os.path.expanduser does that)'
    return ""


def create_new(path: str) -> int:
    """Return a descriptor of a new empty file. A file that an earlier writer has left under this name is removed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, _NEW, 0o666)


def allocate(fd: int, nbytes: int, path: str, offset: int = 0) -> None:
    """Allocate a range of a file on the disk; the file becomes at least so long, and its contents stay.

    Raises
    ------
    OSError
        The disk is full, or the user's quota. (Where a file system allocates nothing beforehand: it is full now.)
    """
    with naming(path):
        if hasattr(os, "posix_fallocate") and nbytes:
            try:
                os.posix_fallocate(fd, offset, nbytes)
                return
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
        growth = max(0, offset + nbytes - os.fstat(fd).st_size)
        if missing_bytes(fd) + growth > free_bytes(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if growth:
            os.ftruncate(fd, offset + nbytes)


def free_bytes(path: str) -> int:
    """Return the number of free bytes in the file system of a path."""
    return shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free


def check_free(path: str, nbytes: int) -> None:
    """Raise `OSError` if the file system of a path has not so much space: for a library that cannot bear a full disk.

    Others may take the space before it is written to; for a file of one's own there is `allocate`.
    """
    if nbytes > free_bytes(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def missing_bytes(fd: int) -> int:
    """Return the number of bytes of a file that are not allocated on the disk."""
    found = os.fstat(fd)
    return max(0, found.st_size - 512 * getattr(found, "st_blocks", found.st_size))


def write_all(fd: int, data: Any, offset: int, path: str) -> None:
    """Write all of a buffer of bytes at an offset. After a short write the next one raises the reason."""
    view = memoryview(data)
    with naming(path):
        while view:
            os.lseek(fd, offset, os.SEEK_SET)
            written = os.write(fd, view[:_AT_ONCE])
            view, offset = view[written:], offset + written


def write_new(path: str, data: Any) -> None:
    """Write a new file, as `create_new` makes it; it is removed if it cannot be written whole."""
    fd = create_new(path)
    try:
        write_all(fd, data, 0, path)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


def rename_new(path: str, target: str) -> None:
    """Rename a file or a folder. Raises `FileExistsError` if something has the new name, and leaves both as they are.

    Where the system or the file system cannot do that in one step, a file that comes between two is replaced.
    """
    at_once = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    number = errno.ENOSYS
    if at_once is not None:
        here = ctypes.c_int(_HERE)
        if at_once(here, os.fsencode(path), here, os.fsencode(target), ctypes.c_uint(_NOREPLACE)) == 0:
            return
        number = ctypes.get_errno()
    if number not in _NOT_HERE:
        raise OSError(number, os.strerror(number), path, None, target)
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path, None, target)
    os.rename(path, target)


def sync(path: str) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    if os.path.isdir(path):
        sync_directory(os.path.join(path, "name"))
        return
    fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    try:
        with naming(path):
            os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: str) -> None:
    """Have the system write the directory of `path` to the disk."""
    if sys.platform == "win32":
        return  # a directory cannot be opened there
    fd = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_CLOEXEC)
    try:
        with naming(path):
            os.fsync(fd)
    finally:
        os.close(fd)
