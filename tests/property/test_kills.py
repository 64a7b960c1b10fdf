"""Stages that are killed at any lines, also while they recover: what comes out is what came in."""

import contextlib
import gc

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.runtime.chain import Chain

ITEMS = 8


@st.composite
def runs(draw):
    """(how the chain is made, steps and kills). A kill is at a line of a step, then at lines of the recoveries."""
    options = {
        "edges": draw(st.integers(1, 2)),
        "farm": draw(st.booleans()),
        "passes_on": draw(st.booleans()),
        "keeps": draw(st.booleans()),
    }
    workers = ["source", "middle", "other"] if options["farm"] else ["source", "middle"]
    step = st.tuples(st.sampled_from([*workers, "sink"]), st.none())
    kill = st.tuples(st.sampled_from(workers), st.lists(st.integers(1, 600), min_size=1, max_size=3))
    return options, draw(st.lists(st.one_of(step, step, kill), max_size=20))


def play(chain, events):
    chain.round()  # kills at the first item: see tests/unit/runtime/test_kills.py
    for name, lines in events:
        if lines is None:
            chain.step(name)
            continue
        first, *again = lines
        if chain.step_and_kill(name, first) is None:
            continue
        for line in again:
            killed_at = chain.restart_and_kill(name, line)
            gc.collect()  # a port that was killed while it was being made still has its selector
            if killed_at is None:
                break
        else:
            chain.start(name)


@settings(max_examples=30, deadline=None)
@given(runs())
def test_what_comes_out_is_what_came_in_and_everything_is_given_back(run):
    options, events = run
    with contextlib.closing(Chain(**options)) as chain:
        play(chain, events)
        chain.drain(ITEMS)
        assert chain.values == list(range(len(chain.values)))
        assert chain.let_go()
        chain.settle()
        assert (chain.live_bytes, chain.tokens_in_flight, chain.slots_in_use) == (0, 0, 0)
