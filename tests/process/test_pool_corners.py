"""Pools at their edges: results that nobody takes, sources that wait, errors in between, forks, ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

import pardata
from pardata.pool.processes import inline

HANG_S = 60


def run(script):
    """Run a script as a user would; what it printed."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- maps whose results are not taken, or late -------------------------------------------------------------------------


def test_a_map_is_done_whether_or_not_its_results_are_taken(tmp_path):
    with pardata.WorkerPool(2) as pool:
        pool.map(lambda n: (tmp_path / f"map{n}").touch(), range(100))
    with pardata.Pool(2) as pool:
        pool.imap_unordered(lambda n: (tmp_path / f"imap{n}").touch(), range(100), chunksize=1)
        pool.close()
        pool.join()
    assert len(list(tmp_path.iterdir())) == 200


def test_what_imap_was_given_is_done_after_close():
    pool = pardata.Pool(2)
    results = pool.imap(abs, range(-20_000, 0), chunksize=10)
    first = next(results)
    pool.close()
    assert [first, *results] == list(range(20_000, 0, -1))
    pool.join()
    late = pardata.Pool(2)
    results = late.imap(abs, range(-5_000, 0), chunksize=1)
    late.close()
    late.join()
    assert list(results) == list(range(5_000, 0, -1))
    without_a_name = pardata.WorkerPool(2).map(abs, range(-300, 0), buffersize=3)
    assert list(without_a_name) == list(range(300, 0, -1))
    for thread in threading.enumerate():
        if thread.name == "pardata-pool":  # which nobody holds any more
            thread.join()


def test_a_map_that_was_not_asked_at_once_goes_on():
    with pardata.Pool(2) as pool:
        pool.map(abs, range(100))  # the workers are there, so nothing but results wakes anybody up
        results = pool.imap(abs, range(1000))
        deadline = time.monotonic() + HANG_S
        job = results._results._job
        while job.done_items < job.ranges.total:  # all that was taken at first
            assert time.monotonic() < deadline
        assert list(results) == list(range(1000))


def test_results_that_are_there_do_not_wait_for_a_slow_source():
    taken = []

    def source():
        for number in range(1000):
            taken.append(number)
            time.sleep(0.005)
            yield number

    with pardata.WorkerPool(2) as pool:
        list(pool.map(abs, range(1000)))
        results = pool.map(abs, source(), buffersize=900)
        for number in range(10):
            assert next(results) == number
        assert len(taken) < 200  # and not all that fit into the buffer
        results.close()


def test_shutdown_cancels_what_waits_of_a_map_too():
    pool = pardata.WorkerPool(1)
    results = pool.map(time.sleep, [0.05] * 1000, chunksize=1)
    array = threading.Thread(target=_slow_map, args=(pool,))
    array.start()
    while len(pool._backend._loop.scheduler.jobs) < 2:
        os.sched_yield()
    next(results)
    pool.shutdown(cancel_futures=True)
    with pytest.raises(CancelledError):
        list(results)
    array.join()


def _slow_map(pool):
    with pytest.raises(CancelledError):
        pool.map_array(lambda block: (time.sleep(0.05), block)[1], np.zeros(1000), chunksize=1)


# -- errors in between -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_an_item_that_is_tried_again_is_the_same_item(kind, tmp_path):
    def fails_once(item):
        path = tmp_path / f"{kind}{item}"
        if item % 5 == 4 and not path.exists():
            path.touch()
            raise OSError("transient")
        return item

    items = list(range(25))  # a list: its items are forgotten as they are done
    with pardata.WorkerPool(2, retries=2, kind=kind) as pool:
        assert list(pool.map(fails_once, items, chunksize=3)) == items


def test_rows_that_a_failed_call_has_changed_are_not_changed_again(tmp_path):
    once = tmp_path / "once"

    def double(block):
        block *= 2
        if not once.exists():
            once.touch()
            raise OSError("after the change")

    array = pardata.array(np.ones(4))
    with pardata.WorkerPool(1, retries=3) as pool, pytest.raises(OSError, match="after the change"):
        pool.foreach_array(double, array, chunksize=4)
    assert (array == 2).all()


