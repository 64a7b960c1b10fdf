"""SharedArrays in processes that pardata did not start: one memory, whoever ends first, and never reused too early."""

import concurrent.futures
import fcntl
import gc
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from unittest import mock

import numpy as np
import pytest

import pardata
from pardata.memory import shared_array
from pardata.memory.array import find_anchor
from pardata.memory.exchange import addresses
from pardata.memory.exchange.addresses import forget_the_gone
from pardata.memory.exchange.exports import CELL_LOCKS, Cells, Exports
from pardata.memory.exchange.range_locks import lock_range
from pardata.memory.named import session
from pardata.memory.shared_heap import shared_heap

N = 1 << 18  # numbers, in whole huge pages


def add_one(array):
    array += 1
    return array


def ones(n):
    made = pardata.zeros(n)
    made += 1
    return made


@pytest.fixture(autouse=True)
def what_the_next_array_of_a_new_process_would_do():
    yield
    gc.collect()
    forget_the_gone()


@pytest.fixture(params=["fork", "spawn"])
def context(request):
    return multiprocessing.get_context(request.param)


def test_multiprocessing_pool_works_on_the_same_memory(context):
    shared = pardata.zeros((6, 50))
    with context.Pool(2) as pool:
        back = pool.map(add_one, [shared[row] for row in range(6)])
        back += pool.map(add_one, [shared.T])
    assert shared.min() == shared.max() == 2
    assert all(np.shares_memory(part, shared) for part in back)


def test_process_pool_executor_works_on_the_same_memory(context):
    shared = pardata.zeros((6, 50))
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        back = list(pool.map(add_one, [shared[row] for row in range(6)]))
    assert shared.min() == shared.max() == 1
    assert all(np.shares_memory(part, shared) for part in back)


def test_joblib_works_on_the_same_memory():
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    shared = pardata.zeros((6, 50))
    with joblib.parallel_config(backend="multiprocessing"):
        joblib.Parallel(n_jobs=2)(joblib.delayed(add_one)(shared[row]) for row in range(6))
    assert shared.min() == shared.max() == 1


def test_worker_pool_of_our_own_takes_arrays_of_a_manager():
    with pardata.SharedMemoryManager() as manager, pardata.WorkerPool(2) as pool:
        shared = manager.array(np.arange(10.0))
        assert pool.submit(np.sum, shared).result() == 45


def test_array_made_in_a_worker_outlives_it(context):
    with context.Pool(1) as pool:
        made = pool.map(ones, [N])[0]
        assert type(made) is pardata.SharedArray
    pool.join()
    assert made.sum() == N


def hold(array, line):
    """Hold an array until told otherwise."""
    line.send(float(array.sum()))
    line.recv()
    line.send(float(array.sum()))


class Holder:
    """A process that has been given an array, or inherited it."""

    def __init__(self, context, array):
        self.line, theirs = context.Pipe()
        self.process = context.Process(target=hold, args=(array, theirs))
        self.process.start()
        theirs.close()
        self.first = self.line.recv()

    def look_again(self):
        self.line.send(None)
        return self.line.recv()

    def end(self, number=None):
        if number is not None:
            os.kill(self.process.pid, number)
        self.process.join()
        self.process.close()
        self.line.close()


def fill_all_free_memory():
    """Write to every block of this size that the arena would use again."""
    shared_heap().arena._ask_for_memory()
    made = [pardata.empty(N) for _ in range(4)]
    for array in made:
        array[:] = -1
    return made


def places(arrays):
    return {array.ctypes.data for array in arrays}


def test_block_that_another_process_holds_is_not_used_again(context):
    shared = pardata.array(np.ones(N))
    place = shared.ctypes.data
    holder = Holder(context, shared)
    del shared
    others = fill_all_free_memory()
    assert place not in places(others)
    assert (holder.first, holder.look_again()) == (N, N)
    holder.end()
    del others
    assert place in places(fill_all_free_memory())


def test_killed_holder_holds_no_more(context):
    shared = pardata.array(np.ones(N))
    place = shared.ctypes.data
    holder = Holder(context, shared)
    del shared
    holder.end(signal.SIGKILL)
    assert place in places(fill_all_free_memory())


