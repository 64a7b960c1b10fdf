"""A signal's handler raises at any step of `concurrent.futures`: the lock of no future stays behind."""

import concurrent.futures
import dis
import functools
import signal
import sys
import threading
from concurrent.futures import _base

import pytest

from pardata.pool.results import TaskFuture

FILES = (_base.__file__, threading.__file__)
LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD")  # instructions behind which CPython calls the handlers of signals


class Late(Exception):
    """What the handler of this test raises."""


@pytest.fixture
def handler():
    def raise_late(*_):
        raise Late

    before = signal.signal(signal.SIGUSR1, raise_late)
    yield
    signal.signal(signal.SIGUSR1, before)


@functools.cache
def instructions(code):
    return {instruction.offset: instruction.opname for instruction in dis.get_instructions(code)}


def interrupted_at(number, call):
    """Call a function; the signal comes at this step in the standard library. Return whether there was such a step."""
    left, before = number, {}

    def trace(frame, event, argument):
        nonlocal left
        frame.f_trace_opcodes = frame.f_code.co_filename in FILES
        if event == "opcode":
            left -= before.get(frame, "RESUME").startswith(LOOKS)
            before[frame] = instructions(frame.f_code).get(frame.f_lasti, "")
            if left == 0:
                left -= 1
                signal.raise_signal(signal.SIGUSR1)
        return trace

    tracing = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except (Late, TimeoutError, RuntimeError):  # that of a condition, interrupted as it falls asleep
        pass
    finally:
        sys.settrace(tracing)
    return left < 0


def locks_of(futures):
    for future in futures:
        yield future._condition._lock
        yield from (waiter.event._cond._lock for waiter in future._waiters)


def are_free(futures):
    """Return whether another thread can take the locks."""
    found = []

    def look():
        for lock in locks_of(futures):
            is_free = lock.acquire(False)
            if is_free:
                lock.release()
            found.append(is_free)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return all(found)


CALLS = {
    "wait": lambda futures: concurrent.futures.wait(futures, timeout=0),
    "wait for the first": lambda futures: concurrent.futures.wait(futures, 0, concurrent.futures.FIRST_COMPLETED),
    "as_completed": lambda futures: list(concurrent.futures.as_completed(futures, timeout=0)),
    "result": lambda futures: futures[0].result(timeout=0),
    "callback": lambda futures: futures[0].add_done_callback(id),
}


class NoBackend:
    """What futures without a pool ask."""

    def run_inline(self, is_there, timeout):
        return False

    def end_jobs(self, is_meant):
        pass


@pytest.mark.parametrize("call", CALLS)
def test_no_future_stays_locked(handler, call):
    number = 0
    while True:
        number += 1
        futures = [TaskFuture(NoBackend()) for _ in range(2)]
        is_there = interrupted_at(number, lambda futures=futures: CALLS[call](futures))
        is_free = are_free(futures)
        assert is_free, f"locked by an interrupt at step {number}"
        if not is_there:
            break
    assert number > 2
    assert signal.getsignal(signal.SIGUSR1).__name__ == "raise_late"
