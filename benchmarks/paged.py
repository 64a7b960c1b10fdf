"""A paged file of 200 MB that the system has in its cache, beside bare reads of the same bytes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import pardata

ROWS, ROW_BYTES = 3200, 65536
READS, ROUNDS = 4000, 7


def _array() -> Any:
    return np.random.default_rng(0).integers(0, 255, (ROWS, ROW_BYTES), np.uint8)


def _numbers() -> list[int]:
    numbers: list[int] = np.random.default_rng(1).integers(0, ROWS, READS).tolist()
    return numbers


def _measure(work: Callable[[], Any], items: int) -> dict[str, Any]:
    """The median seconds per item, after a warm-up."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        seconds.append((time.perf_counter() - begin) / items)
    return {"value": statistics.median(seconds), "items": items, "rounds": seconds}


def _file(folder: str, page_bytes: int) -> pardata.PagedFile:
    path = f"{folder}/file"
    with pardata.PagedFile.create(path, dtype=np.uint8, item_shape=(ROW_BYTES,), page_bytes=page_bytes) as writer:
        writer.extend(_array())
    return pardata.PagedFile(path)


def random_pages(name: str, seconds: float) -> dict[str, Any]:
    """`PagedFile.page` of random pages of 64 KiB."""
    numbers = _numbers()
    with tempfile.TemporaryDirectory() as folder, _file(folder, ROW_BYTES) as file:
        return _measure(lambda: [file.page(number) is None for number in numbers], READS)


def random_pread(name: str, seconds: float) -> dict[str, Any]:
    """`os.pread` of as many bytes at as many places."""
    offsets = [number * ROW_BYTES for number in _numbers()]
    with tempfile.TemporaryDirectory() as folder:
        _array().tofile(f"{folder}/file")
        fd = os.open(f"{folder}/file", os.O_RDONLY)
        try:
            return _measure(lambda: [os.pread(fd, ROW_BYTES, offset) is None for offset in offsets], READS)
        finally:
            os.close(fd)


def sequential_pages(name: str, seconds: float) -> dict[str, Any]:
    """All pages of 1 MiB, one after the other, in a process that has not read them before."""
    with tempfile.TemporaryDirectory() as folder, _file(folder, 1 << 20) as file:

        def read() -> None:
            with pardata.PagedFile(file.path) as fresh:
                for number in range(fresh.page_count):
                    fresh.page(number)

        return _measure(read, 1)


def sequential_whole(name: str, seconds: float) -> dict[str, Any]:
    """All rows as one new array, in a process that has not read them before."""
    with tempfile.TemporaryDirectory() as folder, _file(folder, 1 << 20) as file:
        return _measure(lambda: len(pardata.PagedFile(file.path)[:]), 1)


def sequential_fromfile(name: str, seconds: float) -> dict[str, Any]:
    """`numpy.fromfile`, as one new array."""
    with tempfile.TemporaryDirectory() as folder:
        _array().tofile(f"{folder}/file")
        return _measure(lambda: len(np.fromfile(f"{folder}/file", np.uint8)), 1)
