"""The handle of a paged file: it opens the file at its first use in a process, and tells its kind of records."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from pardata.errors import ClosedError
from pardata.files.layout import Format
from pardata.files.open_file import OpenFile


class FileHandle:
    """The part of a `PagedFile` that reads no records.

    Attributes
    ----------
    path : str
        Absolute path of the file.
    """

    def _set_up(self, path: str, token: bytes, file: OpenFile | None) -> None:
        self.path = path
        self._token = token
        self._open = file
        self._opening = threading.Lock()
        self._closed = False

    def _file(self) -> OpenFile:
        """Return the open file; an unpickled handle opens it at its first use."""
        opened = self._open
        if opened is not None:
            return opened
        with self._opening:
            if self._closed:
                raise ClosedError(f"{self.path} was closed")
            if self._open is None:
                self._open = OpenFile(self.path, self._token)
            return self._open

    def close(self) -> None:
        """Close the file; arrays that were read stay valid."""
        self._closed = True
        self._open = None

    @property
    def page_count(self) -> int:
        """Number of pages."""
        return self._file().header.page_count

    @property
    def is_array(self) -> bool:
        """True if the records are rows of an array."""
        return self._file().format.kind == "array"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the rows; only of arrays."""
        return self._array_format().dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all rows together, ``(n, *item_shape)``; only of arrays."""
        return (self._file().records, *self._array_format().item_shape)

    @property
    def page_rows(self) -> int:
        """Rows per page; only of arrays."""
        return self._array_format().page_records

    def _array_format(self) -> Format:
        if not self.is_array:
            raise AttributeError(f"{self!r} holds no array")
        return self._file().format
