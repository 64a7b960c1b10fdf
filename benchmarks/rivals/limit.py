"""The limits for any library: the bytes of an array through two bare pipes; workers that never wait for room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.rivals import rival
from benchmarks.rivals.rival import Flow, Link


def echo(read: int, write: int, nbytes: int) -> None:
    """Send back what comes, until nothing comes."""
    while data := os.read(read, nbytes):
        os.write(write, data)


class Rival(rival.Rival):
    @contextmanager
    def ping_pong(self, nbytes: int) -> Iterator[Link]:
        """A forked process; up to a page, which a pipe takes and gives as a whole."""
        assert nbytes <= 4096
        here, there = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(there[1])
                echo(there[0], here[1], nbytes)
            finally:
                os._exit(0)
        os.close(there[0])

        def call(x: Any) -> Any:
            os.write(there[1], x.data)
            return np.frombuffer(os.read(here[0], nbytes))

        try:
            yield call
        finally:
            os.close(there[1])
            os.waitpid(pid, 0)

    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        """Everything is handed out at the beginning: for work that only waits."""
        with ThreadPoolExecutor(workers) as executor:
            yield from executor.map(flow.stages[0], flow.plain())
