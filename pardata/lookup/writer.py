"""A process that writes results into an SQLite file, while other processes read it.

      put(rows) -> at most `queue` batches on the way -> the writing process: one transaction per batch

A transaction holds the rows and the batch's number. A writing process that is killed is replaced, and the batches that
were not committed are done again. A batch whose number is in the file has been written.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from pardata.errors import ClosedError, ConfigError
from pardata.lookup import writing
from pardata.lookup.keys import times_hint
from pardata.lookup.rows import cells_of, tuple_of
from pardata.memory.disk import sync, sync_directory
from pardata.memory.foreign import read_values
from pardata.memory.locking import HolderLock
from pardata.memory.plain import check_unit
from pardata.pool.pool import WorkerPool
from pardata.pool.results import wait_until_done
from pardata.process.interrupts import Uninterrupted


class Writer:
    """Writes rows into a table of an SQLite file, in a process of its own.

    Parameters
    ----------
    path : path
        Created if it does not exist; readers may have it open meanwhile.
    columns : sequence of str
        The names of the columns, each once.
    key : str, optional
        One of the columns: a row replaces an earlier one with the same key.
    table : str
        Created if it does not exist.
    queue : int
        Number of batches that may wait to be written, at least 1; with more, `put` waits.

    Raises
    ------
    ConfigError
        An argument is wrong, another writer has the file, it is not a database, or its table has other columns.
    OSError
        The disk is full.

    Notes
    -----
    At the end of the ``with`` block all rows are written. If the writing process is killed, no row is lost and none is
    written twice. If all processes are killed, the file holds whole batches.

    Ctrl-C in the block ends it: what was put before is written, then the KeyboardInterrupt is raised. Another one
    meanwhile ends the writer at once, and the batches that wait are dropped.

    Examples
    --------
    >>> with pardata.Writer("squares.db", ["n", "square"], key="n") as writer:
    ...     writer.put({"n": np.arange(10), "square": np.arange(10) ** 2})
    >>> pardata.Database("squares.db")[9]
    {'square': 81}
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[str],
        *,
        key: str | None = None,
        table: str = "data",
        queue: int = 16,
    ) -> None:
        names = tuple(columns)
        if isinstance(columns, str) or not names or len(set(names)) < len(names):
            raise ConfigError(f"columns must be different names, not {columns!r}")
        if key is not None and key not in names:
            raise ConfigError(f"key= must be one of the columns {names}, not {key!r}")
        if not isinstance(queue, int) or queue < 1:
            raise ConfigError(f"queue must be an int of at least 1, not {queue!r}")
        self.path = os.path.abspath(os.fspath(path))
        self._target = writing.WriteTarget(self.path, table, names, key, os.urandom(8).hex())
        self._queue = queue
        self._number = 0
        self._waiting: deque[Future[int]] = deque()
        self._taking = threading.Lock()
        self._written = 0
        self._closed = False
        self._lock = HolderLock(self.path)
        is_new = not os.path.exists(self.path)
        try:
            writing.prepare(self._target)
            self._pool = WorkerPool(1)
        except BaseException:
            if is_new:
                writing.remove(self.path)
            self._lock.release()
            raise

    def put(self, rows: Any) -> None:
        """Hand over rows as one batch, which is written whole or not at all; wait while the queue is full.

        Parameters
        ----------
        rows : list of rows (sequences or dicts), or mapping of column -> array or sequence, shape (n,)

        Raises
        ------
        ConfigError
            The rows do not fit the columns, or a value is of a type that SQLite would convert: an array, a time.
        ClosedError
            After `close`, or after an error of an earlier batch.
        OSError
            The disk was full or broken when an earlier batch was written; the writer accepts no more rows.
        sqlite3.Error
            SQLite refused an earlier batch; the writer accepts no more rows.

        Examples
        --------
        >>> with pardata.Writer("stars.db", ["name", "magnitude"]) as writer:
        ...     writer.put([("Sirius", -1.46), {"name": "Vega", "magnitude": 0.03}])
        """
        if self._closed:
            raise ClosedError("the writer was closed")
        batch = _as_rows(rows, self._target.columns)
        if self._target.key is not None:
            place = self._target.columns.index(self._target.key)
            if any(row[place] is None for row in batch):  # SQLite would number the row itself
                raise ConfigError(f"a row has no key: its {self._target.key!r} is None")
        while len(self._waiting) >= self._queue:
            self._take()
        oldest = self._number - len(self._waiting)
        with Uninterrupted():  # a batch that is given to the pool is known here: else its number would be used again
            self._waiting.append(self._pool.submit(writing.write, self._target, self._number, oldest, batch))
            self._number += 1

    def flush(self) -> int:
        """Wait until all rows that were put are written. Raises as `put`.

        Returns
        -------
        int
            The number of rows that this writer has written.

        Examples
        --------
        >>> with pardata.Writer("numbers.db", ["n"]) as writer:
        ...     writer.put({"n": range(5)})
        ...     writer.flush()
        5
        """
        while self._waiting:
            self._take()
        return self._written

    # -- the sink of a run with a checkpoint -----------------------------------------------------------------------

    @property
    def _why_not(self) -> str:
        """The reason why a run with a checkpoint cannot write to it; "": it can."""
        has_key = self._target.key is not None
        return "" if has_key else "rows that are written again would be there twice: give the Writer a key="

    def commit(self) -> None:
        """Wait until all rows that were put are on the disk, also for a power cut. Raises as `put`.

        A run with a checkpoint calls it at each cut, of a writer whose `put` is its sink.

        Examples
        --------
        >>> with pardata.Writer("counted.db", ["n"], key="n") as writer:
        ...     report = pardata.source(range(5)).batch(2).map(lambda ns: {"n": ns}).to(writer.put, kind="thread").run(
        ...         checkpoint="counted.checkpoint"
        ...     )
        """
        self.flush()
        with contextlib.suppress(FileNotFoundError):  # nothing was put
            sync(f"{self.path}-wal")  # SQLite flushes it before it moves rows from there into the file
        sync_directory(self.path)

    def restore(self, state: None) -> None:
        """Do nothing: the rows behind a cut are put again, and each takes the place of the one with its key."""

    def _compared(self) -> Any:
        """Return what a checkpoint compares it by."""
        return self._target[:-1]

    def _take(self) -> None:
        """Wait for the oldest batch. A sink may be at it in its thread while the main thread closes the writer."""
        try:
            oldest = self._waiting[0]
        except IndexError:
            return
        try:
            wait_until_done(oldest)
            count = Future.result(oldest)  # that of the pool's futures cancels all batches at Ctrl-C
        except Exception:
            self._closed = True
            raise
        with Uninterrupted(), self._taking:
            if self._waiting and self._waiting[0] is oldest:
                self._written += count
                self._waiting.popleft()

    def close(self) -> None:
        """Write all rows that were put, end the writing process and unlock the file. Raises as `put`.

        Ctrl-C meanwhile drops the batches that wait; those that are written stay, each whole.
        """
        try:
            with self._pool:  # which ends at once if the block is interrupted
                if not self._closed:
                    self.flush()
                    self._pool.submit(writing.finish, self._target).result()
                else:  # after a batch that failed: the earlier ones stay
                    with contextlib.suppress(Exception):
                        self._pool.submit(writing.finish, self._target).result()
        finally:
            self._closed = True
            self._waiting.clear()
            self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("only the process that made it can put rows into a writer: have workers return their rows")

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Writer to {self.path}: {self._number} batches, {len(self._waiting)} on the way>"


