"""The checkpoint of `map_array`: which rows of the file that was begun are on the disk."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from pardata.checkpoint.done import DoneRanges
from pardata.checkpoint.fingerprint import digest, digest_of_array
from pardata.checkpoint.folder import Folder
from pardata.checkpoint.outputs import check_apart, check_begun, check_done, identity_of
from pardata.errors import ConfigError
from pardata.memory.disk import sync, sync_directory
from pardata.modules.function_name import function_name
from pardata.pool.arrays.work import Work


class ArrayCheckpoint:
    """Rows are noted when they are done, and committed behind a flush of the file about once in a second.

    Parameters
    ----------
    work, arrays : Work without inputs, and these
    dtype : that which the caller has asked for

    Attributes
    ----------
    part : str
        The file that was begun; it lies beside that which it becomes.
    done : DoneRanges
        The rows that need not be computed.
    place, exact
        Of the `Work` that writes into the file; None: the first block is not done.
    """

    def __init__(self, folder: Any, work: Work, arrays: Sequence[Any], out: Any, dtype: Any, restart: bool) -> None:
        if not isinstance(out, str | os.PathLike) or not os.fspath(out).endswith(".npy"):
            raise ConfigError("map_array: checkpoint= needs the path of a .npy file as out=")
        self._path = os.path.abspath(os.fspath(out))
        check_apart(folder, [self._path])
        options = (work.axis, work.halo, None if dtype is None else np.dtype(dtype).str)
        parts = [
            (f"the function {function_name(work.fn)!r}", digest(work.fn)),
            *((f"array {number}", digest_of_array(array)) for number, array in enumerate(arrays)),
            ("axis, halo or dtype", digest(*options)),
            ("out", digest(self._path)),
        ]
        self._folder = Folder(folder, "map_array", parts, restart)
        self.part = self._folder.begun(self._path)
        state = self._folder.state or {}
        self.is_finished: bool = state.get("finished", False)
        self.place: int | None = state.get("place")
        self.exact: bool = state.get("exact", False)
        self.done = DoneRanges(state.get("done", ()))
        self._rows: int = arrays[0].shape[work.axis]
        self._lock = threading.Lock()
        self._is_changed = False
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        if not self.is_finished and self.place is None:
            return
        state: Any = self._folder.state
        if self.is_finished or (self.is_complete and not os.path.exists(self.part)):
            check_done(self._folder.path, self._path, state.get("file"))
        else:
            check_begun(self._folder.path, self.part, state["bytes"])

    @property
    def missing(self) -> list[tuple[int, int]]:
        """The rows that are not done."""
        return self.done.missing(self._rows)

    @property
    def is_complete(self) -> bool:
        """Whether all that is left to do is to give the file its name."""
        return self.is_finished or (self.place is not None and not self.missing)

    def begin(self, place: int, exact: bool) -> None:
        """Take in where the rows of the output are."""
        self.place, self.exact = place, exact

    def note(self, begin: int, end: int) -> None:
        """Note that rows were written."""
        with self._lock:
            self.done.add(begin, end)
            self._is_changed = True

    def tick(self) -> None:
        """Commit what is noted, if it is time."""
        if self._is_changed and self._folder.is_due:
            self.commit()

    def commit(self) -> None:
        """Have the rows that are noted on the disk, then the note that they are."""
        with self._lock:
            done, self._is_changed = self.done.ranges, False  # before the flush: later rows may not be in it
        nbytes = os.stat(self.part).st_size  # it had its length before its first row
        state = {"place": self.place, "exact": self.exact, "rows": self._rows, "done": done, "bytes": nbytes}
        self._folder.commit(state, [self.part])

    def finish(self) -> None:
        """Give the file its name. Killed between two of the steps, the next call does the rest."""
        if os.path.exists(self.part):
            if self.place is not None and self._is_changed:
                self.commit()
            sync(self.part)
            os.replace(self.part, self._path)
            sync_directory(self._path)
        if self.is_finished:
            return
        found = identity_of(self._path)
        self._folder.commit({"finished": True, "rows": self._rows, "done": self.done.ranges, "file": found})

    def leave(self) -> None:
        """After an error: commit what is done, if that is possible."""
        with contextlib.suppress(OSError):
            if self._is_changed and self.place is not None and os.path.exists(self.part):
                self.commit()

    def close(self) -> None:
        """Let others use the folder."""
        self._folder.close()