def test_calls_behind_one_that_could_not_be_sent_are_sent():
    lock = threading.Lock()
    with pardata.WorkerPool(1) as pool:
        busy = pool.submit(time.sleep, 0.1)
        bad = [pool.submit(abs, lock) for _ in range(5)]
        assert pool.submit(abs, -1).result(HANG_S) == 1
        assert all(isinstance(future.exception(HANG_S), pardata.SerializationError) for future in bad)
        busy.result()
        results = pool.results(lambda x: 1, [lock, 1, 2], lazy=True, ends=False)
        with pytest.raises(pardata.SerializationError):
            next(results)
        assert list(results) == [1, 1]


class Unloadable:
    def __reduce__(self):
        return _fail_to_load, ()


def _fail_to_load():
    raise ImportError("not here")


@pytest.mark.parametrize("direction", ["there", "back"])
def test_the_item_that_cannot_be_loaded_is_blamed_and_no_other(direction):
    bad = 5
    items = [Unloadable() if direction == "there" and n == bad else n for n in range(8)]

    def use(item):
        return Unloadable() if direction == "back" and item == bad else item

    with pardata.WorkerPool(2) as pool:
        results = pool.results(use, items, ends=False, chunksize=8)
        assert [next(results) for _ in range(bad)] == list(range(bad))
        with pytest.raises(ImportError):
            next(results)
        assert list(results) == [6, 7]


def test_exceptions_keep_their_type_however_large_they_are():
    text = b"a" * 200_000 + b"\xff"
    with pardata.WorkerPool(1) as pool:
        with pytest.raises(UnicodeDecodeError):
            pool.submit(text.decode).result()
        assert pool.statistics()["workers"][0]["processes"] == 1


def test_calls_may_wait_for_each_other(tmp_path):
    gate = tmp_path / "gate"  # whoever opens a FIFO waits there for the other end
    os.mkfifo(gate)
    with pardata.WorkerPool(2) as pool:
        for _ in range(60):
            pool.submit(abs, 1).result()
        waiting = pool.submit(gate.read_bytes)
        assert pool.submit(gate.write_bytes, b"now").result(HANG_S) == 3
        assert waiting.result(HANG_S) == b"now"


def test_a_timeout_of_the_function_is_not_one_of_the_iterator():
    def late(_):
        raise TimeoutError("the instrument does not answer")

    with pardata.Pool(1) as pool, pytest.raises(TimeoutError, match="instrument"):
        pool.imap(late, [1]).next(timeout=HANG_S)


# -- arrays ------------------------------------------------------------------------------------------------------------


def test_every_row_is_there_when_map_array_returns():
    rows = np.random.default_rng(0).random((300, 4))
    for _ in range(15):
        with pardata.WorkerPool(2) as pool:
            for _ in range(4):
                assert (pool.map_array(lambda block: block * 2, rows) == rows * 2).all()


def test_the_layout_does_not_depend_on_how_the_blocks_fall():
    array = np.random.default_rng(0).random((12, 10, 3))
    with pardata.WorkerPool(2) as pool:
        for chunksize in (1, 2, 3, 7, 12, "auto"):
            for axis, fn in [
                (0, lambda b: np.stack([b, 2 * b, 3 * b])),
                (0, lambda b: np.stack([b])),
                (1, lambda b: b.sum(axis=0)),
                (1, lambda b: b[:3].sum(axis=2)),
            ]:
                assert np.allclose(pool.map_array(fn, array, axis=axis, chunksize=chunksize), fn(array)), chunksize


def test_few_slow_rows_are_shared_by_all_workers():
    with pardata.WorkerPool(2) as pool:
        seen = pool.map_array(lambda block: np.full(len(block), len(block)), np.zeros((100, 8)))
        assert seen.max() <= 13
        seen = pool.map_array(lambda block: np.full(len(block), len(block)), np.zeros((100, 8)), halo=13)
        assert seen.max() <= 50 + 2 * 13


