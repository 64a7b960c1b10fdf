"""Connections to an SQLite file: one for each thread of each process, opened anew after a fork.

That another file has taken the place of one is noticed by the inode: who reads a file that may change goes on with the
new one; who reads a frozen one keeps what it has open, and opens no other.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pardata.errors import BrokenError, ChecksumError, ClosedError, ConfigError
from pardata.lookup.loading import leftovers
from pardata.lookup.statements import Statements

_MMAP_BYTES: Final = 1 << 40  # of the file; SQLite reads a frozen one without a copy

_inherited: list[sqlite3.Connection] = []  # in a forked child: not to be used


class Opened:
    """A connection of one thread of one process, and what is asked by it; it is closed when the thread ends.

    Attributes
    ----------
    inode : tuple of int
        Of the file that is open.
    """

    def __init__(self, connection: sqlite3.Connection, inode: tuple[int, int], statements: Statements | None) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.inode = inode
        self.pid = os.getpid()
        if statements is not None:
            self.statements = statements

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Have several queries see one state of a file that others change."""
        self.execute("BEGIN")
        try:
            yield
        finally:
            self.execute("COMMIT")

    def close(self) -> None:
        """Close it; in a forked child later, see `_close_inherited`."""
        if self.pid == os.getpid():
            self.connection.close()
        else:
            _inherited.append(self.connection)

    __del__ = close


_all_open: weakref.WeakSet[Opened] = weakref.WeakSet()


def _close_inherited() -> None:
    """In a forked child, before it opens a file: close the connections of its parent.

    SQLite counts the locks of a process in its own memory. What it has inherited there says that the file is locked,
    and the child would read without a lock; the locks of the parent are not touched by closing.
    """
    _inherited.extend(opened.connection for opened in list(_all_open) if opened.pid != os.getpid())
    while _inherited:
        _inherited.pop().close()


class _Local(threading.local):
    opened: Opened | None = None


class Connections:
    """The connections of a handle.

    Parameters
    ----------
    path : str
    table, key : str, optional
        As of `Database`.
    frozen : bool
    version, statements : optional
        Of a frozen file, if another process has looked already.

    Raises
    ------
    ConfigError
        (`get`) There is no such file or table, or it is no database.
    ChecksumError
        (`get`) The file is cut off.
    BrokenError
        (`get`) A frozen file was replaced or changed.
    ClosedError
        (`get`) After `close`.
    """

    def __init__(
        self,
        path: str,
        table: str | None,
        key: str | None,
        frozen: bool,
        version: str = "",
        statements: Statements | None = None,
    ) -> None:
        self.path, self.table, self.key, self.frozen = path, table, key, frozen
        self.version, self.statements = version, statements
        self.is_closed = False
        self._local = _Local()
        self._opened: weakref.WeakSet[Opened] = weakref.WeakSet()

    def get(self) -> Opened:
        """Return the connection of this thread."""
        opened = self._local.opened
        if opened is not None and opened.pid == os.getpid() and (self.frozen or self._is_current(opened)):
            return opened
        return self._open()

    def _is_current(self, opened: Opened) -> bool:
        """Whether the path still leads to the file that is open."""
        try:
            return opened.inode == _inode(self.path)
        except OSError:
            return False  # to open it says why

    def _open(self) -> Opened:
        if self.is_closed:
            raise ClosedError(f"{self.path} was closed")
        if self.version and self.version_now() != self.version:
            raise BrokenError(f"{self.path} was replaced or changed since this handle of a frozen database was made")
        _close_inherited()
        self._local.opened = None  # closed, unless somebody still iterates over it
        try:
            opened = self._connect()
            if self.statements is None:
                self._check_whole(opened)
                opened.statements = Statements.of(opened.connection, self.path, self.table, self.key)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{self.path} cannot be read as a database: {error}") from error
        self.table, self.key = opened.statements.table, opened.statements.key
        if self.frozen:
            self.version, self.statements = self.version or self.version_now(), opened.statements
        self._local.opened = opened
        return opened

    def _connect(self) -> Opened:
        _check_readable(self.path)
        name = self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        uri = f"file:{name}?mode=ro{'&immutable=1' if self.frozen else ''}"
        while True:
            inode = _inode(self.path)
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30.0)
            if _inode(self.path) == inode:
                break  # it is surely that of what was opened
            connection.close()
        opened = Opened(connection, inode, self.statements)
        self._opened.add(opened)
        _all_open.add(opened)
        if self.frozen:
            opened.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
        return opened

    def _check_whole(self, opened: Opened) -> None:
        """Refuse a file that is not whole; SQLite itself may notice only when it reads the missing pages."""
        (pages,), (size,) = (opened.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        found = os.stat(self.path).st_size
        beside = leftovers(self.path)
        if found < pages * size and not beside:
            raise ChecksumError(f"{self.path} is cut off: {found} of {pages * size} bytes are there")
        if self.frozen and beside:
            raise ConfigError(f"{self.path} is not frozen: {beside[0]} holds more of it; open it without frozen=True")

    def version_now(self) -> str:
        """Return what tells the contents that are there now from other ones."""
        found = [os.stat(name) for name in (self.path, f"{self.path}-wal") if os.path.exists(name)]
        return "-".join(f"{each.st_ino:x}.{each.st_mtime_ns:x}.{each.st_size:x}" for each in found)

    def close(self) -> None:
        """Close those of all threads."""
        self.is_closed = True
        for opened in list(self._opened):
            opened.close()
        self._local = _Local()


def _inode(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _check_readable(path: str) -> None:
    """Raise OSError if there is no such file. To open and close it would drop what locks this process has on it."""
    if stat.S_ISDIR(os.stat(path).st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
