"""One process and a loop: the cost of the work itself. NumPy's own functions for files, a dict for look-ups."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.rivals import rival
from benchmarks.rivals.rival import ArrayWork, Flow, Pool

PART_BYTES = 1 << 20


class Rival(rival.Rival):
    def chain(self, flow: Flow) -> Iterator[Any]:
        for x in flow.plain():
            for stage in flow.stages:
                x = stage(x)
            yield x

    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        return self.chain(flow)

    def broadcast(self, flow: Flow) -> Iterator[Any]:
        return (stage(x) for x in flow.plain() for stage in flow.stages)

    def gather(self, flows: list[Flow]) -> Iterator[Any]:
        return (x for flow in flows for x in flow.plain())

    def diamond(self, flow: Flow, join: Callable[[Any, Any], Any]) -> Iterator[Any]:
        left, right = flow.stages
        return (join(left(x), right(x)) for x in flow.plain())

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        yield Pool(lambda fn, items, chunksize: [fn(x) for x in items], lambda fn, x: fn(x))

    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        a = work.filled()
        yield lambda: work.fn(a)

    def lookup(
        self, place: str, keys: Any, values: Any, look: Callable[..., list[float]], *arguments: Any
    ) -> list[float]:
        return look(dict(zip(keys.tolist(), values.tolist(), strict=True)), *arguments)

    @contextmanager
    def random_pages(self, array: Any, numbers: list[int]) -> Iterator[Callable[[], int]]:
        row_bytes = array[0].nbytes
        offsets = [number * row_bytes for number in numbers]
        with tempfile.TemporaryDirectory() as folder:
            array.tofile(f"{folder}/file")
            fd = os.open(f"{folder}/file", os.O_RDONLY)
            try:
                yield lambda: len([None for offset in offsets if len(os.pread(fd, row_bytes, offset)) == row_bytes])
            finally:
                os.close(fd)

    @contextmanager
    def all_pages(self, array: Any, whole: bool) -> Iterator[Callable[[], int]]:
        with tempfile.TemporaryDirectory() as folder:
            array.tofile(f"{folder}/file")
            yield lambda: np.fromfile(f"{folder}/file", array.dtype).size // array[0].size
