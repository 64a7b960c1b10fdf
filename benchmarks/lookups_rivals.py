"""Other places for the same million values: a dict in a manager process, and one of the worker's own."""

from __future__ import annotations

import multiprocessing
from typing import Any

from benchmarks.lookups import asked, contents, measure_rounds, one_by_one, outcome

COUNT = 20_000


def _time(lookup: Any, rounds: list[Any]) -> list[float]:
    return measure_rounds(one_by_one(lookup, 1), rounds)


def manager(name: str, seconds: float) -> dict[str, Any]:
    """`multiprocessing.Manager().dict()`, asked by a worker."""
    keys, values = contents()
    rounds = asked(keys, COUNT)
    context = multiprocessing.get_context("fork")
    with context.Manager() as managed, context.Pool(1) as pool:
        lookup = managed.dict(zip(keys.tolist(), values.tolist(), strict=True))
        return outcome(pool.apply(_time, (lookup, rounds)), COUNT)


def private(name: str, seconds: float) -> dict[str, Any]:
    """A dict that every worker has for itself: what no shared one can be faster than."""
    keys, values = contents()
    return outcome(_time(dict(zip(keys.tolist(), values.tolist(), strict=True)), asked(keys, COUNT)), COUNT)