def test_a_mapped_file_that_was_replaced_is_read_where_it_is_mapped(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.full(1000, 16.0))
    mapped = np.load(path, mmap_mode="r")
    with pardata.WorkerPool(2) as pool:
        assert (pool.map_array(np.sqrt, mapped, out=path) == 4).all()
        assert (pool.map_array(np.sqrt, mapped) == np.sqrt(mapped)).all()
        path.unlink()
        assert (pool.map_array(np.sqrt, mapped) == 4).all()


def test_numpy_ints_are_ints_and_what_fits_nowhere_is_told():
    with pardata.WorkerPool(np.int64(2)) as pool:
        assert (pool.map_array(np.negative, np.ones(9), chunksize=np.int64(4), halo=np.int64(1)) == -1).all()
        assert list(pool.map(abs, [1, 2], chunksize=np.int32(1), buffersize=np.int64(1))) == [1, 2]
        for options, message in [
            ({"dtype": "foo"}, "none of NumPy's"),
            ({"dtype": "f4", "out": np.zeros(9)}, "give one of them"),
            ({"out": np.broadcast_to(0.0, 9)}, "read-only"),
        ]:
            with pytest.raises(pardata.ConfigError, match=message):
                pool.map_array(np.negative, np.ones(9), **options)
        with pytest.raises(pardata.ConfigError, match="results need"):
            pool.map_array(np.negative, np.ones((0, 3)), out=np.zeros((0, 4)))
    with pytest.raises(pardata.ConfigError, match="seed must be"):
        pardata.WorkerPool(1, seed="x")


def test_the_limit_is_that_of_the_workers_results():
    with pardata.WorkerPool(1, memory_limit=20_000_000) as pool:
        kept = pardata.zeros(5_000_000)  # the caller's own
        assert pool.submit(lambda: np.ones(1_000_000)).result().sum() == 1_000_000
        assert kept.nbytes == 40_000_000
        with pytest.raises(pardata.CapacityError):
            pool.submit(lambda: np.ones(5_000_000)).result()


# -- processes and ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_the_interpreter_ends_with_a_pool_that_is_still_open(kind):
    script = f"import pardata\npool = pardata.WorkerPool(1, kind={kind!r})\nprint(pool.submit(abs, -1).result())"
    assert run(script) == "1\n"
    assert run(script + "\npool.shutdown()") == "1\n"


def test_functions_of_a_script_share_its_globals_in_a_worker():
    script = """
import pardata
G, count, rate = None, 0, 1
def init(value):
    global G, H
    G, H = value, -value
def use(x):
    return x + G + H + rate
def bump(x):
    global count
    count += 1
    return count
with pardata.Pool(1, init, (10,)) as pool:
    print(pool.map(use, range(3)), pool.map(bump, range(3)), pool.map(lambda x: count, [0]))
    rate = 5
    print(pool.map(use, range(3)))
"""
    assert run(script) == "[1, 2, 3] [1, 2, 3] [3]\n[5, 6, 7]\n"


def test_what_workers_make_of_globals_stays_until_the_script_changes_them():
    script = """
import functools, typing
import numpy as np
import pardata
UserId = typing.NewType("UserId", int)
state, unset, scale = {}, object(), 0
small, large, table = np.zeros(3), np.zeros(100_000), np.ones(100_000)
def init(value):
    global small, large
    state["v"] = value
    small, large = small + value, large + value
def look(x, missing=unset):
    return state.get("v"), int(small[0]), int(large[-1]), int(table[-1]), missing is unset
def scaled(x):
    return scale
def call(fn, *args):
    return fn(*args)
@functools.lru_cache(None)
def fib(n: UserId):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
def hits(x):
    return fib.cache_info().hits
class Number:
    @functools.lru_cache
    def value(self):
        return state["v"]
with pardata.Pool(1, init, (10,)) as pool:
    for x in range(3):  # the memory of a function's arrays is used again when it is done
        assert pool.map(look, [x]) == [(10, 10, 10, 1, True)]
        assert pool.map(lambda x, other=np.full(100_000, 7.0): other[0], [x]) == [7]
    assert pool.apply(call, (look, 1)) == (10, 10, 10, 1, True)
    assert pool.apply(call, (Number().value,)) == 10
    state["w"] = 1
    assert pool.map(look, [0])[0][0] is None
with pardata.WorkerPool(1) as pool:
    futures = []
    for scale in (1, 2, 1, 3):
        futures.append(pool.submit(scaled, 0))
    assert [future.result() for future in futures] == [1, 2, 1, 3]
    assert list(pool.map(fib, [30, 30])) == [832040, 832040]
    assert list(pool.map(hits, [0])) == [29]
    assert pool.submit(lambda: lambda: scale).result()() == 3
print("all")
"""
    assert run(script) == "all\n"


