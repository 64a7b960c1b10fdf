"""Queues between processes that pardata did not start, some of which are killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections import Counter

import numpy as np
import pytest

import pardata
from tests.faults import queue_workers as workers
from tests.faults.queue_workers import starter

SLOTS = workers.SLOTS

pytestmark = pytest.mark.usefixtures("only_threads_of_the_test")  # forked processes too


@pytest.fixture(autouse=True, scope="module")
def what_is_opened_once():
    """This process's memory for locks and as one who receives from itself; multiprocessing's servers."""
    made = pardata.Queue()
    made.put(bytes(5_000))
    made.get()
    for method in ("spawn", "forkserver"):
        process = multiprocessing.get_context(method).Process()
        process.start()
        process.join()
        process.close()


@pytest.fixture(params=["fork", "spawn"])
def method(request):
    return request.param


@pytest.fixture
def start(method):
    yield from starter(method)


@pytest.fixture
def fork():
    yield from starter("fork")


@pytest.fixture
def talk():
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        yield ours, theirs


def kill(process):
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def all_of(queue):
    """All that comes until the end; what was lost is its error's type."""
    got = []
    while True:
        try:
            got.append(queue.get())
        except EOFError:
            return got
        except pardata.StaleBlockError as error:
            got.append(type(error))


# -- work --------------------------------------------------------------------------------------------------------------


def test_every_item_once_from_four_to_four(fork):
    queue, results = pardata.Queue(), pardata.Queue()
    for first in range(4):
        fork(workers.put_all, queue, [(first, number) for number in range(500)])
    for _ in range(4):
        fork(workers.get_all, queue, results)
    queue.close()
    parts = all_of(results)
    assert len(parts) == 4
    assert Counter(item for part in parts for item in part) == Counter((p, n) for p in range(4) for n in range(500))
    for part in parts:  # each producer's in its order
        for first in range(4):
            numbers = [number for other, number in part if other == first]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize("maxsize", [0, 2, 3])
def test_large_arrays_through_three_processes(start, maxsize):
    first, second = pardata.Queue(maxsize), pardata.Queue(maxsize)
    start(workers.put_all, first, [-number for number in range(1, 31)])
    start(workers.pass_on, first, second)
    first.close()
    got = all_of(second)
    assert len(got) == 30
    for number, array in enumerate(got, 1):
        np.testing.assert_array_equal(array, np.full(workers.LARGE, 1.0 - number))


def test_shared_array_there_and_back(start, method):
    queue = pardata.Queue()
    mine = pardata.zeros(workers.LARGE)
    start(workers.fill, queue, mine)
    (got,) = all_of(queue)
    assert (got == 5).all() and (mine == 5).all()
    if method == "spawn":  # a forked process has inherited it and knows no address: what it puts is a copy
        assert np.shares_memory(got, mine)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_that_put_new_tasks_end_by_themselves(method):
    starting = starter(method)
    start = next(starting)
    tasks, results = pardata.Queue(), pardata.Queue()
    tasks.put(6)
    processes = [start(workers.work, tasks, results) for _ in range(3)]
    tasks.close()
    assert Counter(all_of(results)) == {depth: 2 ** (6 - depth) for depth in range(7)}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    list(starting)


def test_process_started_after_the_queue_was_closed_can_put(start):
    queue = pardata.Queue()
    queue.close()
    start(workers.put_all, queue, [1, 2])
    assert all_of(queue) == [1, 2]


def test_process_that_has_closed_the_queue_and_never_looks_again_delays_no_end(start, talk):
    queue = pardata.Queue()
    start(workers.get_all_and_tell, queue, talk[1])
    start(workers.put_all, queue, [1, 2])
    queue.close()  # not before the start of who puts: else the end may come between
    assert talk[0].recv() == [1, 2]


def test_thread_that_waits_ends_when_the_main_thread_has_ended():
    call = "from tests.faults.queue_workers import *; wait_in_a_thread(daemon=False)"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_daemon_thread_that_waits_says_nothing_at_the_end():
    call = "from tests.faults.queue_workers import *; wait_in_a_thread(daemon=True)"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- producers that are killed -----------------------------------------------------------------------------------------


def test_killed_before_it_puts(start, talk):
    queue = pardata.Queue()
    process = start(workers.put_all, queue, [], talk[1])
    talk[0].recv()
    kill(process)
    assert all_of(queue) == []


def test_killed_after_it_has_put(start, talk):
    """What is small is there; what lay in its memory is lost, one by one; the others go on."""
    queue = pardata.Queue()
    process = start(workers.put_all, queue, ["a", -1, "b", b"x" * 5_000, "c"], talk[1])
    talk[0].recv()
    start(workers.put_all, queue, ["other"]).join()
    kill(process)
    assert all_of(queue) == ["a", pardata.StaleBlockError, "b", pardata.StaleBlockError, "c", "other"]


def test_killed_with_items_in_its_buffer(start, talk):
    queue = pardata.Queue()
    process = start(workers.put_all, queue, list(range(2 * SLOTS)), talk[1])
    talk[0].recv()
    kill(process)
    assert all_of(queue) == list(range(SLOTS))


@pytest.mark.parametrize("maxsize", [1, 2, 3])
def test_killed_with_a_place_in_its_hands(fork, maxsize):
    queue = pardata.Queue(maxsize)
    for _ in range(maxsize):
        fork(workers.put_and_die_holding_a_place, queue).join()
    for number in range(maxsize):
        queue.put(number)
    assert queue.full() and all_of(queue) == list(range(maxsize))


