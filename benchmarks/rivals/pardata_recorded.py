"""pardata with ``record=True``: what it costs to record a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.rivals import rival
from benchmarks.rivals.pardata import chained
from benchmarks.rivals.rival import Flow


class Rival(rival.Rival):
    def chain(self, flow: Flow) -> Iterator[Any]:
        with chained(flow).iterate(record=True) as run:
            yield from run
