"""The time for which nothing has moved does not count while a worker has had no chance to move."""

import contextlib
import os
import signal
import threading

import pytest

from pardata.memory.arena import HEADER_BYTES, Span
from pardata.memory.segment import Segment
from pardata.runtime.admission import quiescence
from pardata.runtime.admission.inflight import InFlightSpec
from pardata.runtime.admission.policy import STUCK_S
from pardata.runtime.admission.quiescence import Quiescence, is_held_up
from pardata.runtime.header import BATCHES, BLOCKED_NS, CONSUMER_BUSY, CURRENT_CALL, MEMORY, THREAD, WAITS_FOR


class Scene:
    """A worker that looks, one that is looked at, and the consumer; the clock is the test's."""

    def __init__(self, monkeypatch):
        segment = Segment.create()
        segment.close_fd()
        spans = [Span(place * HEADER_BYTES, HEADER_BYTES) for place in range(3)]
        self.own, self.other, self.consumer = [span.words(segment) for span in spans]
        for words in (self.own, self.consumer):
            words[THREAD] = threading.get_native_id()
        self.quiescence = Quiescence(InFlightSpec([], {}, [], spans[:2], spans[2]), segment)
        self.quiescence.begin()
        self.now_s = 0.0
        monkeypatch.setattr(quiescence.time, "monotonic", lambda: self.now_s)

    def look(self, seconds=0.01, times=1):
        for _ in range(times):
            self.now_s += seconds
            found = self.quiescence.look(100)
        return found


@pytest.fixture
def scene(monkeypatch):
    return Scene(monkeypatch)


@contextlib.contextmanager
def process(*command):
    pid = os.posix_spawn(command[0], command, os.environ)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture
def stopped():
    """Return the number of a process that has been stopped."""
    with process("/bin/sleep", "600") as pid:
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        yield pid


@pytest.fixture
def running():
    """Return the number of a process that always runs."""
    with process("/bin/sh", "-c", "while :; do :; done") as pid:
        while not is_held_up(pid):
            pass
        yield pid


def test_looks_add_up(scene):
    assert scene.look() == 0
    assert scene.look(times=10) == pytest.approx(0.1)


@pytest.mark.parametrize(("name", "word"), [("other", CURRENT_CALL), ("other", BATCHES), ("consumer", CONSUMER_BUSY)])
def test_what_moves_begins_anew(scene, name, word):
    scene.look(times=3)
    getattr(scene, name)[word] += 1
    assert scene.look() == 0


def test_an_earlier_wait_does_not_count(scene):
    scene.look(times=3)
    scene.quiescence.begin()
    assert scene.look() == 0


def test_a_look_after_a_long_pause_has_seen_no_worker_wait(scene):
    scene.look()
    assert scene.look(seconds=3600) < STUCK_S


def test_a_worker_that_was_stopped_may_move_yet(scene, stopped):
    scene.other[THREAD] = stopped
    assert STUCK_S <= scene.look(times=1000) < 2 * STUCK_S
    os.kill(stopped, signal.SIGCONT)
    os.waitid(os.P_PID, stopped, os.WCONTINUED)
    while is_held_up(stopped):
        pass
    assert scene.look(times=1000) > 9


def test_a_worker_that_runs_and_waits_for_memory_only_looks(scene, running):
    scene.other[THREAD], scene.other[WAITS_FOR] = running, BLOCKED_NS
    assert scene.look(times=1000) < 2 * STUCK_S
    scene.other[WAITS_FOR] = MEMORY
    assert scene.look(times=1000) > 9


def test_a_worker_that_waits_for_memory_and_was_stopped_may_move_yet(scene, stopped):
    scene.other[THREAD], scene.other[WAITS_FOR] = stopped, MEMORY
    assert scene.look(times=1000) < 2 * STUCK_S


def test_a_thread_that_is_gone_is_not_held_up():
    assert not is_held_up(1 << 30)
    assert is_held_up(threading.get_native_id())
