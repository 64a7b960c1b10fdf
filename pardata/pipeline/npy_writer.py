"""The generator filter that writes its items to a ``.npy`` file."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from pardata.data.new_file import check_replaceable
from pardata.memory.disk import create_new, write_all
from pardata.memory.dtypes import check_npy
from pardata.memory.plain import plain_array
from pardata.pipeline.plan.file_writer import FileWriter

Array = np.ndarray[Any, Any]

_HELD_BYTES: Final = 1 << 18  # at most: a call of the system costs as much as to copy some 10 kB
_SMALL_BYTES: Final = 1 << 12  # below, to copy a row once more takes less time than to make a view of its bytes
_AGAIN: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class NpyWriter(FileWriter):
    """Writes items as the rows of a ``.npy`` file, which has its name only when it is whole.

    With a `part`, that stays, for a run that goes on, and the caller of the run gives the file its name. Small rows are
    collected, and written together; all of them are in the file when `snapshot` returns.
    """

    part: str

    def __init__(self, path: str, part: str | None = None) -> None:
        self.path = path
        self.part = f"{path}.part" if part is None else part
        self._is_kept = part is not None
        self._rows = 0
        self._kind: tuple[np.dtype[Any], tuple[int, ...]] | None = None  # of a row
        self._begin_bytes: int | None = None  # where the first row lies: behind the header
        self._file = -1
        self._held = bytearray()  # the last rows, which are not in the file yet

    def check_free(self) -> None:
        """Raise `ConfigError` if the file cannot be made, or cannot take the place of what is there."""
        check_replaceable(self.path, self.part)

    def why_not(self) -> str:
        return ""

    def going_on(self, part: str) -> NpyWriter:
        """Return the writer of a run with a checkpoint."""
        return NpyWriter(self.path, part)

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """Write; yield nothing."""
        part = self.part
        if self._rows and not self._is_kept and not os.path.exists(part):
            return  # a predecessor has finished it
        # One that is kept is never removed: a kill behind that would leave a checkpoint without its file.
        goes_on = self._rows or (self._is_kept and os.path.exists(part))
        file = os.open(part, _AGAIN) if goes_on else create_new(part)
        self._file, self._held = file, bytearray()
        try:
            if goes_on:
                self._go_back(file)
            for item in items:
                row = plain_array(item, f"{self.path} was given")
                self._check(row)
                if self._begin_bytes is None:
                    self._begin_bytes = len(self._header())
                self._write(row)
                del item, row
            self._flush()
            write_all(file, self._header(), 0, part)  # now that the number of rows is known
        except BaseException:  # an error, or the end of the run; a killed process leaves the part to its successor
            if not self._is_kept:
                with contextlib.suppress(OSError):  # the first error is the one to tell
                    os.unlink(part)
            raise
        finally:
            self._file = -1
            os.close(file)
        if not self._is_kept:
            os.replace(part, self.path)
        yield from ()

    def _go_back(self, file: int) -> None:
        """Cut a part that was begun to the rows of the state: those behind them come again."""
        nbytes = 0
        if self._kind is not None:
            dtype, shape = self._kind
            self._begin_bytes = len(self._header())
            nbytes = self._begin_bytes + self._rows * dtype.itemsize * math.prod(shape)
            if os.fstat(file).st_size < nbytes:
                raise ValueError(f"{self.part} was cut: it holds fewer than the {self._rows} rows that were written")
        os.ftruncate(file, nbytes)

    def _write(self, row: Array) -> None:
        nbytes = row.nbytes
        if len(self._held) + nbytes > _HELD_BYTES:
            self._flush()
        if nbytes > _HELD_BYTES:
            self._put(_bytes_of(row), self._rows, nbytes)
        else:
            self._held += row.tobytes() if nbytes < _SMALL_BYTES else _bytes_of(row)
        self._rows += 1

    def _flush(self) -> None:
        """Write the rows that are held."""
        if self._held:
            assert self._kind is not None
            dtype, shape = self._kind
            row_bytes = dtype.itemsize * math.prod(shape)
            held, self._held = self._held, bytearray()
            self._put(held, self._rows - len(held) // row_bytes, row_bytes)

    def _put(self, rows: bytearray | memoryview, first: int, row_bytes: int) -> None:
        assert self._begin_bytes is not None
        write_all(self._file, rows, self._begin_bytes + first * row_bytes, self.part)

    def _check(self, row: Array) -> None:
        kind = row.dtype, row.shape
        if kind == self._kind:
            return
        if row.dtype.hasobject:
            raise ValueError(f"{self.path}: rows of {row.dtype} hold Python objects, which a .npy file cannot")
        if self._kind is None:
            check_npy(row.dtype, self.path)
            self._kind = kind
        else:
            raise ValueError(
                f"row {self._rows} of {self.path} has shape {row.shape} and dtype {row.dtype}; those before it have "
                f"{self._kind[1]} and {self._kind[0]}"
            )

    def _header(self) -> bytes:
        """Return the header, as long for any number of rows."""
        dtype, shape = self._kind or (np.dtype(float), ())
        file = io.BytesIO()
        fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (self._rows, *shape)}
        np.lib.format.write_array_header_1_0(file, fields)
        return file.getvalue()

    def snapshot(self) -> Any:
        """Return the number of rows, and the dtype and shape of a row."""
        if self._file >= 0:
            self._flush()
        return self._rows, self._kind

    def restore(self, state: Any) -> None:
        """Go on behind those rows."""
        self._rows, self._kind = state


def _bytes_of(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
