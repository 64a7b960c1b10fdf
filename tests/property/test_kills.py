"""Stages that are killed at any lines, several at a time, and while they recover: what comes out is what came in."""

import contextlib
import gc

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.runtime.chain import Chain

ITEMS = 8


@st.composite
def runs(draw):
    """(how the chain is made, [(stage, line at which it is killed or None)]). A stage that is dead is started first."""
    options = {
        "edges": draw(st.integers(1, 2)),
        "farm": draw(st.booleans()),
        "passes_on": draw(st.booleans()),
        "keeps": draw(st.booleans()),
        "sink_is_worker": draw(st.booleans()),
    }
    stages = ["source", "middle", *["other"] * options["farm"], "sink"]
    mortal = stages if options["sink_is_worker"] else stages[:-1]
    step = st.tuples(st.sampled_from(stages), st.none())
    kill = st.tuples(st.sampled_from(mortal), st.integers(1, 600))
    return options, draw(st.lists(st.one_of(step, step, kill), max_size=25))


def play(chain, events):
    for name, line in events:
        if line is not None:
            chain.step_and_kill(name, line)
            gc.collect()  # a port that was killed while it was being made still has its selector
        else:
            chain.step(name)


@settings(max_examples=40, deadline=None)
@given(runs())
def test_what_comes_out_is_what_came_in_and_everything_is_given_back(run):
    options, events = run
    with contextlib.closing(Chain(**options)) as chain:
        play(chain, events)
        chain.drain(ITEMS)
        # A sink that was killed may process an item again: what it does happens at least once.
        values = list(dict.fromkeys(chain.values)) if options["sink_is_worker"] else chain.values
        assert values == list(range(len(values)))
        assert chain.let_go()
        chain.settle()
        assert (chain.live_bytes, chain.tokens_in_flight, chain.slots_in_use) == (0, 0, 0)