def _as_rows(rows: Any, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    if hasattr(rows, "columns") or (isinstance(rows, Mapping)):
        if set(rows) != set(columns):
            raise ConfigError(f"the columns {list(rows)} were put where {list(columns)} are expected")
        given = [_values(rows[name]) for name in columns]
        if len({len(column) for column in given}) > 1:
            raise ConfigError("the columns that were put have different lengths")
        return list(zip(*given, strict=True))
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise ConfigError(f"rows are put as a list of rows, or as a dict of columns, not as {rows!r}")
    order = range(len(columns))
    return [tuple_of(row, columns, order) for row in rows]


def _values(column: Any) -> list[Any]:
    """Return a column as parameters for SQLite; a list is not made an array, which would change texts and bytes."""
    if isinstance(column, str | bytes) or not isinstance(column, Iterable) or getattr(column, "ndim", 1) != 1:
        raise ConfigError(
            f"a column is put as an array or a sequence of one value per row, not as {column!r}; "
            "a single row is put as put([row])"
        )
    given: Any = column
    read = read_values(given)
    values: Any = read.values
    if isinstance(values, np.ndarray):
        if values.dtype.kind in "mM":
            raise ConfigError(f"a database keeps no {values.dtype}{times_hint(values)}")
        check_unit(values, "a column holds")
        return cells_of(read.as_list())
    return cells_of(values.tolist() if hasattr(values, "tolist") else list(values))
