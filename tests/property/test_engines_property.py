"""Random graphs of streams: threads and processes give what the serial engine gives."""

from __future__ import annotations

from collections import defaultdict

import hypothesis
import hypothesis.strategies as st
import pytest

from tests.property.graph_stages import number_of
from tests.property.graphs import build, graphs


def outcome(steps, known, engine, tokens=None):
    """What is the same on every engine: the items of each tag, the counts, what was skipped."""
    with build(steps).iterate(engine=engine, tokens=tokens, seed=1) as run:
        items = [(tag, number_of(value)) for tag, value in run]
    report = run.report()
    by_tag = defaultdict(list)
    for tag, value in items:
        by_tag[tag].append(value)
    if not known.is_sequence:
        for group in by_tag.values():
            group.sort()
    counts = [(each.name, each.items, each.dropped, each.failed) for each in report.stages]
    # What is left by one that ends early may be taken or not.
    takes = any(step[0] in ("cut", "pairs") or (step[0] == "pipe" and step[2] == "take") for step in steps)
    skipped = sorted((each.stage, each.item, each.error) for each in report.skipped)
    whole = items if known.is_sequence and not known.merged else None
    return by_tag, whole, None if takes else (counts, skipped)


@pytest.mark.parametrize(
    ("engine", "examples"),
    [("threads", 300), ("processes", 20)],
)
def test_engine_gives_what_serial_gives(engine, examples):
    @hypothesis.settings(max_examples=examples, deadline=None)
    @hypothesis.given(
        graphs(without=("routed",)), st.sampled_from([None, 1, 2])
    )  # its branches count otherwise each time
    def compare(graph, tokens):
        steps, known = graph
        assert outcome(steps, known, engine, tokens) == outcome(steps, known, "serial")

    compare()
