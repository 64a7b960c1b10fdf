"""The results of a map, in a file that only grows: what was stored is not computed again.

      record   head: magic, checksum of the head, length and checksum of the body, how many ranges | ranges | body
      body     pickled: for each range of numbers a list of pickled lists of values

A thread writes what has come within `APPEND_S` as one record, so that there are a few records for each second, however
small the items are. It flushes once in `CUT_S`. What is torn at the end of the file is cut off.
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from pardata.checkpoint import folder as folders
from pardata.checkpoint.done import DoneRanges
from pardata.checkpoint.folder import Folder
from pardata.codec.by_value import dumps
from pardata.errors import SerializationError
from pardata.memory.disk import naming, sync_directory, write_all
from pardata.process.capacity import explained
from pardata.process.interrupts import start_thread

APPEND_S: float = 0.25  # a test makes it 0

_MAGIC: Final = 0x72617064
_RECORD: Final = struct.Struct("<IIQII")  # magic, checksum of the rest and of the ranges; as in `_append`
_RANGE: Final = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class StoredValues:
    """The values of a range of numbers, in the file."""

    log: ResultLog
    at: int  # of the body
    length: int
    place: int  # of the range within the record

    def load(self) -> list[Any]:
        """Return the values."""
        return [value for part in self.log.load(self.at, self.length)[self.place] for value in pickle.loads(part)]


class ResultLog:
    """Takes in values in any thread, and writes them in one of its own.

    Attributes
    ----------
    stored : dict
        What an earlier call has stored: by the first number of each range its values, to be loaded when they are
        needed.
    done : DoneRanges
        The numbers of these.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._path = folder.file("results")
        is_new = not os.path.exists(self._path)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        self._fd = os.open(self._path, flags, 0o666)
        self.stored: dict[int, StoredValues] = {}
        self.done = DoneRanges()
        self._last: tuple[int, list[list[bytes]]] | None = None  # the body that was loaded last
        self._waiting: list[tuple[int, int, bytes]] = []
        self._changed = threading.Condition()  # re-entrant, as `close` may be called in the midst of `put`
        self._is_closing = False
        self._putting: int | None = None  # the thread that is at `put`
        self.error: BaseException | None = None
        try:
            self._end = self._scan()
            os.ftruncate(self._fd, self._end)
            if is_new:
                sync_directory(self._path)
            self._thread = threading.Thread(target=self._write_all, name="pardata-results", daemon=True)
            with explained("a checkpoint"):
                start_thread(self._thread)
        except BaseException:
            if hasattr(self, "_thread") and self._thread.ident is not None:  # Ctrl-C: it has begun
                self.close()
            else:
                self._release()
            raise

    # -- reading -----------------------------------------------------------------------------------------------------

    def _scan(self) -> int:
        """Note what is stored; return the end of the last record that is whole."""
        end = 0
        with open(self._path, "rb") as file:
            for record_end, at, length, ranges in records(file):
                end = record_end
                for place, (begin, stop) in enumerate(ranges):
                    self.stored[begin] = StoredValues(self, at, length, place)
                    self.done.add(begin, stop)
        return end

    def load(self, at: int, length: int) -> list[list[bytes]]:
        """Return the lists of a record; the last one is kept, as its ranges are taken one after the other."""
        last = self._last
        if last is None or last[0] != at:
            last = self._last = at, pickle.loads(os.pread(self._fd, length, at))
        return last[1]

    # -- writing -----------------------------------------------------------------------------------------------------

    def put(self, begin: int, values: list[Any], pickled: bytes | None = None) -> None:
        """Have values stored, soon; they are pickled now, as who gets them may change them. Waits for nothing."""
        if self.error is not None:
            return
        try:
            data = dumps(values) if pickled is None else pickled
        except Exception as error:
            self.error = SerializationError(f"the result of item {begin}, or one behind it, cannot be stored: {error}")
            self.error.__cause__ = error
            return
        with self._changed:
            self._putting = threading.get_ident()
            self._waiting.append((begin, len(values), data))
            if len(self._waiting) == 1:
                self._changed.notify()
            self._putting = None

    def _write_all(self) -> None:
        flushed_s, is_flushed = time.monotonic(), True
        try:
            while True:
                with self._changed:
                    if not self._waiting and not self._is_closing:
                        self._changed.wait(None if is_flushed else folders.CUT_S)
                    if not self._is_closing:
                        self._changed.wait(APPEND_S)  # for what belongs into the same record; `close` ends it
                    waiting, self._waiting = self._waiting, []
                    is_closing = self._is_closing
                if waiting:
                    self._append(waiting)
                    is_flushed = False
                if not is_flushed and (is_closing or time.monotonic() >= flushed_s + folders.CUT_S):
                    with naming(self._path):
                        os.fsync(self._fd)
                    flushed_s, is_flushed = time.monotonic(), True
                if is_closing:
                    return
        except BaseException as error:
            self.error = self.error or error
        finally:
            self._release()

    def _append(self, waiting: list[tuple[int, int, bytes]]) -> None:
        waiting.sort()
        ranges: list[tuple[int, int]] = []
        parts: list[list[bytes]] = []
        for begin, count, data in waiting:
            if ranges and ranges[-1][1] == begin:
                ranges[-1] = ranges[-1][0], begin + count
            else:
                ranges.append((begin, begin + count))
                parts.append([])
            parts[-1].append(data)
        body = pickle.dumps(parts, 5)
        packed = b"".join(_RANGE.pack(*pair) for pair in ranges)
        rest = struct.pack("<QII", len(body), zlib.crc32(body), len(ranges)) + packed
        record = struct.pack("<II", _MAGIC, zlib.crc32(rest)) + rest + body
        # A kill in here leaves a torn record at the end, which the next `_scan` does not count, and cuts off.
        write_all(self._fd, record, self._end, self._path)
        self._end += len(record)

    def close(self) -> None:
        """Store what is waiting, and let others use the folder. `error` is that of a write, if there was one.

        The garbage collector may call this in the midst of `put`: then the thread ends by itself.
        """
        me = threading.get_ident()
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if me not in (self._putting, self._thread.ident):
            self._thread.join()

    def _release(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)
        self._folder.close()


def records(file: BinaryIO) -> Iterator[tuple[int, int, int, list[tuple[int, int]]]]:
    """Yield the end of each whole record, where its body begins, its length, and its ranges of numbers."""
    end = 0
    while True:
        head = file.read(_RECORD.size)
        if len(head) < _RECORD.size:
            return
        magic, checksum, length, body_checksum, count = _RECORD.unpack(head)
        packed = file.read(_RANGE.size * count) if magic == _MAGIC and count < 1 << 32 else b""
        if len(packed) < _RANGE.size * count or zlib.crc32(head[8:] + packed) != checksum:
            return
        at = end + len(head) + len(packed)
        if not _is_whole(file, length, body_checksum):
            return
        end = at + length
        yield end, at, length, list(_RANGE.iter_unpack(packed))


def _is_whole(file: BinaryIO, length: int, checksum: int) -> bool:
    found = 0
    while length:
        part = file.read(min(length, 1 << 20))
        if not part:
            return False
        found, length = zlib.crc32(part, found), length - len(part)
    return found == checksum
