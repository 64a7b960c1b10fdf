"""Maps over items that take unequal time: "auto" beside the best fixed chunksize and beside other pools.

The loads are those of `tests/unit/pool/loads.py`, cut to some half a second of work for two workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Rival
from benchmarks.timing import outcome

WORKERS = 2


def _lognormal() -> Any:
    return np.random.default_rng(0).lognormal(np.log(0.4e-3), 1.5, 800)


def _cluster() -> Any:
    items = np.full(2_000, 1e-4)
    items[900:940] *= 200
    return items


LOADS: dict[str, tuple[str, Callable[[], Any]]] = {
    "A": ("short: 20 us each", lambda: np.full(50_000, 20e-6)),
    "B": ("long: 5 ms each", lambda: np.full(200, 5e-3)),
    "C": ("lognormal", _lognormal),
    "D": ("rising", lambda: np.linspace(0, 2e-3, 1_000)),
    "E": ("falling", lambda: np.linspace(2e-3, 0, 1_000)),
    "F": ("fast, then slow", lambda: np.r_[np.full(9_000, 2e-6), np.full(1_000, 1e-3)]),
    "G": ("a hot cluster", _cluster),
    "H": ("one worker is half as fast", lambda: np.full(200, 5e-3)),
}


def spend(seconds: float) -> float:
    """Use a core for so long."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return seconds


def spend_unequally(seconds: float) -> float:
    """The first worker is half as fast; only pardata's workers know their number."""
    import pardata

    spend(seconds * (2 if pardata.worker().index == 0 else 1))
    return seconds


def _load(letter: str, rival: Rival, seconds: float) -> Outcome:
    """Seconds for the whole load."""
    items = LOADS[letter][1]().tolist()
    fn = spend_unequally if letter == "H" else spend
    taken = []
    with rival.pool(WORKERS) as pool:
        assert list(pool.map(fn, items, None)) == items  # a rival that looks for its best chunksize does so here
        for _ in range(2):
            begin = time.perf_counter()
            pool.map(fn, items, None)
            taken.append(time.perf_counter() - begin)
    return outcome(taken, len(items))


def _simulated(workers: int, chunksize: str, rival: Rival, seconds: float) -> Outcome:
    """The least efficiency over the loads, of the pure chunk policy on workers that are simulated."""
    from tests.unit.pool.loads import LOADS as names
    from tests.unit.pool.loads import efficiency

    found = [efficiency(name, workers, chunksize) for name in names]
    assert all(0 < each <= 1 for each in found), f"efficiencies of {found}"
    return {"value": 100 * min(found), "items": len(found), "all": found}


OTHERS = ("mp.Pool", "joblib", "mpire")
REAL = tuple(
    Case(
        f"loads_{letter}",
        title,
        "s",
        ("pardata", "pardata, best fixed chunk", *(OTHERS if letter in "FG" else ())),
        partial(_load, letter),
        quick=("pardata",) if letter == "B" else (),
    )
    for letter, (title, _) in LOADS.items()
)

SIMULATED = (
    ("simulated_16", "worst efficiency of the loads, 16 workers simulated", 16, "auto"),
    ("simulated_64", "worst efficiency of the loads, 64 workers simulated", 64, "auto"),
    ("simulated_16_static", 'the same for "static", 16 workers', 16, "static"),
)
CASES = (
    *REAL,
    *(
        Case(name, title, "%", ("pardata",), partial(_simulated, workers, chunksize), quick=())
        for name, title, workers, chunksize in SIMULATED
    ),
)
