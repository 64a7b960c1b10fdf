"""Random graphs of streams whose workers are killed at random: what comes out is what the serial engine gives."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import hypothesis
import hypothesis.strategies as st

from pardata.engines.processes import ProcessRun
from tests.faults.killer import Killer
from tests.property.test_engines_property import build, graphs

EXAMPLES = 25


def items_of(steps: Any, known: Any, engine: str, seed: int = 0) -> Any:
    """The items of each tag; sorted where their order is not known."""
    with build(steps).iterate(engine=engine) as run:
        killer = Killer(run, seed) if isinstance(run, ProcessRun) else None
        if killer is not None:
            killer.start()
        try:
            items = list(run)
        finally:
            if killer is not None:
                killer.stop()
    by_tag = defaultdict(list)
    for tag, value in items:
        by_tag[tag].append(value)
    return by_tag if known.is_sequence else {tag: sorted(values) for tag, values in by_tag.items()}


@hypothesis.settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(graphs(), st.integers(0, 1000))
def test_nothing_is_lost_or_doubled_in_any_graph(graph: Any, seed: int) -> None:
    steps, known = graph
    hypothesis.assume(all(step[0] != "pipe" for step in steps))  # a generator function loses its state
    assert items_of(steps, known, "processes", seed) == items_of(steps, known, "serial")
