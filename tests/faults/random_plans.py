"""Random graphs of streams whose workers are killed at random, until enough kills have been counted.

    python -m tests.faults.random_plans 1000 0      # a thousand kills, beginning with seed 0

What comes out is compared with what the serial engine gives. A kill counts if a worker was lost by it and had to be
replaced: one that hits a worker which has said that it is done changes nothing. A graph that fails is told with its
steps and the seed of the kills, after it has been made as small as possible.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import hypothesis
import hypothesis.strategies as st

from pardata.engines.processes import ProcessRun
from tests.faults.killer import Killer
from tests.property.graph_stages import number_of
from tests.property.graphs import build, graphs

MOST_ITEMS = 300
MOST_KILLS = 10  # of one run: it is to have many plans
PLANS_AT_A_TIME = 10


@dataclass
class Count:
    """What was done."""

    plans: int = 0
    plans_hit: int = 0
    kills: int = 0


def items_of(steps: Any, known: Any, engine: str, seed: int = 0) -> tuple[Any, int]:
    """Return the items of each tag, sorted where their order is not known, and how many workers were replaced."""
    with build(steps).iterate(engine=engine) as run:  # type: ignore[arg-type]
        killer = Killer(run, seed, MOST_KILLS) if isinstance(run, ProcessRun) else None
        if killer is not None:
            killer.start()
        try:
            items = list(run)
        finally:
            if killer is not None:
                killer.stop()
    by_tag = defaultdict(list)
    for tag, value in items:
        by_tag[tag].append(number_of(value))
    found = by_tag if known.is_sequence else {tag: sorted(values) for tag, values in by_tag.items()}
    return found, sum(stage.restarts for stage in run.report().stages)


def play(kills: int, seed: int = 0) -> Count:
    """Run plans until `kills` kills have been counted; raises AssertionError for the first plan that is not exact."""
    count = Count()

    def compare(graph: Any, kill_seed: int) -> None:
        steps, known = graph
        found, restarts = items_of(steps, known, "processes", kill_seed)
        count.plans += 1
        count.plans_hit += restarts > 0
        count.kills += restarts
        assert found == items_of(steps, known, "serial")[0]

    given = hypothesis.given(graphs(MOST_ITEMS, without=("pipe",)), st.integers(0, 1000))  # a pipe loses its state
    settings = hypothesis.settings(
        max_examples=PLANS_AT_A_TIME, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    while count.kills < kills:
        hypothesis.seed(seed)(settings(given(compare)))()
        seed += 1
    return count


def main() -> None:
    kills, seed = (int(argument) for argument in sys.argv[1:])
    begin = time.monotonic()
    count = play(kills, seed)
    print(
        f"{count.kills} workers killed and replaced in {count.plans_hit} of {count.plans} random plans, "
        f"in {time.monotonic() - begin:.0f} s: nothing lost, nothing doubled"
    )


if __name__ == "__main__":
    main()
