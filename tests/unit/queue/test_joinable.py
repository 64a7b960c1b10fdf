"""JoinableQueue among the threads of one process."""

import queue
import threading

import numpy as np
import pytest

import pardata
from pardata import JoinableQueue
from pardata.queue import free_slots
from tests.faults.interrupting import interrupt_at, lines_of

pytestmark = pytest.mark.usefixtures("only_threads_of_the_test")


@pytest.fixture(autouse=True, scope="module")
def descriptors_that_are_opened_once():
    made = pardata.Queue()
    made.put(bytes(5_000))
    made.get()


def test_join_returns_when_all_is_done():
    made, done = JoinableQueue(), []
    made.join()  # nothing was put

    def work():
        for _ in range(2000):
            done.append(made.get())
            made.task_done()

    made.put_many(range(1990))  # more than fit into the pipe
    worker = threading.Thread(target=work)
    worker.start()
    made.put_many([np.full(5000, number) for number in range(10)])
    made.join()
    assert len(done) == 2000 and made.unfinished == 0
    worker.join()
    with pytest.raises(ValueError, match="too many times"):
        made.task_done()


def test_what_is_not_in_the_queue_is_not_waited_for():
    made = JoinableQueue(maxsize=1)
    made.put("first")
    with pytest.raises(queue.Full):
        made.put("second", block=False)
    with pytest.raises(pardata.SerializationError):
        made.get() and made.put(threading.Lock())
    made.task_done()
    made.join()


def has_nothing(made):
    return (made.unfinished, made._got, made._has_hands_full) == (0, 0, False)


@pytest.mark.parametrize("maxsize", [0, 1, 300])
def test_a_put_that_fails_leaves_the_accounts_as_they_were(maxsize, monkeypatch):
    made = JoinableQueue(maxsize)
    with pytest.raises(pardata.SerializationError):
        made.put(threading.Lock())
    assert has_nothing(made) and not made.full()

    def interrupt(*_):
        raise KeyboardInterrupt

    if maxsize:
        made.put_many(range(min(maxsize, 256)))
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(free_slots, "wait_for", interrupt)
            patch.setattr("pardata.queue.queue.pack", interrupt)
            made.put("waits for a place, or to be pickled")
    if maxsize != 1:
        made.put_many(range(256 - made.qsize()))
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="no thread is left"):
            patch.setattr(threading.Thread, "start", no_thread)
            made.put("more than fits into the pipe")
    count = made.qsize()
    for _ in range(count):
        made.get()
        made.task_done()
    assert has_nothing(made) and not made._pipe._in_between
    made.close()
    with pytest.raises(ValueError, match="closed"):
        made.put("late")
    assert has_nothing(made) and count == (1 if maxsize == 1 else 256)


def no_thread(thread):
    raise RuntimeError("no thread is left")


@pytest.mark.parametrize("call", ["put", "get", "task_done"])
def test_ctrl_c_at_each_line_leaves_the_accounts_right(call):
    """An item that `get` has taken and does not return is lost: it is done, or `join` tells."""
    calls = {"put": lambda made: made.put("item"), "get": JoinableQueue.get, "task_done": JoinableQueue.task_done}

    def ready():
        made = JoinableQueue()
        if call != "put":
            made.put("item")
        if call == "task_done":
            made.get()
        return made

    made = ready()
    lines = [line for line in lines_of(lambda: calls[call](made))[1] if line[0].endswith("joinable.py")]
    assert len(lines) > 5
    for line in lines:
        made = ready()
        with pytest.raises(KeyboardInterrupt):
            interrupt_at(line, lambda made=made: calls[call](made))
        if call == "task_done" and made._got:
            made.task_done()  # it was interrupted in front of its first step
        while made.qsize():
            assert made.unfinished == 1
            made.get()
            made.task_done()
        lost = made._write_off()
        assert has_nothing(made) and lost <= (call == "get"), line


def test_an_error_before_an_item_was_taken_is_none_of_an_item(monkeypatch):
    made = JoinableQueue()
    made.put("item")
    with monkeypatch.context() as patch, pytest.raises(pardata.CapacityError):
        patch.setattr(made._pipe, "hold_writer", no_descriptor)
        made.get()
    assert made.unfinished == 1 and made.get() == "item"
    made.task_done()


def no_descriptor():
    raise pardata.CapacityError("no descriptor is left")


def test_an_item_that_cannot_be_opened_is_done(monkeypatch):
    made = JoinableQueue()
    made.put("lost")

    def fail(packet):
        raise pardata.StaleBlockError("killed")

    monkeypatch.setattr("pardata.queue.queue.unpack", fail)
    with pytest.raises(pardata.StaleBlockError):
        made.get()
    made.join()
    with pytest.raises(queue.Empty):
        made.get(block=False)
    assert made.unfinished == 0


def test_two_wait_for_the_same_work():
    made = JoinableQueue()
    made.put("item")
    waiting = [threading.Thread(target=made.join) for _ in range(2)]
    for thread in waiting:
        thread.start()
    made.get()
    made.task_done()
    for thread in waiting:
        thread.join()


def test_one_that_cannot_be_made_leaves_nothing():
    """The fixture `nothing_is_left` looks for descriptors."""
    with pytest.raises(ValueError, match="maxsize is at most"):
        JoinableQueue(10**9)
