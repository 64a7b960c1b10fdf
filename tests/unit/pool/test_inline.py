import selectors

import pytest

from pardata.pool.processes.inline import InlineRunner
from pardata.pool.processes.waiting import Waiting


@pytest.fixture
def waiting():
    with selectors.DefaultSelector() as inner:
        made = Waiting(inner)
        yield made
        made.close()


def test_a_caller_stands_in_and_tells_whether_the_result_is_there(waiting):
    done = []
    runner = InlineRunner(waiting, lambda is_there, end_s: done.append(1))
    assert runner.run(lambda: bool(done))


def test_only_one_caller_stands_in_at_a_time(waiting):
    nested = []

    def stand_in(is_there, end_s):
        nested.append(runner.run(is_there))

    runner = InlineRunner(waiting, stand_in)
    assert runner.run(lambda: True)
    assert nested == [False]


def test_callers_that_have_looked_in_vain_leave_it_for_a_while_and_try_again(waiting):
    times = []
    runner = InlineRunner(waiting, lambda is_there, end_s: times.append(end_s))
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
    runner = InlineRunner(waiting, lambda is_there, end_s: None)
    with pytest.raises(ZeroDivisionError):
        runner.run(lambda: True)
    assert len(resumed) == 2
    assert runner.run(lambda: True)


def test_an_error_of_the_work_leaves_the_place_to_the_next_caller(waiting):
    def stand_in(is_there, end_s):
        raise ZeroDivisionError

    runner = InlineRunner(waiting, stand_in)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            runner.run(lambda: True)
