"""The chains as a plain loop in one process, nothing is handed over: what the work itself costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.chains import CHAINS, STAGES, Chain, measure_arrivals


def _results(chain: Chain, seconds: float) -> Iterator[Any]:
    for x in chain.items(seconds):
        for _ in range(STAGES):
            x = chain.stage(x)
        yield x


def measure(name: str, seconds: float) -> dict[str, float]:
    """Run the chain of this name for `seconds`."""
    return measure_arrivals(CHAINS[name], _results(CHAINS[name], seconds))
