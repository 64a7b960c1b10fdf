"""Random graphs of streams whose workers are killed at random, until enough kills have been counted.

    python -m tests.faults.random_plans 1000 0           # a thousand kills, beginning with seed 0
    python -m tests.faults.random_plans 1000 0 cluster   # on nodes that are in this process, and of which some are lost

What comes out, or what a sink has got, is compared with what the serial engine gives: in its order as far as the plan
promises one, else as what it is without an order. A kill counts if a worker was lost by it and had to be
replaced: one that hits a worker which has said that it is done changes nothing. Workers of stages with workers="auto"
begin and rest all the time. A graph that fails is told with its steps and the seed of the kills, after it has been made
as small as possible.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import hypothesis
import hypothesis.strategies as st

from pardata.cluster.island import OpenIsland
from pardata.engines.processes.engine import ProcessRun
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.run import Engine, RunOptions, start
from tests.faults.killer import Killer
from tests.faults.restless import restless_workers
from tests.property.graph_stages import number_of
from tests.property.graphs import build, graphs
from tests.unit.cluster.fake_port import FakeCluster, FakePort

MOST_ITEMS = 500
MOST_KILLS = 10  # of one run: it is to have many plans
PLANS_AT_A_TIME = 10


@dataclass
class Count:
    """What was done."""

    plans: int = 0
    plans_hit: int = 0
    kills: int = 0
    kinds: Counter[str] = field(default_factory=Counter)  # steps of the plans that were hit


def losing(seed: int) -> FakeCluster:
    """Return a cluster that loses a node at two of its calls."""
    lost_at = {1 + seed % 7, 10 + seed % 89}

    def on_call(port: FakePort, node: str, number: int) -> None:
        if len(port.calls) in lost_at:
            port.lose(node)

    return FakeCluster(on_call=on_call)


def runs_of(cluster: FakeCluster) -> list[Any]:
    """Return the runs on its nodes."""
    islands = [island for port in list(cluster.ports) for island in list(port.islands.values())]
    return [line._run for island in islands if isinstance(island, OpenIsland) for line in list(island._lines)]


def items_of(steps: Any, known: Any, engine: Engine | FakeCluster, end: str = "loop", seed: int = 0) -> tuple[Any, int]:
    """Return the items as they can be compared, and how many workers were replaced."""
    items: list[Any] = []
    stream = build(steps)
    sink = stream if end == "loop" else stream.to(items if end == "list" else items.append, kind="thread")
    share = Plan(sink._node, iterated=end == "loop").share
    cores = share.others + share.stages + 2  # three workers for each stage with workers="auto"
    with start(Plan(sink._node, iterated=end == "loop", cores=cores), engine, RunOptions(seed=1)) as run:
        others = partial(runs_of, engine) if isinstance(engine, FakeCluster) else list
        killer = Killer(run, seed, MOST_KILLS, others) if isinstance(run, ProcessRun) else None
        if killer is not None:
            killer.start()
        try:
            items += run
        finally:
            if killer is not None:
                killer.stop()
    return comparable([(tag, number_of(value)) for tag, value in items], known), sum(
        stage.restarts for stage in run.report().stages
    )


def comparable(items: list[tuple[str, int]], known: Any) -> Any:
    """Return the items in their order; where only that of each tag is known, by tag; where that is not, sorted."""
    if known.is_total:
        return items
    by_tag = defaultdict(list)
    for tag, value in items:
        by_tag[tag].append(value)
    return by_tag if known.is_sequence else {tag: sorted(values) for tag, values in by_tag.items()}


def kind_of(step: Any) -> str:
    """Return the kind of a step, and how it shares its items."""
    workers = step[-1]["workers"] if isinstance(step[-1], dict) else step[-1]
    return f"merge {step[-1]}" if step[0] == "merge" else f"{step[0]} auto" if workers == "auto" else str(step[0])


def play(kills: int, seed: int = 0, on_cluster: bool = False) -> Count:
    """Run plans until `kills` kills have been counted; raises AssertionError for the first plan that is not exact."""
    count = Count()

    def compare(graph: Any, end: str, kill_seed: int) -> None:
        steps, known = graph
        with restless_workers():
            engine = losing(kill_seed) if on_cluster else "processes"
            found, restarts = items_of(steps, known, engine, end, kill_seed)
        count.plans += 1
        count.plans_hit += restarts > 0
        count.kills += restarts
        count.kinds.update(kind_of(step) for step in steps if restarts)
        assert found == items_of(steps, known, "serial")[0]

    plans = graphs(MOST_ITEMS, without=("pipe",))  # which loses its state
    given = hypothesis.given(plans, st.sampled_from(["loop", "loop", "list", "thread"]), st.integers(0, 1000))
    settings = hypothesis.settings(
        max_examples=PLANS_AT_A_TIME, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    while count.kills < kills:
        hypothesis.seed(seed)(settings(given(compare)))()
        seed += 1
    return count


def main() -> None:
    kills, seed = (int(argument) for argument in sys.argv[1:3])
    begin = time.monotonic()
    count = play(kills, seed, on_cluster=sys.argv[3:] == ["cluster"])
    print(
        f"{count.kills} workers killed and replaced in {count.plans_hit} of {count.plans} random plans, "
        f"in {time.monotonic() - begin:.0f} s: nothing lost, nothing doubled, all in order"
    )
    print(", ".join(f"{kind} {times}" for kind, times in sorted(count.kinds.items())))


if __name__ == "__main__":
    main()
