"""Errors of SQLite about the disk, raised as `OSError`: SQLite does not tell the error number of the system."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from typing import Final

from pardata.memory.disk import free_bytes

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
        raise OSError(number, f"{os.strerror(number)} (SQLite: {error})", path) from error


def _number(code: int, path: str) -> int:
    """Return the error number for a primary result code of SQLite; 0 if that is not about the disk."""
    if code == sqlite3.SQLITE_FULL:
        return errno.ENOSPC
    if code != sqlite3.SQLITE_IOERR:
        return 0
    # Only where a write of the database finds no room is there a code of its own.
    return errno.ENOSPC if free_bytes(path) < _ALMOST_FULL_BYTES else errno.EIO