def test_what_is_pickled_by_its_name_in_the_script_is_an_error_that_names_it():
    script = """
import pardata
class Named:
    def __reduce__(self):
        return "thing"
thing = Named()
try:
    list(pardata.map(lambda x: thing, [1]))
except pardata.SerializationError as error:
    print(error)
"""
    assert "'thing' of the script was pickled by its name" in run(script)


def test_a_spawned_child_can_run_functions_of_its_script(tmp_path):
    script = tmp_path / "spawned.py"
    script.write_text("""
import multiprocessing
import pardata
def add_one(x):
    return x + 1
def child():
    with pardata.WorkerPool(1) as pool:
        print(list(pool.map(add_one, range(3))), pool.submit(add_one, 5).result())
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child)
    process.start()
    process.join()
""")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=HANG_S)
    assert done.stdout == "[1, 2, 3] 6\n", done.stderr


def test_a_forked_child_is_told_that_the_pool_is_not_its_own():
    def use(pool, answers):
        for ask in (lambda: pool.submit(abs, 1), pool.statistics, pool.report):
            try:
                ask()
                answers.put("")
            except RuntimeError as error:
                answers.put(str(error))
        pool.shutdown(cancel_futures=True)

    with pardata.WorkerPool(1) as pool:
        pool.submit(abs, 1).result()
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()
        child = context.Process(target=use, args=(pool, answers))
        held, forked = threading.Event(), threading.Event()

        def hold():
            with pool._backend._lock:
                held.set()
                forked.wait(HANG_S)

        holder = threading.Thread(target=hold)  # as the pool's thread does, at moments
        holder.start()
        held.wait(HANG_S)
        child.start()
        forked.set()
        holder.join()
        assert all("belongs to process" in answers.get() for _ in range(3))
        child.join()
        assert child.exitcode == 0
        assert [pool.submit(abs, -n).result(HANG_S) for n in range(20)] == list(range(20))


def test_a_shutdown_is_noticed_while_others_wait_for_results():
    for _ in range(20):
        pool = pardata.WorkerPool(1)
        ready = threading.Event()

        def ask(pool=pool, ready=ready):
            while True:
                try:
                    future = pool.submit(abs, -1)
                except RuntimeError:
                    return
                ready.set()
                future.result()

        thread = threading.Thread(target=ask)
        thread.start()
        ready.wait()
        pool.shutdown()
        thread.join()


def test_an_interrupt_leaves_a_pool_that_works():
    """SIGINT at all kinds of moments; afterwards the pool does its work, and ends."""
    script = """
import os, random, signal, threading, time, pardata
pool = pardata.WorkerPool(2)
list(pool.map(abs, range(100)))
asked, ask = os.pipe()
def shoot():
    while os.read(asked, 1) == b"!":  # only when the main thread is ready for it
        time.sleep(random.uniform(0, 0.002))
        os.kill(os.getpid(), signal.SIGINT)
shooter = threading.Thread(target=shoot)
shooter.start()
for _ in range(100):
    try:
        os.write(ask, b"!")
        while True:
            pool.submit(abs, -3).result()
    except KeyboardInterrupt:
        pass
os.write(ask, b".")
shooter.join()
assert [pool.submit(abs, -n).result(20) for n in range(50)] == list(range(50))
pool.shutdown()
print(True)
"""
    assert run(script) == "True\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_task_of_threads_may_wait_for_others_with_a_timeout_or_a_bar():
    with pardata.WorkerPool(1, kind="thread") as pool:

        def nest():
            bar = pool.map(abs, range(20), progress=_Silent)
            return pool.submit(os.getpid).result(timeout=HANG_S), sum(bar)

        assert pool.submit(nest).result(HANG_S) == (os.getpid(), 190)


