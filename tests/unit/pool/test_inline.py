import selectors
import threading
from types import SimpleNamespace

import pytest

from pardata.pool.jobs.job import Effects
from pardata.pool.lifecycle import PoolEvent, PoolLife
from pardata.pool.processes.inline import InlineRunner
from pardata.pool.processes.loop import PoolLoop
from pardata.pool.processes.waiting import Waiting


@pytest.fixture
def waiting():
    with selectors.DefaultSelector() as inner:
        made = Waiting(inner)
        yield made
        made.close()


def test_a_caller_stands_in_and_tells_whether_the_result_is_there(waiting):
    done = []
    runner = InlineRunner(waiting, lambda is_there, end_s: done.append(1), Effects())
    assert runner.run(lambda: bool(done))


def test_only_one_caller_stands_in_at_a_time(waiting):
    nested = []

    def stand_in(is_there, end_s):
        nested.append(runner.run(is_there))

    runner = InlineRunner(waiting, stand_in, Effects())
    assert runner.run(lambda: True)
    assert nested == [False]


def test_callers_that_have_looked_in_vain_leave_it_for_a_while_and_try_again(waiting):
    times = []
    runner = InlineRunner(waiting, lambda is_there, end_s: times.append(end_s), Effects())
    found = [runner.run(lambda: False) for _ in range(20)]
    assert not any(found)
    assert 3 < len(times) < 20


def test_an_exception_of_another_threads_making_does_not_leave_the_pools_thread_asleep(waiting, monkeypatch):
    resumed = []

    def resume(resume=waiting.resume):
        resumed.append(1)
        if len(resumed) == 1:
            raise ZeroDivisionError
        resume()

    monkeypatch.setattr(waiting, "resume", resume)
    runner = InlineRunner(waiting, lambda is_there, end_s: None, Effects())
    with pytest.raises(ZeroDivisionError):
        runner.run(lambda: True)
    assert len(resumed) == 2
    assert runner.run(lambda: True)


def test_an_error_of_the_work_leaves_the_place_to_the_next_caller(waiting):
    def stand_in(is_there, end_s):
        raise ZeroDivisionError

    runner = InlineRunner(waiting, stand_in, Effects())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            runner.run(lambda: True)


class Ends:
    """As much of a pool's loop as a caller that stands in uses: what it says of its sleep, and whom it wakes."""

    def __init__(self, comes_late=False):
        self.said, self.woken = [], []
        self.has_unseen = False
        self._comes_late = comes_late
        self.loop = loop = PoolLoop.__new__(PoolLoop)
        loop._lock, loop._collector, loop._is_timed = threading.RLock(), self, False
        loop._life = PoolLife()
        loop._life.on(PoolEvent.STARTED)
        loop.terminations = SimpleNamespace(ends_all=False, causes={})
        loop.topology = SimpleNamespace(
            waiting=SimpleNamespace(has_news=lambda: False), wake=lambda: self.woken.append(1)
        )

    def end_sleep(self):
        self.said.append("awake")

    def begin_sleep(self):
        self.said.append("asleep")
        return not self._comes_late


@pytest.mark.parametrize("comes_late", [False, True])
def test_a_caller_that_leaves_says_that_the_pools_thread_sleeps_and_wakes_it_for_what_came_meanwhile(comes_late):
    ends = Ends(comes_late)
    ends.loop._stand_in(lambda: False, 0.0)
    assert ends.said == ["awake", "asleep"]
    assert bool(ends.woken) is comes_late


def test_an_error_of_a_caller_that_stands_in_does_not_leave_the_pools_thread_unheard():
    ends = Ends()
    with pytest.raises(ZeroDivisionError):
        ends.loop._stand_in(lambda: 1 // 0, 0.0)
    assert ends.said == ["awake", "asleep"]


def test_nothing_is_said_of_a_pool_that_is_over_whose_memory_may_be_another_ones():
    ends = Ends()
    ends.loop.terminations.ends_all = True
    ends.loop._stand_in(lambda: False, 0.0)
    assert ends.said == []