def test_block_that_was_inherited_by_a_fork_is_not_used_again():
    shared = pardata.array(np.ones(N))
    place = shared.ctypes.data
    reading, writing = os.pipe()
    results, of_child = os.pipe()
    pid = os.fork()
    if not pid:
        os.read(reading, 1)
        os.write(of_child, b"y" if shared.min() == 1 == shared.max() else b"n")
        os._exit(0)
    del shared
    others = fill_all_free_memory()
    assert place not in places(others)
    os.write(writing, b"x")
    assert os.read(results, 1) == b"y"
    os.waitpid(pid, 0)
    del others
    assert place in places(fill_all_free_memory())
    for fd in (reading, writing, results, of_child):
        os.close(fd)


def test_no_thread_makes_an_array_between_the_look_and_the_fork(monkeypatch):
    """It would be inherited without being held."""
    shared, entered = pardata.zeros(3), []
    look = Exports.hold_for_child

    def try_to_enter():
        entered.append(shared_heap().arena.lock.try_alone())

    def look_and_try(exports):
        held = look(exports)
        thread = threading.Thread(target=try_to_enter)
        thread.start()
        thread.join()
        return held

    monkeypatch.setattr(Exports, "hold_for_child", look_and_try)
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    try_to_enter()
    shared_heap().arena.lock.__exit__()
    assert entered == [False, True] and not shared.any()


def send_and_end(line, n):
    made = pardata.array(np.full(n, 5.0))
    line.send(made)
    line.send(made[1:])


def test_array_of_a_process_that_has_ended_is_received(context):
    """Once per pickle; then its memory is nameless again, and it travels on as an ordinary array."""
    line, theirs = context.Pipe()
    owner = context.Process(target=send_and_end, args=(theirs, N))
    owner.start()
    owner.join()
    pickles = line.recv_bytes(), line.recv_bytes()
    name = addresses._name_of(address_in(pickles[0]))
    assert os.path.exists(f"/dev/shm/{name}")
    first, second = map(pickle.loads, pickles)
    assert not os.path.exists(f"/dev/shm/{name}")
    first[2] = 7
    assert second[1] == 7 and first.sum() == 5 * N + 2
    again = pickle.loads(pickle.dumps(second))
    assert type(again) is np.ndarray and again[1] == 7
    line.close()
    theirs.close()
    owner.close()


def test_handed_over_what_was_received_meanwhile(monkeypatch):
    """The owner has copied it when somebody receives it: no copy is left."""
    data = pickle.dumps(pardata.array([1.0]))
    address = address_in(data)
    monkeypatch.setattr(Exports, "content", lambda exports, address: [pickle.loads(data), bytes(address.extent)][1])
    addresses._hand_over(address)
    assert not os.path.exists(f"/dev/shm/{addresses._name_of(address)}")


def test_program_that_ends_with_an_array_on_its_way_leaves_nothing():
    code = """if True:
        import pickle, pardata
        from pardata.memory.named import session
        data = pickle.dumps(pardata.zeros(3))
        print(session.tree().path)
    """
    environment = {key: value for key, value in os.environ.items() if key != session.VARIABLE}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    (path,) = done.stdout.split()
    pid = os.path.basename(path).split("-")[0]
    assert not [name for name in os.listdir(os.path.dirname(path)) if name.startswith(f"{pid}-")], done.stderr


def home_address(array):
    block = find_anchor(array)
    return addresses._exports._addresses[block.offset, block.extent_bytes]


def ones_in_turn(number):
    return pardata.array(np.full(N, float(number)))


def test_pool_whose_workers_are_replaced_after_each_array(context):
    with context.Pool(2, maxtasksperchild=1) as pool:
        arrays = pool.map(ones_in_turn, range(6), 1)
    pool.join()
    assert [array.min() for array in arrays] == [array.max() for array in arrays] == list(range(6))


