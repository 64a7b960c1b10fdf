"""SharedArrays in processes that pardata did not start: one memory, whoever ends first, and never reused too early."""

import concurrent.futures
import multiprocessing
import os
import signal

import numpy as np
import pytest

import pardata
from pardata.memory.home import home

N = 1 << 18  # numbers, in whole huge pages


def add_one(array):
    array += 1
    return array


def ones(n):
    made = pardata.zeros(n)
    made += 1
    return made


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
    home().arena._ask_for_memory()
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
