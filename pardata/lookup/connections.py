"""Connections to an SQLite file: one for each thread of each process, opened anew after a fork.

That another file has taken the place of one is noticed by the inode: who reads a file that may change goes on with the
new one; who reads a frozen one keeps what it has open, and opens no other.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from pardata.errors import BrokenError, ChecksumError, ClosedError, ConfigError
from pardata.lookup.loading import leftovers
from pardata.lookup.statements import Statements
from pardata.process.system import at_fork

_MMAP_BYTES: Final = 1 << 40  # of the file; SQLite reads a frozen one without a copy

_inherited: list[sqlite3.Connection] = []  # in a forked child: not to be used
_closing = threading.Lock()  # of those


class _Connection(sqlite3.Connection):
    """Closes itself: the garbage collector may find it before its `ThreadConnection`, and Python 3.13 warns."""

    def __del__(self) -> None:
        self.close()


class ThreadConnection:
    """A connection of one thread of one process, and what is asked by it.

    It is closed when nobody has it any more: neither the thread, nor a look-up or an iteration that has begun.

    Attributes
    ----------
    inode : tuple of int
        Of the file that is open.
    """

    def __init__(self, connection: sqlite3.Connection, inode: tuple[int, int], statements: Statements) -> None:
        self.sqlite = connection
        self.execute = connection.execute
        self.inode = inode
        self.statements = statements
        self.pid = os.getpid()
        _all_open.add(self)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Have several queries see one state of a file that others change."""
        self.execute("BEGIN")
        try:
            yield
        finally:
            self.execute("COMMIT")

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if _is_over():
            return
        if self.pid == os.getpid():
            self.sqlite.close()
        else:  # a fork ends the threads of the parent before it calls `_note_inherited`
            _inherited.append(self.sqlite)


_all_open: weakref.WeakSet[ThreadConnection] = weakref.WeakSet()


def _note_inherited() -> None:
    """In a forked child, right after the fork: the connections of its parent are not its own."""
    global _closing
    _closing = threading.Lock()  # a thread of the parent may have held it
    _inherited.extend(each.sqlite for each in _all_open)


at_fork(after_in_child=_note_inherited)


def _close_inherited() -> None:
    """In a forked child, before it opens a file: close the connections of its parent.

    SQLite counts the locks of a process in its own memory. What it has inherited there says that the file is locked,
    and the child would read without a lock; the locks of the parent are not touched by closing. It is not done right
    after the fork, since most children look nothing up.
    """
    with _closing:
        while _inherited:
            _inherited.pop().close()


class _ThreadState(threading.local):
    connection: ThreadConnection | None = None


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
        self._local = _ThreadState()

    def get(self) -> ThreadConnection:
        """Return the connection of this thread."""
        own = self._local.connection
        if own is not None and own.pid == os.getpid() and (self.frozen or self._is_current(own)):
            return own
        return self._open()

    def _is_current(self, own: ThreadConnection) -> bool:
        """Whether the path still leads to the file that is open."""
        try:
            return own.inode == _inode(self.path)
        except OSError:
            return False  # to open it says why

    def _open(self) -> ThreadConnection:
        self._check_open()
        if self.version:
            self._check_version(self.version_now())
        _close_inherited()
        self._local.connection = None  # closed, unless somebody still iterates over it
        try:
            own = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{self.path} cannot be read as a database: {error}") from error
        self._local.connection = own
        if self.is_closed:  # meanwhile, and `close` may not have seen this one
            self._local.connection = None
            self._check_open()
        return own

    def _check_open(self) -> None:
        if self.is_closed:
            raise ClosedError(f"{self.path} was closed")

    def _check_version(self, version: str) -> None:
        if version != self.version:
            raise BrokenError(f"{self.path} was replaced or changed since this handle of a frozen database was made")

    def _connect(self) -> ThreadConnection:
        _check_readable(self.path)
        name = self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        uri = f"file:{name}?mode=ro{'&immutable=1' if self.frozen else ''}"
        while True:
            inode, version = seen = self._seen()
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30.0, factory=_Connection
            )
            try:
                if self._seen() == seen:  # it is surely that of what was opened
                    return self._prepared(connection, inode, version)
            except BaseException:
                connection.close()
                raise
            connection.close()

    def _seen(self) -> tuple[tuple[int, int], str]:
        """Return which file is there, and of a frozen one the version."""
        return _inode(self.path), self.version_now() if self.frozen else ""

    def _prepared(self, connection: sqlite3.Connection, inode: tuple[int, int], version: str) -> ThreadConnection:
        statements = self.statements
        if self.version:
            self._check_version(version)
        if statements is None:
            self._check_whole(connection, inode)
            statements = Statements.of(connection, self.path, self.table, self.key)
        self.table, self.key = statements.table, statements.key
        if self.frozen:
            self.version, self.statements = version, statements
            connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
        return ThreadConnection(connection, inode, statements)

    def _check_whole(self, connection: sqlite3.Connection, inode: tuple[int, int]) -> None:
        """Refuse a file that is not whole; SQLite itself may notice only when it reads the missing pages."""
        (pages,), (size,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        beside = leftovers(self.path)
        found = os.stat(self.path)  # after `beside`: what was there may have come into the file meanwhile
        if found.st_size < pages * size and not beside and (found.st_dev, found.st_ino) == inode:
            raise ChecksumError(f"{self.path} is cut off: {found.st_size} of {pages * size} bytes are there")
        if self.frozen and beside:
            raise ConfigError(f"{self.path} is not frozen: {beside[0]} holds more of it; open it without frozen=True")

    def version_now(self) -> str:
        """Return what tells the contents that are there now from other ones."""
        found = []
        for name in (self.path, f"{self.path}-wal"):
            with suppress(OSError):  # the last one to close takes the log away
                found.append(os.stat(name))
        return "-".join(f"{each.st_dev:x}.{each.st_ino:x}.{each.st_mtime_ns:x}.{each.st_size:x}" for each in found)

    def close(self) -> None:
        """Let go of those of all threads; what has begun comes to its end."""
        self.is_closed = True
        self._local = _ThreadState()


def _inode(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _check_readable(path: str) -> None:
    """Raise OSError if there is no such file. To open and close it would drop what locks this process has on it."""
    if stat.S_ISDIR(os.stat(path).st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