def test_array_whose_owner_has_ended_travels_on(context):
    """As an ordinary array: nobody could open the memory of a process that is gone."""
    line, theirs = context.Pipe()
    owner = context.Process(target=serve, args=(theirs,))
    owner.start()
    received = line.recv()
    owner.kill()
    owner.join()
    again = pickle.loads(pickle.dumps(received))
    assert type(again) is np.ndarray and again.sum() == received.sum()
    line.close()
    theirs.close()
    owner.close()


def test_arrays_of_ended_processes_keep_no_descriptor():
    context = multiprocessing.get_context("fork")
    before = os.listdir("/proc/self/fd")
    arrays = []
    for _ in range(3):
        line, theirs = context.Pipe()
        owner = context.Process(target=serve, args=(theirs,))
        owner.start()
        arrays.append(line.recv())
        owner.kill()
        owner.join()
        owner.close()
        line.close()
        theirs.close()
    forget_the_gone()  # happens by itself at the next fork, and with the next array of a new process
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert sum(array.sum() for array in arrays) == 3 * 5 * N


def count_and_die(array, place):
    """Be killed in the middle of counting an array as sent or received, with its cell locked."""

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    Cells.__setitem__ = die
    pickle.dumps(array) if place == "send" else pickle.loads(array)


@pytest.mark.parametrize("place", ["send", "receive"])
def test_importer_that_is_killed_while_it_counts_holds_nobody_up(place):
    shared = pardata.array(np.ones(N))
    data = pickle.dumps(shared)
    context = multiprocessing.get_context("spawn")
    importer = context.Process(target=count_and_die, args=(shared if place == "send" else data, place))
    importer.start()
    importer.join()
    assert importer.exitcode == -signal.SIGKILL
    importer.close()
    again = pickle.loads(data)
    assert np.shares_memory(again, shared)
    place = shared.ctypes.data
    del shared, again
    others = fill_all_free_memory()
    assert place in places(others)


def count_forever(line):
    """Lock a cell, fork a child that lives on, and be killed."""
    made = pardata.array(np.ones(N))
    data = pickle.dumps(made), pickle.dumps(made)
    with addresses._exports._cells._alone(home_address(made).cell):
        pid = os.fork()
        if not pid:
            line.recv()
            os._exit(0)
        line.send_bytes(data[0])
        line.send(pid)
        signal.pause()


def test_owner_that_is_killed_while_it_counts_and_has_a_child(context):
    line, theirs = context.Pipe()
    owner = context.Process(target=count_forever, args=(theirs,))
    owner.start()
    data, child = line.recv_bytes(), os.pidfd_open(line.recv())
    fd = os.open(f"/proc/{owner.pid}/fd/{address_in(data).fd}", os.O_RDWR)
    owner.kill()
    owner.join()
    lock_range(fd, fcntl.F_WRLCK, CELL_LOCKS + address_in(data).cell, 1, wait=True)  # the child does not have it
    line.send(None)
    select.select([child], [], [])
    for each in (fd, child):
        os.close(each)
    line.close()
    theirs.close()
    owner.close()


def address_in(data):
    """The address in a pickle of a SharedArray."""
    found, any_array = [], pardata.empty(N)
    with mock.patch.object(shared_array, "open_address", lambda where: found.append(where) or find_anchor(any_array)):
        pickle.loads(data)
    return found[0]


def serve(line):
    made = pardata.array(np.full(N, 5.0))
    line.send(made)
    line.recv()


def test_owner_that_is_killed_leaves_the_memory_to_who_has_it(context):
    line, theirs = context.Pipe()
    owner = context.Process(target=serve, args=(theirs,))
    owner.start()
    received = line.recv()
    owner.kill()
    owner.join()
    assert received.min() == received.max() == 5
    line.close()
    theirs.close()
    owner.close()


def test_address_of_a_process_that_is_gone_is_told(context):
    line, theirs = context.Pipe()
    owner = context.Process(target=serve, args=(theirs,))
    owner.start()
    data = line.recv_bytes()
    owner.kill()
    owner.join()
    with pytest.raises(pardata.StaleBlockError, match="is gone"):
        multiprocessing.reduction.ForkingPickler.loads(data)
    line.close()
    theirs.close()
    owner.close()
