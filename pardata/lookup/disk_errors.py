"""Errors of SQLite about the disk, raised as `OSError`: SQLite does not tell the error number of the system.

So it is found out what the system has refused: for a full disk and for the limit of the size of files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from math import inf
from typing import Any, Final

from pardata.memory.disk import free_bytes
from pardata.process.system import module

resource: Any = module("resource")

_ALMOST_FULL_BYTES: Final = 64 << 10  # SQLite asks for a page of its index of the log, 32 KiB, at once
_PRIMARY: Final = 0xFF  # of a result code, whose other bits say more


@contextlib.contextmanager
def as_os_errors(path: str) -> Iterator[None]:
    """Raise an error of SQLite about a full or broken disk as `OSError`, with the path of the database."""
    try:
        yield
    except sqlite3.Error as error:
        number = _number(getattr(error, "sqlite_errorcode", 0) & _PRIMARY, path)
        if number == 0:
            raise
        limit = f": files of this process may have {file_limit()} bytes, `ulimit -f`" if number == errno.EFBIG else ""
        raise OSError(number, f"{os.strerror(number)}{limit} (SQLite: {error})", path) from error


def _number(code: int, path: str) -> int:
    """Return the error number for a primary result code of SQLite; 0 if that is not about the disk."""
    if code == sqlite3.SQLITE_FULL:
        return errno.ENOSPC
    if code != sqlite3.SQLITE_IOERR:
        return 0
    # Only where a write of the database finds no room is there a code of its own.
    if free_bytes(path) < _ALMOST_FULL_BYTES:
        return errno.ENOSPC
    files = [name for name in (path, f"{path}-wal", f"{path}-journal") if os.path.exists(name)]
    return errno.EFBIG if max(map(os.path.getsize, files), default=0) > file_limit() - _ALMOST_FULL_BYTES else errno.EIO


def file_limit() -> float:
    """Return how many bytes a file of this process may have."""
    if resource is None:
        return inf
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return inf if soft == resource.RLIM_INFINITY else int(soft)
