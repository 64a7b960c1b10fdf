"""Ctrl-C in a call of a queue, at each line, and as a run falls asleep: it arrives, and no lock is left behind."""

import gc
import os
import queue
import signal
import sys
import threading

import pytest

import pardata
from tests.faults.interrupting import interrupt_at, lines_of


def put_and_get(made):
    made.put(1)
    assert made.get(timeout=0.001) == 1


def find_none(made):
    with pytest.raises(queue.Empty):
        made.get(timeout=0.003)


def find_no_room(made):
    most = made._free_slots.count
    made.put_many(range(most))
    with pytest.raises(queue.Full):
        made.put(most, block=False)
    with pytest.raises(queue.Full):
        made.put(most, timeout=0.001)
    made.get_many(most)


def count_again(made):
    made._free_slots._recount()


def write_off(made):
    assert made._write_off() == 0


CALLS = {
    "Queue": (pardata.Queue, 0, [put_and_get, find_none]),
    "bounded": (pardata.Queue, 3, [put_and_get, find_none, find_no_room, count_again]),
    "bounded by its pipe": (pardata.Queue, 2, [put_and_get, find_no_room]),
    "JoinableQueue": (pardata.JoinableQueue, 2, [put_and_get, find_none, find_no_room, write_off]),
}


def prepared(kind, maxsize, call):
    made = kind(maxsize)
    call(made)
    return made


@pytest.mark.parametrize("kind", CALLS)
def test_ctrl_c_in_a_call_arrives_and_keeps_nobody_out(kind):
    make, maxsize, calls = CALLS[kind]
    for call in calls:
        made = prepared(make, maxsize, call)
        _, lines = lines_of(lambda call=call, made=made: call(made))
        made.close()
        for line in lines:
            made = prepared(make, maxsize, call)
            with pytest.raises(KeyboardInterrupt):
                # Within a generator: an exception that a trace raises in an `except` leaves the handled one behind.
                list(interrupt_at(line, lambda call=call, made=made: call(made)) for _ in range(1))
            alone = made._pipe.try_alone()
            assert alone >= 0, f"{call.__name__}, interrupted at {line}: a lock is left"
            os.close(alone)
            assert not made._pipe._mutex.locked() and not made._waiters
            while made.qsize():  # it may have been put
                made.get()
            put_and_get(made)
            made.close()
    del made
    gc.collect()  # tracebacks have held them


class Held:
    """A function whose call waits until it is told."""

    def __init__(self):
        self.begun, self.told = threading.Event(), threading.Event()

    def __call__(self, item):
        self.begun.set()
        self.told.wait()
        return item


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_ctrl_c_as_the_main_thread_goes_to_sleep_arrives(engine):
    """As the signal comes in another thread, it does not wake the main thread, as if it had come before the sleep."""
    held, main = Held(), threading.get_ident()

    def interrupt():
        while sys._current_frames()[main].f_code.co_name not in ("wait", "select"):
            held.begun.wait()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    run = pardata.source([1]).map(held, kind="thread").iterate(engine=engine)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        with pytest.raises(KeyboardInterrupt):
            thread.start()
            next(run)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        held.told.set()
        thread.join()
        run.close()
        for left in threading.enumerate():
            if left.name.startswith("pardata-Held"):
                left.join()