def is_held_up(thread):
    """Whether a thread waits for a lock before it forks."""
    with open(f"/proc/self/task/{thread.native_id}/stat") as file:
        sleeps = file.read().rpartition(")")[2].split()[0] == "S"
    return sleeps and sys._current_frames()[thread.ident].f_code.co_name == "hold_for_fork"


def test_forked_while_a_write_end_is_opened_for_a_full_queue(fork, talk):
    queue, main, forked, opened = pardata.Queue(2), threading.current_thread(), threading.Event(), threading.Event()
    queue.put_many([1, 2])
    queue._pipe.hold_writer(False)
    open_writer = queue._pipe.open_writer

    def open_slowly():
        writer = open_writer()
        if threading.current_thread() is not main:
            opened.set()
            while not forked.is_set() and not is_held_up(main):
                os.sched_yield()
        return writer

    queue._pipe.open_writer = open_slowly
    putter = threading.Thread(target=queue.put, args=[3])
    putter.start()
    opened.wait()
    fork(workers.close_and_stay, queue, talk[1])
    forked.set()
    assert talk[0].recv() == "closed"
    assert [queue.get() for _ in range(3)] == [1, 2, 3]
    putter.join()
    queue.close()
    with pytest.raises(EOFError):
        queue.get(timeout=1)  # the child has no write end left
    talk[0].send("go")


# -- consumers that are killed -----------------------------------------------------------------------------------------


def test_killed_while_it_waits(start, talk):
    queue = pardata.Queue()
    process = start(workers.wait_and_tell, queue, talk[1])
    assert talk[0].recv() == "has no write end"
    kill(process)
    queue.put(1)
    assert all_of(queue) == [1]


def test_killed_with_an_item(start, talk):
    queue = pardata.Queue()
    queue.put(1)
    process = start(workers.get_one, queue, talk[1])
    assert talk[0].recv() == 1
    queue.put(2)
    kill(process)
    assert all_of(queue) == [2]


@pytest.mark.parametrize("maxsize", [1, 3])
def test_killed_before_it_gives_the_place_back(fork, maxsize):
    queue = pardata.Queue(maxsize)
    queue.put_many(["lost"] * maxsize)
    for _ in range(maxsize):
        fork(workers.get_and_die_at, queue, "place").join()
    queue.put_many(["next"] * maxsize)
    assert all_of(queue) == ["next"] * maxsize


def test_killed_before_it_opens_the_array(fork):
    """Its producer does not wait for ever."""
    queue = pardata.Queue()
    producer = fork(workers.put_all, queue, [-1])
    consumer = fork(workers.get_and_die_at, queue, "open")
    consumer.join()
    producer.join()
    assert (consumer.exitcode, producer.exitcode) == (-signal.SIGKILL, 0)
    assert all_of(queue) == []


# -- the end of a process ----------------------------------------------------------------------------------------------


def test_producer_stays_until_its_arrays_are_received(start, talk):
    queue = pardata.Queue()
    process = start(workers.put_and_tell_at_the_end, queue, talk[1])
    assert talk[0].recv() == "at the end"
    array, small = all_of(queue)
    process.join()
    np.testing.assert_array_equal(array, workers.large(7))
    assert small == "small" and process.exitcode == 0


def test_buffer_is_written_out_at_the_end(start):
    queue = pardata.Queue()
    start(workers.put_all, queue, list(range(3 * SLOTS)))
    assert all_of(queue) == list(range(3 * SLOTS))


def test_places_of_items_in_a_buffer_stay_taken_at_the_end(fork, talk, capfd):
    queue = pardata.Queue(2 * SLOTS)
    process = fork(workers.put_and_tell_when_it_leaves, queue, range(2 * SLOTS), talk[1])
    assert talk[0].recv() == "has no read end"
    queue._free_slots._recount()  # as one does who waits for a place
    assert queue.full() and all_of(queue) == list(range(2 * SLOTS))
    process.join()
    assert (process.exitcode, capfd.readouterr().err) == (0, "")


def test_producer_stays_until_an_array_that_was_in_its_buffer_is_received(fork, talk, capfd):
    queue = pardata.Queue()
    process = fork(workers.put_and_tell_behind_the_feeder, queue, talk[1])
    assert talk[0].recv() == "has no read end"
    assert queue.get() == 0  # room for the array
    assert talk[0].recv() == "can tell readers"
    *small, array = all_of(queue)
    process.join()
    np.testing.assert_array_equal(array, workers.large(7))
    assert (small, process.exitcode, capfd.readouterr().err) == (list(range(1, SLOTS)), 0, "")


@pytest.mark.parametrize(("items", "nbytes"), [(1, 100_000), (2 * SLOTS, 1)])
def test_nobody_is_waited_for_if_nobody_is_left(items, nbytes):
    call = f"from tests.faults.queue_workers import *; make_queue_and_leave({items}, {nbytes})"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_cancelled_producer_ends_at_once(start):
    queue = pardata.Queue()
    process = start(workers.put_and_cancel, queue)
    process.join()
    assert process.exitcode == 0
    assert all_of(queue) == [pardata.StaleBlockError, *range(SLOTS - 1)]
