"""JoinableQueue between processes, some of which are killed: `join` waits for nobody who is gone."""

import multiprocessing
import os
import signal
import threading

import numpy as np
import pytest

import pardata
from pardata.queue import free_slots, joinable
from tests.faults.queue_workers import put_and_tell_when_it_leaves, starter

pytestmark = pytest.mark.usefixtures("only_threads_of_the_test")


@pytest.fixture(autouse=True, scope="module")
def what_is_opened_once():
    made = pardata.Queue()
    made.put(bytes(5_000))
    made.get()
    process = multiprocessing.get_context("spawn").Process()
    process.start()
    process.join()
    process.close()


@pytest.fixture
def start(request):
    yield from starter(getattr(request, "param", "fork"))


@pytest.fixture(autouse=True)
def look_soon(monkeypatch):
    monkeypatch.setattr(joinable, "_LOOK_S", 0.01)


def work(queue, dies_at=None, leaves_at=None):
    try:
        while True:
            item = queue.get()
            if isinstance(item, int) and item == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if isinstance(item, int) and item == leaves_at:
                return
            queue.task_done()
    except EOFError:
        pass


def die_behind(owner, name):
    call = getattr(owner, name)

    def trapped(*arguments):
        call(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, trapped)


PRODUCER = {  # where a producer is killed: behind this call, and how many items are lost and put then
    "the lock and the count": (lambda queue: (queue, "_hold_hands"), 0, 0),
    "the count and the packet": (lambda queue: (queue._counts.put, "add"), 1, 0),
    "the packet and the lock": (lambda queue: (queue._pipe, "write"), 0, 1),
}
CONSUMER = {  # the same for a consumer: how many items are lost, and how many are left
    "the packet and the lock": (lambda queue: (queue._pipe, "read"), 1, 1),
    "the lock and the call's end": (lambda queue: (queue, "_take"), 1, 1),
    "the count and the lock": (lambda queue: (queue._counts.done, "add"), 0, 1),
}


def put_and_die_behind(queue, place):
    die_behind(*PRODUCER[place][0](queue))
    queue.put(7)


def get_and_die_behind(queue, place):
    die_behind(*CONSUMER[place][0](queue))
    queue.get()
    queue.task_done()


@pytest.mark.parametrize("maxsize", [0, 1])
@pytest.mark.parametrize("place", PRODUCER)
def test_a_producer_is_killed_between(start, monkeypatch, place, maxsize):
    monkeypatch.setattr(free_slots, "_RECOUNT", 0.01)  # nobody tells that a place was lost
    queue = pardata.JoinableQueue(maxsize)
    start(put_and_die_behind, queue, place).join()
    _, lost, put = PRODUCER[place]
    assert (queue.unfinished, queue.qsize()) == (lost + put, put)
    for _ in range(put):
        assert queue.get() == 7
        queue.task_done()
    if lost:
        with pytest.raises(pardata.WorkerLostError, match="1 of the items that were put"):
            queue.join()
    queue.join()
    queue.put(8)
    assert (queue.get(), queue.unfinished, queue._write_off()) == (8, 1, 0)
    queue.task_done()
    queue.join()
    queue.close()


@pytest.mark.parametrize("maxsize", [0, 2])
@pytest.mark.parametrize("place", CONSUMER)
def test_a_consumer_is_killed_between(start, monkeypatch, place, maxsize):
    monkeypatch.setattr(free_slots, "_RECOUNT", 0.01)
    queue = pardata.JoinableQueue(maxsize)
    queue.put_many([1, 2])
    start(get_and_die_behind, queue, place).join()
    _, lost, left = CONSUMER[place]
    assert (queue.unfinished, queue.qsize()) == (lost + left, left)
    if lost:
        with pytest.raises(pardata.WorkerLostError, match="1 of the items that were put"):
            queue.join()
    assert queue.get() == 2
    queue.put_many([3, 4])  # all places are free again
    assert [queue.get(), queue.get()] == [3, 4]
    for _ in range(3):
        queue.task_done()
    queue.join()
    queue.close()


