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
SLEEPING = {  # the best fixed workers with so many cores, as the simulation finds them
    "chain": (2, 4, 2),
    "farm": (8,),
    "diamond": (1, 3, 2, 1),
    "filter": (3, 5),
    "slow tail": (1, 1, 6),
    "changing load": (4, 3, 1),
    "bursts": (1, 6, 1),
    "waiting for disks": (5, 1, 2),
    "heavy-tailed": (1, 4, 3),
    "serial bottleneck": (1, 5),
    "memory": (2, 4, 2),
}
SCALE = 0.6  # of the simulated times: a run takes 12 to 20 s


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
    said_s = _seconds(sleeping(plan, dict(zip(autos, best, strict=True))), tokens=plan.tokens)
    # A step that keeps some items is a stage and a filter here, which has a worker of its own.
    cores = CORES + sum(step.keeps is not None for step in plan.steps)
    auto_s = _seconds(sleeping(plan, dict.fromkeys(autos, "auto")), cores=cores, tokens=plan.tokens)
    return 100 * said_s / auto_s


def _seconds(stream: pardata.Stream, **options: Any) -> float:
    """Return how long a run takes from its first item on: how fast processes start is measured elsewhere."""
    with stream.iterate(**options) as run:
        next(run)
        begin = time.perf_counter()
        for _ in run:
            pass
        return time.perf_counter() - begin


def _sleeping(name: str, rival: Rival, seconds: float) -> Outcome:
    return {"value": ratio_of_sleeping(name, SLEEPING[name], SCALE), "items": 1}


def _sleeping_case(name: str) -> Case:
    title = f'workers="auto" of the plan {name!r}, whose stages sleep'
    short = "_".join(["auto", *name.replace("-", " ").split()])
    return Case(short, title, "%", ("pardata",), partial(_sleeping, name), quick=())


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
    *map(_sleeping_case, SLEEPING),
    Case("auto_two_cores", 'workers="auto" on two cores', "%", ("pardata",), _on_two_cores, quick=()),
)
