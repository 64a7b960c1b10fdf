"""Stages with workers="auto" beside the best fixed workers: simulated, and in runs whose stages sleep or compute.

The plans are those of `tests/unit/runtime/allotted.py`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

import pardata
from benchmarks.case import Case, Outcome
from benchmarks.rivals import Rival

CORES = 8


def _simulated(rival: Rival, seconds: float) -> Outcome:
    """The least speed on a plan, in percent of that with the best fixed workers."""
    from tests.unit.runtime.allotted import CASES as PLANS
    from tests.unit.runtime.allotted import Simulation
    from tests.unit.runtime.test_allotment import BEST_S

    found = [
        best_s / Simulation(PLANS[name](cores), cores).tuned()
        for cores, plans in BEST_S.items()
        for name, best_s in plans.items()
    ]
    return {"value": 100 * min(found), "items": len(found), "all": found}


def sleeper(cost: Any, number: int) -> int:
    """Sleep for as long as the cost of an item says."""
    time.sleep(cost[number])
    return number


def is_kept(keeps: Any, number: int) -> bool:
    """Return whether an item is kept."""
    return bool(keeps[number])


def sleeping(plan: Any, workers: dict[int, Any]) -> pardata.Stream:
    """Return a stream whose stages sleep as those of a simulated plan; `workers`: of each."""
    streams: list[pardata.Stream] = []
    for at, step in enumerate(plan.steps):
        if not step.inputs:
            streams.append(pardata.source(range(plan.items)))
        elif step.is_joined:
            streams.append(pardata.zip(*(streams[read] for read in step.inputs)).map(min))
        else:
            options = {"workers": workers.get(at, 1), "chunksize": 1, "name": f"stage {at}"}
            stream = streams[step.inputs[0]].map(partial(sleeper, step.cost), **options)
            streams.append(stream if step.keeps is None else stream.filter(partial(is_kept, step.keeps)))
    return streams[-1]


def ratio_of_sleeping(name: str, best: tuple[int, ...], scale: float = 1.0) -> float:
    """Return the speed with workers="auto" in percent of that with the workers `best`, on a plan whose stages sleep."""
    from tests.unit.runtime.allotted import CASES as PLANS

    plan = PLANS[name](CORES)
    plan = plan._replace(steps=[step._replace(cost=step.cost * scale) for step in plan.steps])
    autos = [at for at, step in enumerate(plan.steps) if step.auto]
    said = sleeping(plan, dict(zip(autos, best, strict=True))).run(tokens=plan.tokens)
    auto = sleeping(plan, dict.fromkeys(autos, "auto")).run(cores=CORES, tokens=plan.tokens)
    return 100 * said.seconds / auto.seconds


def _sleeping(rival: Rival, seconds: float) -> Outcome:
    return {"value": ratio_of_sleeping("chain", (2, 4, 2), 0.3), "items": 1}


def compute(number: int) -> int:
    """Keep a core busy for about a millisecond."""
    for _ in range(10):
        np.sqrt(np.arange(30_000.0)).sum()
    return number


def _on_two_cores(rival: Rival, seconds: float) -> Outcome:
    """The speed of a chain that computes on two cores, in percent of that with one worker for each stage."""
    count = int(150 * seconds)
    taken: dict[Any, list[float]] = {1: [], "auto": []}
    for _ in range(3):
        for workers, times in taken.items():
            stream = pardata.source(range(count)).map(compute, workers=workers, name="first")
            report = stream.map(compute, workers=workers, name="second").run(cores=2)
            times.append(report.seconds)
    return {"value": 100 * min(taken[1]) / min(taken["auto"]), "items": count}


CASES = (
    Case("auto_simulated", 'workers="auto" of 22 simulated plans, the worst', "%", ("pardata",), _simulated, quick=()),
    Case("auto_sleeping", 'workers="auto" of a chain that sleeps', "%", ("pardata",), _sleeping, quick=()),
    Case("auto_two_cores", 'workers="auto" on two cores', "%", ("pardata",), _on_two_cores, quick=()),
)
