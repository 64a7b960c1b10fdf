import itertools
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakSet

import pytest

from pardata.errors import InternalError, WorkerLostError
from pardata.pool.lifecycle import PoolEvent, PoolLife, PoolState


def after(*events, error=None):
    life = PoolLife()
    for event in events:
        life.on(event, error if event is PoolEvent.BREAK else None)
    return life


def test_a_pool_starts_takes_jobs_closes_and_ends():
    life = PoolLife()
    seen = [life.state]
    for event in (PoolEvent.STARTED, PoolEvent.CLOSE, PoolEvent.ENDED):
        life.on(event)
        seen.append(life.state)
    assert seen == [PoolState.STARTING, PoolState.OPEN, PoolState.CLOSING, PoolState.OVER]


def test_only_an_open_pool_takes_jobs():
    after(PoolEvent.STARTED).check_open()
    with pytest.raises(RuntimeError, match="after shutdown"):
        after(PoolEvent.STARTED, PoolEvent.CLOSE).check_open()
    with pytest.raises(RuntimeError, match="after shutdown"):
        after(PoolEvent.STARTED, PoolEvent.CLOSE, PoolEvent.ENDED).check_open()


def closed_elsewhere(life):
    with ThreadPoolExecutor(1) as others:
        others.submit(life.on, PoolEvent.CLOSE).result()
        with pytest.raises(RuntimeError, match="after shutdown"):
            others.submit(life.check_open).result()


def test_a_call_that_had_begun_may_give_a_closed_pool_jobs_until_its_end():
    life, woken = after(PoolEvent.STARTED), []
    with life.calling(lambda: woken.append(1)):
        with life.calling(lambda: woken.append(2)):
            closed_elsewhere(life)
        life.check_open()
        assert life.callers and not woken
    assert not life.callers and woken == [1]
    with life.calling(lambda: woken.append(3)), pytest.raises(RuntimeError, match="after shutdown"):
        assert not life.callers
        life.check_open()


def test_no_call_is_waited_for_by_its_own_thread_or_keeps_a_broken_pool():
    life = after(PoolEvent.STARTED)
    with life.calling(list):
        life.on(PoolEvent.CLOSE)
        life.let_go(WeakSet())
        with pytest.raises(RuntimeError, match="after shutdown"):
            life.check_open()
    life = after(PoolEvent.STARTED)
    with life.calling(list):
        life.on(PoolEvent.BREAK, ValueError("it"))
        with pytest.raises(WorkerLostError, match="it"):
            life.check_open()


def test_a_broken_pool_tells_its_first_error_also_after_its_end():
    error = ValueError("first")
    life = after(PoolEvent.STARTED, PoolEvent.BREAK, error=error)
    life.on(PoolEvent.BREAK, ValueError("second"))
    life.on(PoolEvent.CLOSE)
    life.on(PoolEvent.ENDED)
    assert life.error is error
    with pytest.raises(WorkerLostError, match="first") as caught:
        life.check_open()
    assert caught.value.__cause__ is error


def test_a_pool_that_has_ended_cannot_break():
    life = after(PoolEvent.STARTED, PoolEvent.CLOSE, PoolEvent.ENDED)
    told = life.error
    life.on(PoolEvent.BREAK, ValueError())
    assert life.state is PoolState.OVER
    assert life.error is told


def test_an_abandoned_pool_takes_no_jobs_whenever_it_was_abandoned():
    life = PoolLife()
    life.is_abandoned = True
    life.on(PoolEvent.STARTED)
    assert not life.is_open
    with pytest.raises(RuntimeError):
        life.check_open()


@pytest.mark.parametrize(
    "events",
    [
        (PoolEvent.STARTED, PoolEvent.STARTED),
        (PoolEvent.STARTED, PoolEvent.ENDED),
        (PoolEvent.ENDED, PoolEvent.STARTED),
    ],
)
def test_what_cannot_happen_is_an_error_with_the_history_and_changes_nothing(events):
    life = after(*events[:-1])
    state = life.state
    with pytest.raises(InternalError, match=f"{events[-1].value} while it is {state.value}.*{events[0].value}"):
        life.on(events[-1])
    assert life.state is state


def test_each_state_but_the_first_is_reached_and_close_and_break_are_always_allowed():
    reached = set()
    for events in itertools.chain(*(itertools.product(PoolEvent, repeat=length) for length in (1, 2, 3))):
        try:
            life = after(*events, error=ValueError())
        except InternalError:
            continue
        reached.add(life.state)
        life.on(PoolEvent.CLOSE)
        life.on(PoolEvent.BREAK, ValueError())
    assert reached == set(PoolState) - {PoolState.STARTING}
