"""Ctrl-C in a call of a queue, at each line, and as a run falls asleep: it arrives, and no lock is left behind."""

import contextlib
import gc
import os
import queue
import signal
import sys
import threading

import numpy as np
import pytest

import pardata
from pardata.process import interrupts
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


def interrupted(make, maxsize, call, line):
    """The queue in whose call Ctrl-C came at a line; on a busy machine a call may be out of time before that line."""
    for _ in range(20):
        made = prepared(make, maxsize, call)
        try:
            # Within a generator: an exception that a trace raises in an `except` leaves the handled one behind.
            list(interrupt_at(line, lambda made=made: call(made)) for _ in range(1))
        except KeyboardInterrupt:
            return made
        made.close()
    pytest.fail(f"{call.__name__} never comes to {line}, or has lost a Ctrl-C there")


@pytest.mark.parametrize("kind", CALLS)
def test_ctrl_c_in_a_call_arrives_and_keeps_nobody_out(kind):
    make, maxsize, calls = CALLS[kind]
    for call in calls:
        made = prepared(make, maxsize, call)
        _, lines = lines_of(lambda call=call, made=made: call(made))
        made.close()
        for line in lines:
            made = interrupted(make, maxsize, call, line)
            alone = made._pipe.try_alone()
            assert alone >= 0, f"{call.__name__}, interrupted at {line}: a lock is left"
            os.close(alone)
            assert not made._pipe._mutex._is_owned() and not made._waiters
            while made.qsize():  # it may have been put
                made.get()
            put_and_get(made)
            made.close()
    del made
    gc.collect()  # tracebacks have held them


@pytest.fixture(autouse=True)
def look_soon(monkeypatch):
    monkeypatch.setattr(interrupts, "INTERRUPT_S", 0.02)


class Held:
    """A function whose call waits until it is told."""

    def __init__(self):
        self.begun, self.told = threading.Event(), threading.Event()

    def __call__(self, *_):
        self.begun.set()
        self.told.wait()


class Gate:
    """The same in a worker process: its call tells that it has begun, and ends with its worker."""

    def __init__(self, folder):
        self._path = f"{folder}/gate"
        os.mkfifo(self._path)

    def __call__(self, *_):
        open(self._path, "w").close()  # opening one end waits for the other
        threading.Event().wait()

    def wait_until_begun(self):
        open(self._path).close()


def is_asleep(thread):
    with open(f"/proc/self/task/{thread.native_id}/stat") as file:
        sleeps = file.read().rpartition(")")[2].split()[0] == "S"
    names = ("wait", "wait_for", "select", "join", "_wait_for_tstate_lock")
    return sleeps and sys._current_frames()[thread.ident].f_code.co_name in names


@contextlib.contextmanager
def ctrl_c_asleep(wait_until_begun=int):
    """Ctrl-C comes in another thread when the main thread sleeps in the block: it does not wake up, as if the signal
    had come between its last look for signals and its sleep.
    """

    def interrupt():
        wait_until_begun()
        while not is_asleep(threading.main_thread()):
            os.sched_yield()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        with pytest.raises(KeyboardInterrupt):
            thread.start()
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        thread.join()


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_ctrl_c_as_a_run_goes_to_sleep_arrives(engine):
    held = Held()
    run = pardata.source([1]).map(held, kind="thread").iterate(engine=engine)
    try:
        with ctrl_c_asleep(held.begun.wait):
            next(run)
    finally:
        held.told.set()
        run.close()
        for left in threading.enumerate():
            if left.name.startswith("pardata-Held"):
                left.join()


POOL_WAITS = {
    "result": lambda pool, fn: pool.submit(fn, 1).result(),
    "result in time": lambda pool, fn: pool.submit(fn, 1).result(timeout=1000),
    "exception": lambda pool, fn: pool.submit(fn, 1).exception(),
    "map": lambda pool, fn: next(pool.map(fn, [1])),
    "map in time": lambda pool, fn: next(pool.map(fn, [1], timeout=1000)),
    "map_array": lambda pool, fn: pool.map_array(fn, np.arange(3)),
    "end": lambda pool, fn: [pool.submit(fn, 1), pool.shutdown()],
}


@pytest.mark.parametrize("wait", POOL_WAITS)
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_ctrl_c_as_the_caller_of_a_pool_goes_to_sleep_arrives(kind, wait, tmp_path):
    fn = Gate(tmp_path) if kind == "process" else Held()
    pool = pardata.WorkerPool(1, kind=kind)
    try:
        with ctrl_c_asleep(fn.wait_until_begun if kind == "process" else fn.begun.wait):
            POOL_WAITS[wait](pool, fn)
    finally:
        if kind == "thread":
            fn.told.set()
        pool.shutdown(wait=False, cancel_futures=True)
        if kind == "process":
            pool.terminate()
        pool.shutdown()


def fill(made):
    made.put_many(range(300))  # more than the pipe takes


def put_into_full(made):
    made.put(1)
    made.put(2)


QUEUE_WAITS = {
    "get": lambda: (pardata.Queue(), pardata.Queue.get),
    "get in time": lambda: (pardata.Queue(), lambda made: made.get(timeout=1000)),
    "put": lambda: (pardata.Queue(1), put_into_full),
    "join_thread": lambda: (pardata.Queue(), lambda made: [fill(made), made.close(), made.join_thread()]),
    "join": lambda: (pardata.JoinableQueue(), lambda made: [made.put(1), made.join()]),
}


@pytest.mark.parametrize("wait", QUEUE_WAITS)
def test_ctrl_c_as_a_call_of_a_queue_goes_to_sleep_arrives(wait):
    made, call = QUEUE_WAITS[wait]()
    if wait.startswith("get"):
        stays = threading.Event()
        putter = threading.Thread(target=stays.wait)  # it could put: the queue has no end yet
        putter.start()

    def wait_until_begun():  # `get` looks for a moment first
        while wait.startswith("get") and not made._waiters:
            os.sched_yield()

    try:
        with ctrl_c_asleep(wait_until_begun):
            call(made)
    finally:
        if wait.startswith("get"):
            stays.set()
            putter.join()
        made.close()
        while made.qsize():
            made.get()
        made.join_thread()  # it may have an item in its hands, which counts nowhere
