"""Read records that lie on several pages of a paged file.

      records asked for          r r r|r r r r|r r
      pages               |0 1 2 3 4|5 6 7 8|9 10 11 12|
      read                  its end   whole   its beginning

Each function is given the open file, which tells where pages begin, and `page`, which reads one of them: that of the
handle, which knows a faster way for a page whose checksum was right before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pardata.errors import ConfigError
from pardata.files.layout import Array
from pardata.files.open_file import OpenFile
from pardata.memory.plain import numbers_of

ReadPage = Callable[[int], Any]


def page_of(starts: Array, record: int) -> int:
    """Return the page of a record, given the number of the first record of each page."""
    return int(np.searchsorted(starts, record, side="right")) - 1


def checked_target(file: OpenFile, out: Any, begin: int, handle: object) -> Array:
    """Return the array that is to take the rows from `begin` on; raise `ConfigError` if it cannot."""
    if not isinstance(out, np.ndarray):
        raise ConfigError(f"out must be an array, not {type(out).__name__}")
    target: Array = numbers_of(out, "out is")
    form = file.format
    if form.kind != "array" or target.dtype != form.dtype or target.shape[1:] != form.item_shape:
        raise ConfigError(f"out of shape {target.shape} and {target.dtype} does not take records of {handle!r}")
    if not target.flags.c_contiguous or not target.flags.writeable:
        raise ConfigError("out must be writable and C-contiguous")
    end = begin + len(target)
    if begin < 0 or end > file.records:
        raise ConfigError(f"rows {begin} to {end} of {file.records} were asked for")
    return target


def read_rows(file: OpenFile, page: ReadPage, out: Array, begin: int) -> None:
    """Fill `out` with the rows of an array from `begin` on.

    A whole page that is not compressed is read into `out` without a copy in between.
    """
    raw = out.reshape(-1).view(np.uint8).data if out.size else memoryview(b"")
    form, end = file.format, begin + len(out)
    row, size, page_rows, is_plain = begin, form.item_bytes, form.page_records, form.is_plain
    while row < end:
        number = row // page_rows
        first = number * page_rows
        last = min(end, first + page_rows)
        if is_plain and row == first and last - first == page_rows:
            file.read_into(number, raw[(row - begin) * size : (last - begin) * size])
        else:
            out[row - begin : last - begin] = page(number)[row - first : last - first]
        row = last


def read_span(file: OpenFile, page: ReadPage, chosen: range) -> Any:
    """Return consecutive records: an array of rows, or a list."""
    form, begin, end = file.format, chosen.start, chosen.stop
    if form.kind == "array":
        out = np.empty((len(chosen), *form.item_shape), form.dtype)
        read_rows(file, page, out, begin)
        return out
    records: list[Any] = []
    starts = file.starts
    while begin < end:
        number = page_of(starts, begin)
        first = int(starts[number])
        records += page(number)[begin - first : end - first]
        begin = int(starts[number + 1])
    return records


def read_strided(file: OpenFile, page: ReadPage, chosen: range) -> Any:
    """Return records in steps: an array of rows, or a list; pages without one of them are not read."""
    form, starts = file.format, file.starts
    rows = np.empty((len(chosen), *form.item_shape), form.dtype) if form.kind == "array" else None
    records: list[Any] = []
    done = 0
    while done < len(chosen):
        number = page_of(starts, chosen[done])
        first, last = int(starts[number]), int(starts[number + 1]) - 1
        count = 1 + ((last if chosen.step > 0 else first) - chosen[done]) // chosen.step  # on this page, or less
        count = min(count, len(chosen) - done)
        at = chosen[done] - first
        end = at + count * chosen.step
        part = page(number)[at : end if end >= 0 else None : chosen.step]
        if rows is not None:
            rows[done : done + count] = part
        else:
            records += part
        done += count
    return records if rows is None else rows
