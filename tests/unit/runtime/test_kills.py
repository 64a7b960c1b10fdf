"""A worker may be killed at any line: its successor makes the run what it would have been.

The lines of pardata that one step of a stage reaches are tried, one after the other. Lines between which the step has
written nothing that outlives it count as one (see `chain.py`).
"""

import contextlib
import functools

import pytest

from tests.unit.runtime.chain import Chain

ITEMS = 8
SETUPS = {  # which stage is killed, after how many items, and what the run is like
    "source at its first item": ("source", 0, {}),
    "source": ("source", 4, {"keeps": True}),
    "source of a farm": ("source", 4, {"farm": True, "passes_on": False}),
    "source of large messages": ("source", 4, {"spills": True}),
    "source of several arrays": ("source", 4, {"rows": True, "keeps": True}),
    "source of an array in huge pages": ("source", 0, {"huge": True}),
    "stage at its first item": ("middle", 0, {"keeps": True}),
    "stage that passes on": ("middle", 4, {"keeps": True}),
    "stage that makes new arrays": ("middle", 4, {"passes_on": False}),
    "stage with two readers": ("middle", 4, {"edges": 2, "keeps": True}),
    "stage with two readers that keep nothing": ("middle", 4, {"edges": 2}),
    "worker of a farm": ("middle", 4, {"farm": True, "keeps": True}),
    "stage that awaits": ("middle", 4, {"awaits": True, "keeps": True}),
    "stage that awaits, with two readers": ("middle", 4, {"awaits": True, "edges": 2, "passes_on": False}),
    "sink at its first item": ("sink", 0, {"sink_is_worker": True}),
    "sink": ("sink", 4, {"sink_is_worker": True}),
    "stage that takes what comes first": ("middle", 4, {"policy": "arrival", "passes_on": False}),
    "stage that takes from two in turn": ("middle", 4, {"policy": "fair", "passes_on": False}),
    "stage that takes from two in turn, for two readers": ("middle", 4, {"policy": "fair", "edges": 2}),
    "stage that takes from two in turn, at its first item": ("middle", 0, {"policy": "fair"}),
    "stage that waits for each in turn": ("middle", 4, {"policy": "round_robin"}),
    "sink that pairs": ("sink", 4, {"sink_is_worker": True, "edges": 2, "passes_on": False}),
}


def what_went_wrong(chain, role):
    """Run to the end; return what is not as it would be without a kill."""
    wrong = set()
    try:
        chain.drain(ITEMS)
    except AssertionError:
        wrong.add("lost or held up")
    seen = list(dict.fromkeys(chain.values)) if role == "sink" else chain.values  # a sink may see an item again
    if seen != list(range(len(seen))):
        wrong.add("lost, doubled or mixed up")
    if chain.rival_values != list(range(len(chain.rival_values))):
        wrong.add("lost, doubled or mixed up")
    if chain.rival_values and not chain.rival_values[ITEMS // 2 :]:
        wrong.add("lost or held up")
    if chain.policy == "round_robin" and chain.came != [0, 1] * (len(chain.came) // 2) + [0] * (len(chain.came) % 2):
        wrong.add("out of turn")
    if not chain.let_go():
        wrong.add("freed too early")
    chain.settle()
    if not wrong and chain.live_bytes:
        wrong.add("memory")
    if not wrong and chain.tokens_in_flight:
        wrong.add("token")
    if not wrong and chain.slots_in_use:
        wrong.add("slot")
    return wrong


@functools.cache
def kills(setup):
    """Return {what went wrong: the lines at which the stage was killed}."""
    role, items, options = SETUPS[setup]

    def ready():
        chain = Chain(**options)
        for _ in range(items):
            chain.round()
        for name in chain.names[: chain.names.index(role)]:
            chain.step(name)
        if "policy" in options:
            for name in chain.sources:  # so that there is something to choose
                chain.step(name)
        return contextlib.closing(chain)

    found = {}
    with ready() as chain:
        lines = chain.places_in_a_step(role)
    for line in lines:
        with ready() as chain:
            killed_at = chain.step_and_kill(role, line)
            assert killed_at is not None
            chain.start(role)
            for wrong in what_went_wrong(chain, role):
                found.setdefault(wrong, []).append(killed_at)
    return found


in_any_setup = pytest.mark.parametrize("setup", list(SETUPS))


@in_any_setup
def test_nothing_is_lost_or_doubled_or_held_up(setup):
    assert kills(setup).keys() & {"lost or held up", "lost, doubled or mixed up"} == set(), kills(setup)


@in_any_setup
def test_nobody_is_out_of_turn(setup):
    assert "out of turn" not in kills(setup), kills(setup)


@in_any_setup
def test_nothing_is_freed_while_somebody_has_it(setup):
    assert "freed too early" not in kills(setup), kills(setup)


@in_any_setup
def test_all_memory_comes_back(setup):
    assert "memory" not in kills(setup), kills(setup)


@in_any_setup
def test_every_token_comes_back(setup):
    assert "token" not in kills(setup), kills(setup)


@in_any_setup
def test_every_slot_comes_back(setup):
    assert "slot" not in kills(setup), kills(setup)


def test_block_that_a_dead_worker_had_passed_on_comes_back_also_if_its_successor_has_nothing_to_do():
    with contextlib.closing(Chain(farm=True)) as chain:
        for name in ("source", "source", "middle", "other"):
            chain.step(name)
        assert chain.step_and_kill("other", 1)
        chain.start("other")
        for _ in range(5):
            for name in ("middle", "sink", "other"):
                chain.step(name)
        assert chain.values == [0, 1]
        chain.settle()
        assert chain.live_bytes == 0