def put_more_than_fits_and_die(queue):
    queue.put_many(range(1000))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("start", ["fork", "spawn"], indirect=True)
def test_join_waits_for_all_processes(start):
    queue = pardata.JoinableQueue(maxsize=50)
    for _ in range(2):
        start(work, queue)
    queue.put_many(range(300))
    queue.put(np.zeros(100_000))
    queue.join()
    assert (queue.unfinished, queue.qsize()) == (0, 0)
    queue.close()


@pytest.mark.parametrize("way", ["killed", "gone"])
def test_an_item_of_a_consumer_that_is_gone_is_told(start, way):
    queue = pardata.JoinableQueue()
    consumer = start(work, queue, 5, None) if way == "killed" else start(work, queue, None, 5)
    queue.put_many(range(5))
    queue.join()
    queue.put_many([5, *range(100, 110)])
    consumer.join()
    with pytest.raises(pardata.WorkerLostError, match="1 of the items that were put"):
        queue.join()
    assert queue.unfinished == queue.qsize() == 10
    start(work, queue)
    queue.join()
    assert queue.unfinished == 0
    queue.close()


def get_fork_and_die(queue, stays):
    queue.get()
    if os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    stays.recv()
    os._exit(0)


def test_a_child_that_a_killed_consumer_has_forked_has_nothing_in_its_hands(start):
    here, there = multiprocessing.get_context("fork").Pipe()
    queue = pardata.JoinableQueue()
    queue.put("item")
    start(get_fork_and_die, queue, there).join()
    with pytest.raises(pardata.WorkerLostError, match="1 of the items that were put"):
        queue.join()
    here.send("the child was there all the time")
    queue.close()


def test_a_put_that_failed_hides_no_killed_consumer(start):
    queue = pardata.JoinableQueue()
    with pytest.raises(pardata.SerializationError):
        queue.put(threading.Lock())
    queue.put(5)
    start(work, queue, 5).join()
    assert queue._write_off() == 1  # as `join` asks when nothing happens
    queue.join()
    queue.close()


def test_what_a_killed_producer_had_not_sent_is_told(start):
    queue = pardata.JoinableQueue()
    producer = start(put_more_than_fits_and_die, queue)
    producer.join()
    start(work, queue)
    with pytest.raises(pardata.WorkerLostError, match=f"{1000 - 256} of the items"):
        queue.join()
    queue.join()
    queue.close()


@pytest.mark.parametrize("maxsize", [0, 1000])
@pytest.mark.parametrize("way", ["ends", "is killed"])
def test_what_an_ended_producer_has_in_its_buffer_is_waited_for(start, way, maxsize):
    """A consumer is started late."""
    here, there = multiprocessing.get_context("fork").Pipe()
    queue = pardata.JoinableQueue(maxsize)
    producer = start(put_and_tell_when_it_leaves, queue, range(1000), there)
    here.recv()
    assert (queue._write_off(), queue.unfinished, queue.qsize()) == (0, 1000, 256)
    if maxsize:
        queue._free_slots._recount()
        assert queue.full()
    if way == "is killed":
        producer.kill()
        producer.join()
    consumer = start(work, queue)
    if way == "is killed":
        with pytest.raises(pardata.WorkerLostError, match=f"{1000 - 256} of the items"):
            queue.join()
    queue.join()
    queue.close()
    consumer.join()
    producer.join()
    assert (queue.unfinished, consumer.exitcode) == (0, 0)
    assert producer.exitcode == (0 if way == "ends" else -signal.SIGKILL)


def test_a_process_at_work_is_waited_for(start):
    here, there = multiprocessing.get_context("fork").Pipe()
    queue = pardata.JoinableQueue()
    start(hold_until_told, queue, there)
    queue.put("item")
    here.recv()
    assert queue._write_off() == 0  # as `join` asks when nothing happens
    here.send("go on")
    queue.join()
    queue.close()


def hold_until_told(queue, told):
    queue.get()
    told.send("has it")
    told.recv()
    queue.task_done()
