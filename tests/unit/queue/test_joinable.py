"""JoinableQueue among the threads of one process."""

import queue
import threading

import numpy as np
import pytest

import pardata
from pardata import JoinableQueue

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