class _Silent:
    def __init__(self, **options):
        self.n = 0

    def refresh(self): ...
    def close(self): ...


def test_a_task_may_give_its_output_to_another_program():
    told = run("""if True:
        import subprocess, sys
        import pardata

        def talk():
            subprocess.run(["echo", "hello"], stdout=sys.stdout, check=True)
            subprocess.run(["sh", "-c", "echo trouble >&2"], stderr=sys.stdout, check=True)

        with pardata.WorkerPool(1) as pool:
            pool.submit(talk).result()
    """)
    assert told == "hello\ntrouble\n"


def test_a_caller_who_takes_many_results_tells_the_workers_so(tmp_path, monkeypatch):
    monkeypatch.setattr(inline, "_INLINE_S", 60.0)
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)

    def first():
        with open(gate) as pipe:
            pipe.read()

    with pardata.WorkerPool(1) as pool:
        futures = [pool.submit(first), *(pool.submit(abs, -number) for number in range(100))]
        is_open = []

        def are_there():
            if not is_open:
                is_open.append(open(gate, "w").close())
            return futures[-1].done()

        assert pool._backend.run_inline(are_there)
        assert [future.result() for future in futures[1:]] == list(range(100))


def test_a_captured_array_travels_once_and_again_when_it_has_changed():
    table = np.arange(1e6)

    def look(index):
        return table.__array_interface__["data"][0], table[index], table.flags.writeable

    with pardata.WorkerPool(1) as pool:
        places = {pool.submit(look, 5).result() for _ in range(5)}
        places |= set(pool.map(look, [5, 5]))
        assert len(places) == 1
        table[5] = -1
        (place, _, _), *_ = places
        other, value, is_writable = pool.submit(look, 5).result()
        assert other != place and value == -1 and is_writable


def test_a_captured_array_in_shared_memory_stays_where_it_is():
    table = pardata.array(np.arange(1e6))

    def look(index):
        return table[index]

    with pardata.WorkerPool(1) as pool:
        assert pool.submit(look, 5).result() == 5
        table[5] = -1
        assert pool.submit(look, 5).result() == -1


def test_an_argument_in_shared_memory_that_nobody_may_change_is_not_copied():
    table = pardata.array(np.arange(1e6))

    def place(array):
        return array.__array_interface__["data"][0], array[5]

    with pardata.WorkerPool(1) as pool:
        table.setflags(write=False)
        assert len({pool.submit(place, table).result() for _ in range(3)}) == 1
        assert len({place for place, _ in pool.map(place, [table] * 3)}) == 1
        table.setflags(write=True)
        future = pool.submit(place, table)
        table[5] = -1
        assert future.result()[1] == 5


def test_results_that_are_gone_make_room_for_the_next():
    """The next task finds their memory free: there is room for the result that is held, and the one that is made."""
    with pardata.WorkerPool(3, memory_limit="14MB") as pool:
        results = pool.map(lambda number: np.full(750_000, float(number)), range(20), buffersize=1)
        assert sum(float(result[-1]) for result in results) == sum(range(20))


def test_results_that_are_kept_are_told_with_what_would_do():
    message = "a task of the pool needs 6.3 MB .* .buffersize=., or raise"
    with pardata.WorkerPool(1, memory_limit="14MB") as pool, pytest.raises(pardata.CapacityError, match=message):
        list(pool.map(np.full, [750_000] * 4, range(4)))


def test_a_forked_child_waits_for_no_threads_of_its_parent():
    script = """
import os, signal, sys, pardata
pool = pardata.WorkerPool(2, kind="thread")
pool.submit(abs, -1).result()
for end in (lambda: pool.submit(abs, 1), pool.shutdown, sys.exit):
    with pool._backend._changed:  # as a thread of the pool holds it, at moments
        pid = os.fork()
    if not pid:
        signal.alarm(30)
        try:
            end()
        except pardata.WorkerLostError as error:
            assert "make a pool here" in str(error)
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (0 if end is sys.exit else 7)
print(pool.submit(abs, -2).result())
pool.shutdown()
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert done.stdout == "2\n", done.stderr
