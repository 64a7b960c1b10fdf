"""pypeln's processes: stages with bounded queues, `ordered` behind a farm."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from benchmarks.rivals import rival
from benchmarks.rivals.mp_queue import maxsize
from benchmarks.rivals.rival import Flow

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependency stopit uses a deprecated module
    import pypeln


class Rival(rival.Rival):
    def chain(self, flow: Flow) -> Iterator[Any]:
        stage: Any = flow.plain()
        for fn in flow.stages:
            stage = pypeln.process.map(fn, stage, workers=1, maxsize=maxsize(flow.nbytes))
        return iter(stage)

    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        stage = pypeln.process.map(flow.stages[0], flow.plain(), workers=workers, maxsize=maxsize(flow.nbytes))
        return iter(pypeln.process.ordered(stage))
