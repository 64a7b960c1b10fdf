"""The life of a worker: what is in the table can happen, nothing else can, and every life comes to an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pardata.errors import InternalError
from pardata.process.lifecycle import _TABLE, DEATHS_PER_ITEM, IN_A_ROW, Action, Deaths, Event, Life, State


def reachable(start):
    found, waiting = set(), [start]
    while waiting:
        state = waiting.pop()
        if state not in found:
            found.add(state)
            waiting += [after for after, _ in _TABLE[state].values()]
    return found


def test_every_state_has_a_row_and_can_be_reached():
    assert set(_TABLE) == set(State) == reachable(State.NEW)


@pytest.mark.parametrize("state", State)
def test_every_life_can_end(state):
    assert State.ENDED in reachable(state)


@pytest.mark.parametrize("state", State)
def test_a_worker_that_is_told_to_end_gets_no_other_process(state):
    if Event.STOP in _TABLE[state]:
        after, _ = _TABLE[state][Event.STOP]
        assert not any(action is Action.START for then in reachable(after) for _, action in _TABLE[then].values())


def test_what_cannot_happen_is_an_error_that_tells_the_history():
    life = Life("a worker of 'read'")
    assert life.on(Event.STARTED) is Action.NONE
    assert life.on(Event.TOO_LATE) is Action.KILL
    with pytest.raises(InternalError, match="a worker of 'read' is too late while it is overdue; .*: started, is too"):
        life.on(Event.TOO_LATE)
    assert life.state is State.OVERDUE
    assert life.on(Event.DIED) is Action.START


@given(st.lists(st.sampled_from(Event)))
def test_an_event_is_taken_as_the_table_says_or_changes_nothing(events):
    life = Life("it")
    for event in events:
        before = life.state
        try:
            action = life.on(event)
        except InternalError:
            assert event not in _TABLE[before] and life.state is before
        else:
            assert (life.state, action) == _TABLE[before][event]


# -- how often it may die ----------------------------------------------------------------------------------------------


def test_deaths_for_nothing_are_paused_for_twice_as_long_each_and_counted():
    deaths = Deaths()
    pauses = []
    for count in range(1, IN_A_ROW + 1):
        assert deaths.for_nothing(done=7, lived_s=0.1) == count
        pauses.append(deaths.pause_s)
    assert pauses[:5] == [0, 0.02, 0.04, 0.08, 0.16]
    assert max(pauses) == pauses[-1] == 2.0


@pytest.mark.parametrize(("done", "lived_s"), [(8, 0.1), (7, 10.0)])
def test_a_process_that_has_done_something_or_lived_long_has_not_died_in_a_row(done, lived_s):
    deaths = Deaths()
    for _ in range(5):
        deaths.for_nothing(done=7, lived_s=0.1)
    assert deaths.for_nothing(done, lived_s) == 1
    assert deaths.pause_s == 0


def test_a_death_at_an_item_counts_for_the_item_and_is_not_paused():
    deaths = Deaths()
    deaths.for_nothing(0, 0)
    deaths.for_nothing(0, 0)
    assert [deaths.at_item((0, 5)), deaths.at_item((0, 6)), deaths.at_item((0, 5))] == [1, 1, 2]
    assert deaths.pause_s == 0
    assert [deaths.late((0, 5)), deaths.late((0, 5))] == [1, 2]


def test_deaths_while_calls_are_awaited_are_counted_up_to_the_limit_and_not_paused():
    deaths = Deaths()
    deaths.for_nothing(0, 0)
    deaths.for_nothing(0, 0)
    assert [deaths.while_awaiting() for _ in range(5)] == [1, 2, DEATHS_PER_ITEM, 1, 2]
    assert deaths.pause_s == 0


def test_refusals_of_the_system_are_paused_and_end_after_ten():
    deaths = Deaths()
    assert [deaths.refused() for _ in range(IN_A_ROW)] == [True] * (IN_A_ROW - 1) + [False]
    assert deaths.pause_s == 2.0
    deaths.started()
    assert deaths.pause_s == 0
    assert deaths.refused()
    assert deaths.pause_s == 0.02
