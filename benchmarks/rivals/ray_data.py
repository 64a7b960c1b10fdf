"""Ray Data: a dataset of the items' numbers, which the stages make into rows; they are taken in order.

It reads from sources of its own, so the numbers are not sent there: `ray.data.range` has them, a block for each row, as
the arrays that are made of them are large. Needs pyarrow and pandas.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any

import numpy as np
import ray

from benchmarks.rivals import rival
from benchmarks.rivals.ray_nodes import two_nodes
from benchmarks.rivals.rival import Flow

MOST_ITEMS = 1000  # of a flow; the dataset is left when the flow has no more
COLUMN = "made"
JOIN_S = 2.0


@contextmanager
def _threads_joined() -> Iterator[None]:
    """Join the threads that were started meanwhile: one that calls Ray after its shutdown ends the process."""
    before = set(threading.enumerate())
    try:
        yield
    finally:
        for thread in set(threading.enumerate()) - before:
            thread.join(JOIN_S)


class Rival(rival.Rival):
    writable = False

    def nodes(self, flow: Flow) -> Iterator[Any]:
        stages = flow.stages

        def made(row: dict[str, Any]) -> dict[str, Any]:
            x: Any = np.array([row["id"]], float)
            for stage in stages:
                x = stage(x)
            return {COLUMN: x}

        with two_nodes(), _threads_joined():
            context = ray.data.DataContext.get_current()
            context.execution_options.preserve_order = True
            context.enable_progress_bars = False
            dataset = ray.data.range(MOST_ITEMS, override_num_blocks=MOST_ITEMS).map(made)
            with closing(iter(dataset.iter_rows())) as rows:  # or it goes on when Ray is shut down
                first = next(rows)  # here, as actors are up before their flow begins
                for _, row in zip(flow.plain(), chain([first], rows), strict=False):
                    yield row[COLUMN]
