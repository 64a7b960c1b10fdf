"""Cut a huge object into pieces: small descriptors, whose data a worker opens."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np

from pardata.errors import ConfigError
from pardata.files.layout import Array
from pardata.files.paged import PagedFile
from pardata.files.pickling import dumps
from pardata.files.sources import (
    FileBytes,
    FileLines,
    MappedRows,
    PagedFileRows,
    SealedBytes,
    SealedPickle,
    SealedRows,
    SharedRows,
    Source,
    stamp_of,
)
from pardata.memory.array import find_anchor, is_in
from pardata.memory.plain import numbers_of
from pardata.memory.sealed import SealedHandle
from pardata.memory.shared_heap import shared_heap
from pardata.runtime.library_limits import usable_cores

By = Literal["rows", "bytes", "lines"]

_PIECES_PER_CORE: Final = 4  # so that one slow piece does not leave the other cores idle for long
_READ_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class Piece:
    """A descriptor of the entries ``begin <= i < end`` of an object: rows, bytes, or bytes of whole lines.

    `split` makes them. One is pickled as where to find the entries, in a file or in shared memory, and never as the
    entries; ``len(piece)`` is their number, and `open` reads them.
    """

    source: Source
    begin: int
    end: int

    def open(self) -> Any:
        """Return the data: an array of rows, a list, bytes, or a list of lines (str, with their line ends).

        Raises
        ------
        BrokenError
            The file that it was cut from has changed or is gone.
        UnicodeDecodeError
            The lines are no text in UTF-8.
        """
        return self.source.read(self.begin, self.end)

    def __len__(self) -> int:
        return self.end - self.begin


def split(obj: Any, pieces: int | None = None, *, by: By = "rows", align: int = 1) -> list[Piece]:
    """Cut a huge object into pieces of about equal size, to be sent to workers.

    Parameters
    ----------
    obj : array of shape (n, ...), list, bytes, path, or PagedFile
        An array in pardata's shared memory, a memmap, a file and a paged file are not copied. Any other array, a list
        and bytes are copied once into shared memory, which lives as long as one of the pieces in this process.
    pieces : int, optional
        Number of pieces, at least 1; there are fewer if `obj` has fewer entries. Default: four per core.
    by : "rows", "bytes" or "lines"
        "rows": of an array, a ``.npy`` file or a paged file, or entries of a list. "bytes": of a file or of a bytes
        object. "lines": of a text file.
    align : int
        Each piece begins at a multiple of it, in rows or bytes. Pieces of a paged file begin at pages in any case.

    Returns
    -------
    list of Piece
        In order and without gaps.

    Raises
    ------
    ConfigError
        An argument is wrong, the arguments do not fit each other, or the file cannot be read.

    Examples
    --------
    >>> pieces = pardata.files.split(np.ones((1000, 3)), 4)
    >>> with pardata.WorkerPool(2) as pool:
    ...     list(pool.map(lambda piece: piece.open().shape, pieces))
    [(250, 3), (250, 3), (250, 3), (250, 3)]
    """
    for name, value in (("pieces", pieces), ("align", align)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ConfigError(f"{name} must be an int of at least 1, not {value!r}")
    if by not in ("rows", "bytes", "lines"):
        raise ConfigError(f'by must be "rows", "bytes" or "lines", not {by!r}')
    wanted = pieces or _PIECES_PER_CORE * usable_cores()
    if isinstance(obj, str | os.PathLike):
        try:
            return _split_file(os.path.abspath(os.fspath(obj)), wanted, by, align)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{os.fspath(obj)} cannot be split: {error}") from error
    if by == "bytes" and isinstance(obj, bytes | bytearray | memoryview):
        data = np.frombuffer(obj, np.uint8)
        return _cut(SealedBytes(SealedHandle.of({"bytes": data})), _bounds(len(data), wanted, align))
    if by != "rows":
        raise ConfigError(
            f'by="{by}" needs the path of a file{" or bytes" * (by == "bytes")}, not {type(obj).__name__}'
        )
    if isinstance(obj, PagedFile):
        page = obj.page_rows if obj.is_array else 1
        return _cut(PagedFileRows(obj), _bounds(len(obj), wanted, math.lcm(align, page)))
    if isinstance(obj, np.ndarray):
        return _split_array(numbers_of(obj, "split got"), wanted, align)
    if isinstance(obj, list | tuple):
        return _split_list(obj, _bounds(len(obj), wanted, align))
    hint = 'bytes by rows: say by="bytes"' if isinstance(obj, bytes | bytearray | memoryview) else type(obj).__name__
    raise ConfigError(f"split takes an array, a list, bytes, a path or a PagedFile, not {hint}")


def _bounds(count: int, pieces: int, align: int) -> list[int]:
    """Return the beginnings of pieces, then `count`: multiples of `align`, the pieces about equal and none empty."""
    units = -(-count // align)
    cuts = {number * units // pieces * align for number in range(pieces)}
    return [*sorted(cut for cut in cuts if cut < count), count]


def _cut(source: Source, bounds: Sequence[int]) -> list[Piece]:
    return [Piece(source, begin, end) for begin, end in zip(bounds, bounds[1:], strict=False)]


def _split_array(array: Array, wanted: int, align: int) -> list[Piece]:
    if array.ndim == 0 or array.dtype.hasobject:
        raise ConfigError(f"an array of shape {array.shape} and {array.dtype} has no rows that could be shared")
    bounds = _bounds(len(array), wanted, align)
    block = find_anchor(array)
    if block is not None and is_in(block, shared_heap().segment.map):
        return _cut(SharedRows(array), bounds)
    # Changes of a memmap of the mode "c" are not in its file.
    is_file = isinstance(array, np.memmap) and array.filename is not None and array.mode != "c"
    if is_file and array.flags.c_contiguous and array.size:
        return _cut(_mapped(cast("np.memmap[Any, Any]", array)), bounds)
    return _cut(SealedRows(SealedHandle.of({"rows": array})), bounds)


def _mapped(array: np.memmap[Any, Any]) -> MappedRows:
    """Return the rows of a memmap, or of a view of one, as rows of its file."""
    array.flush()
    mapping: mmap.mmap = array._mmap  # type: ignore[attr-defined]
    begin = np.frombuffer(mapping, np.uint8).__array_interface__["data"][0]
    start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    offset = start + array.__array_interface__["data"][0] - begin
    path = os.path.abspath(str(array.filename))
    return MappedRows(path, stamp_of(path), array.dtype, array.shape, offset)


def _split_list(items: Sequence[Any], bounds: Sequence[int]) -> list[Piece]:
    spans = list(zip(bounds, bounds[1:], strict=False))
    pickles = [dumps(list(items[begin:end])) for begin, end in spans]
    handle = SealedHandle.of({"bytes": np.frombuffer(b"".join(pickles), np.uint8)})
    ends = np.cumsum([0, *map(len, pickles)]).tolist()
    return [
        Piece(SealedPickle(handle, place), *span)
        for span, place in zip(spans, zip(ends, ends[1:], strict=False), strict=True)
    ]


def _split_file(path: str, wanted: int, by: By, align: int) -> list[Piece]:
    if by == "rows":
        os.stat(path)
        if not path.endswith(".npy"):
            raise ConfigError(f'{path} is no .npy file: say by="lines" or by="bytes"')
        array = np.load(path, mmap_mode="r")
        if not array.flags.c_contiguous:
            raise ConfigError(f"{path} is in Fortran order: its rows are not together")
        return _split_array(array, wanted, align)
    file = FileBytes(path, stamp_of(path))
    bounds = _bounds(file.stamp[2], wanted, align)
    if by == "bytes":
        return _cut(file, bounds)
    if align != 1:
        raise ConfigError("lines are cut at line ends: leave out align=")
    with open(path, "rb") as opened:
        cuts = {0, *(_line_end(opened, cut) for cut in bounds[1:-1]), bounds[-1]}
    return _cut(FileLines(file), sorted(cuts))


def _line_end(file: Any, position: int) -> int:
    """Return the beginning of the first line at or behind `position`."""
    file.seek(position - 1)
    while data := file.read(_READ_BYTES):
        found: int = data.find(b"\n")
        if found >= 0:
            return int(file.tell()) - len(data) + found + 1
    return int(file.tell())
