import selectors
import socket
import threading

import pytest

from pardata.pool.processes import inline
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
    runner = InlineRunner(waiting, lambda is_there, *times: done.append(1))
    assert runner.run(lambda: bool(done))


def test_only_one_caller_stands_in_at_a_time(waiting):
    nested = []

    def stand_in(is_there, *times):
        nested.append(runner.run(is_there))

    runner = InlineRunner(waiting, stand_in)
    assert runner.run(lambda: True)
    assert nested == [False]


def test_callers_that_have_looked_in_vain_leave_it_for_a_while_and_try_again(waiting):
    times = []
    runner = InlineRunner(waiting, lambda is_there, sleep_s, end_s: times.append(end_s))
    found = [runner.run(lambda: False) for _ in range(20)]
    assert not any(found)
    assert 3 < len(times) < 20


def test_an_error_of_the_work_leaves_the_place_to_the_next_caller(waiting):
    def stand_in(is_there, *times):
        raise ZeroDivisionError

    runner = InlineRunner(waiting, stand_in)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            runner.run(lambda: True)


def test_a_caller_sleeps_at_once_after_a_result_that_took_long(waiting, monkeypatch):
    clock, asked, takes_s = [0.0], [], [1e-4, 3e-3, 1e-4, 1e-4]
    monkeypatch.setattr(inline.time, "perf_counter", lambda: clock[0])

    def stand_in(is_there, sleep_s, end_s):
        asked.append((sleep_s > clock[0], end_s > sleep_s))
        clock[0] += takes_s[len(asked) - 1]

    runner = InlineRunner(waiting, stand_in)
    for _ in takes_s:
        assert runner.run(lambda: True)
    assert asked == [(True, True), (True, True), (False, True), (True, True)]


def test_a_caller_that_sleeps_is_woken_by_what_comes(waiting):
    reader, writer = socket.socketpair()
    with reader, writer:
        waiting._inner.register(reader, selectors.EVENT_READ)
        sender = threading.Timer(0.01, writer.send, [b"!"])
        sender.start()
        assert waiting.has_news(60_000)
        sender.join()
        assert reader.recv(1) == b"!" and not waiting.has_news(0)
