"""The chains on pardata: a generator function (a process of its own) and three stages."""

from __future__ import annotations

import pardata
from benchmarks.chains import CHAINS, STAGES, measure_arrivals


def measure(name: str, seconds: float) -> dict[str, float]:
    """Run the chain of this name for `seconds`."""
    chain = CHAINS[name]

    def source():  # type: ignore[no-untyped-def]
        yield from chain.items(seconds, pardata.empty)

    stream = pardata.source(source)
    for _ in range(STAGES):
        stream = stream.map(chain.stage, inplace=chain.inplace)
    return measure_arrivals(chain, stream)
