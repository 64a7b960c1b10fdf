"""Connections to an SQLite file: one for each thread of each process, opened anew after a fork.

A file that was replaced is recognised by its inode. A handle of a file that may change then goes on with the new file;
a handle of a frozen file keeps its open connections and refuses to open others.
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

_inherited: list[sqlite3.Connection] = []  # in a forked child: the connections of its parent, not to be used
_closing = threading.Lock()  # held while they are closed


class _Connection(sqlite3.Connection):
    """Closes itself: the garbage collector may find it before its `ThreadConnection`, and Python 3.13 warns."""

    def __del__(self) -> None:
        self.close()


class ThreadConnection:
    """The connection of one thread of one process, and the statements for its table.

    It is closed with its last reference: the thread, a look-up and an iteration each hold one.

    Attributes
    ----------
    inode : tuple of int
        Device and inode number of the open file.
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
        """Within the block all queries see one state of the file, also if others change it."""
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
    """In a forked child, right after the fork: note the connections of its parent."""
    global _closing
    _closing = threading.Lock()  # a thread of the parent may have held the old one
    _inherited.extend(each.sqlite for each in _all_open)


at_fork(after_in_child=_note_inherited)


def _close_inherited() -> None:
    """In a forked child, before it opens a file: close the connections of its parent.

    SQLite counts the locks of a process in its own memory. The inherited count says that the file is locked already, so
    the child would read without a lock. Closing does not release the locks of the parent. It is not done right after
    the fork, since most children never look anything up.
    """
    with _closing:
        while _inherited:
            _inherited.pop().close()


class _ThreadState(threading.local):
    connection: ThreadConnection | None = None


class Connections:
    """The connections of a handle, one per thread and process.

    Parameters
    ----------
    path : str
    table, key : str, optional
        As for `Database`.
    frozen : bool
    version, statements : optional
        Of a frozen file, if another process has read them already.
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
        """Return the connection of this thread.

        Raises
        ------
        ConfigError
            There is no such file or table, or the file is no database.
        ChecksumError
            The file is cut off.
        BrokenError
            A frozen file was replaced or changed.
        ClosedError
            After `close`.
        """
        own = self._local.connection
        if own is not None and own.pid == os.getpid() and (self.frozen or self._is_current(own)):
            return own
        return self._open()

    def _is_current(self, own: ThreadConnection) -> bool:
        """Return whether the path still leads to the open file."""
        try:
            return own.inode == _inode(self.path)
        except OSError:
            return False  # opening it will raise the error

    def _open(self) -> ThreadConnection:
        self._check_open()
        if self.version:
            self._check_version(self.version_now())
        _close_inherited()
        self._local.connection = None  # this closes it, unless an iteration still uses it
        try:
            own = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{self.path} cannot be read as a database: {error}") from error
        self._local.connection = own
        if self.is_closed:  # in the meantime; `close` may not have seen this connection
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
                if self._seen() == seen:  # so this is the file that was opened
                    return self._prepared(connection, inode, version)
            except BaseException:
                connection.close()
                raise
            connection.close()

    def _seen(self) -> tuple[tuple[int, int], str]:
        """Return the inode at the path, and the version if the file is frozen."""
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
        """Refuse a file that is cut off; SQLite itself may notice only when it reads a missing page."""
        (pages,), (size,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        beside = leftovers(self.path)
        found = os.stat(self.path)  # after `leftovers`: SQLite may have moved those into the file meanwhile
        if found.st_size < pages * size and not beside and (found.st_dev, found.st_ino) == inode:
            raise ChecksumError(f"{self.path} is cut off: {found.st_size} of {pages * size} bytes are there")
        if self.frozen and beside:
            raise ConfigError(f"{self.path} is not frozen: {beside[0]} holds more of it; open it without frozen=True")

    def version_now(self) -> str:
        """Return a text that is different for other contents: inode, time and size of the file and of its log."""
        found = []
        for name in (self.path, f"{self.path}-wal"):
            with suppress(OSError):  # the last connection to close removes the log
                found.append(os.stat(name))
        return "-".join(f"{each.st_dev:x}.{each.st_ino:x}.{each.st_mtime_ns:x}.{each.st_size:x}" for each in found)

    def close(self) -> None:
        """Drop the connections of all threads; look-ups and iterations that have begun keep theirs."""
        self.is_closed = True
        self._local = _ThreadState()


def _inode(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _check_readable(path: str) -> None:
    """Raise OSError if there is no readable file.

    It is not tried by opening: closing the file again would drop the locks that this process has on it.
    """
    if stat.S_ISDIR(os.stat(path).st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
