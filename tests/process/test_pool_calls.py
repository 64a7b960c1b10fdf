"""Calls on a pool of real workers: futures, limits, retries, nested use, and what a task knows of its worker."""

import functools
import logging
import os
import pickle
import sys
import threading
import time
from concurrent.futures import CancelledError, as_completed, wait

import numpy as np
import pytest

import pardata
from pardata.pool import default
from pardata.pool.default import default_pool, shutdown
from tests.process.bars import Bar

KINDS = ["process", "thread"]


@pytest.fixture(params=KINDS)
def pool(request):
    with pardata.WorkerPool(2, kind=request.param) as pool:
        yield pool


def test_map_is_that_of_python(pool):
    assert list(pool.map(lambda x: x * x, range(1000))) == [x * x for x in range(1000)]
    assert list(pool.map(pow, [2, 3, 4], [3, 2])) == [8, 9]
    assert not callable(pool)  # or dask would take it for a scheduler of its own kind; `Pool` is
    assert list(pool.map(abs, [])) == []
    assert list(pool.map(lambda x: x[0], [(1, 2), (3, 4)])) == [1, 3]


@pytest.mark.parametrize("chunksize", [1, 7, 10_000, "auto", "static", "guided", "1ms", "4kB"])
def test_every_chunksize_gives_the_same(pool, chunksize):
    items = [float(x) for x in range(3000)]
    assert list(pool.map(lambda x: x + 1, items, chunksize=chunksize)) == [x + 1 for x in items]


def test_buffersize_takes_no_more_items_than_that(pool):
    taken = []

    def endless():
        number = 0
        while True:
            taken.append(number)
            yield number
            number += 1

    results = pool.map(lambda x: -x, endless(), buffersize=5)
    for number in range(50):
        assert next(results) == -number
        assert len(taken) <= number + 1 + 5
    results.close()


def test_an_error_of_the_iterable_is_raised_where_it_is_read(pool):
    def broken():
        yield 1
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(pool.map(abs, broken(), buffersize=1))
    assert list(pool.map(abs, [-1])) == [1]


def test_map_times_out(pool):
    event = threading.Event() if pool.kind == "thread" else None
    results = pool.map(lambda x: event.wait() if event else time.sleep(60), [0], timeout=0.05)
    with pytest.raises(TimeoutError, match="result 0 did not come before the timeout was over"):
        next(results)
    if event:
        event.set()
    else:
        pool.terminate()


def test_a_running_call_is_cancelled_and_the_others_go_on(tmp_path):
    gate = tmp_path / "gate"  # whoever opens a FIFO waits there for the other end
    os.mkfifo(gate)
    with pardata.WorkerPool(2) as pool:
        pids = {pool.submit(os.getpid).result() for _ in range(20)}
        running = pool.submit(time.sleep, 600)
        other = pool.submit(lambda: (gate.read_bytes(), os.getpid())[1])
        while not (running.running() and other.running()):
            os.sched_yield()
        assert running.cancel() and running.cancelled() and running.done()
        with pytest.raises(CancelledError):
            running.result()
        gate.write_bytes(b"")
        assert other.result() in pids or len(pids) < 2
        assert not other.cancel()
        done, left = wait([running, other])
        assert done == {running, other} and not left
        assert [pool.submit(pow, 2, n).result() for n in range(50)] == [2**n for n in range(50)]


def test_waiting_calls_are_cancelled_at_shutdown():
    pool = pardata.WorkerPool(1)
    futures = [pool.submit(time.sleep, 0.1) for _ in range(20)]
    pool.shutdown(cancel_futures=True)
    assert sum(future.cancelled() for future in futures) >= 17
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(abs, 1)


def test_callbacks_may_use_the_pool(pool):
    done = threading.Event()
    results = []

    def go_on(future):
        results.append(future.result())
        if len(results) < 20:
            pool.submit(abs, len(results)).add_done_callback(go_on)
        else:
            done.set()

    pool.submit(abs, 0).add_done_callback(go_on)
    assert done.wait(30)
    assert results == list(range(20))
    assert {future.result() for future in as_completed([pool.submit(abs, -n) for n in range(9)])} == set(range(9))


def test_a_callback_for_which_the_pool_waits_cannot_wait_for_it(tmp_path):
    """It was for ever: the callback is called by the thread that takes results in, or by a caller in its place."""
    errors, is_told = [], threading.Event()
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def waits(_):
        for one in (pool.submit(abs, 1).result, lambda: list(pool.map(abs, range(3)))):
            try:
                one()
            except RuntimeError as error:
                errors.append(str(error))
        try:
            pool.submit(abs, 1).result(timeout=0)
        except TimeoutError:
            is_told.set()

    with pardata.WorkerPool(1) as pool:
        waited = pool.submit(gate.read_text)
        waited.add_done_callback(waits)
        gate.write_text("open")  # when the worker has begun to read
        assert is_told.wait(30) and waited.result() == "open"
        assert len(errors) == 2 and "cannot wait for another result of its pool" in errors[0]
        assert pool.submit(abs, -2).result() == 2


def test_a_call_that_takes_too_long_is_ended_and_named():
    with pardata.WorkerPool(2, timeout_s=0.2) as pool:
        with pytest.raises(pardata.DeadlineExceeded, match=r"a call with \(600,\) took longer than timeout_s=0.2"):
            pool.submit(time.sleep, 600).result()
        results = pool.results(lambda x: time.sleep(600) if x == 5 else x, range(10), ends=False)
        got = []
        for _ in range(10):
            try:
                got.append(next(results))
            except pardata.DeadlineExceeded as error:
                got.append(str(error).split(" took")[0])
        assert got == [0, 1, 2, 3, 4, "item 5 of a map: 5", 6, 7, 8, 9]
        with pytest.raises(pardata.DeadlineExceeded, match="rows? .* of an array"):
            pool.map_array(lambda block: time.sleep(600), np.zeros(10))


def test_a_time_limit_holds_for_a_call_that_the_caller_has_handed_out_while_the_pools_thread_sleeps(monkeypatch):
    """With `buffersize` items are handed out as results are taken, and no event tells the thread of that."""
    with pardata.WorkerPool(1, timeout_s=0.2) as pool:
        backend, asleep = pool._backend, threading.Event()
        waiting = backend._loop.topology.waiting
        wait = waiting.wait
        monkeypatch.setattr(backend, "run_inline", lambda *_: False)
        results = pool.map(time.sleep, [0, 600], buffersize=1)
        next(results)
        monkeypatch.setattr(waiting, "wait", lambda timeout_s: asleep.set() or wait(timeout_s))
        backend.wake()
        assert asleep.wait(30)
        with pytest.raises(pardata.DeadlineExceeded):
            next(results)


def test_what_fails_is_tried_again(tmp_path):
    def once_a_failure(number):
        path = tmp_path / str(number)
        if number % 3 == 0 and not path.exists():
            path.touch()
            if number % 2:
                time.sleep(600)
            raise OSError("transient")
        return number

    with pardata.WorkerPool(2, retries=1, timeout_s=0.5) as pool:
        assert list(pool.map(once_a_failure, range(12))) == list(range(12))
        assert pool.submit(once_a_failure, 12).result() == 12
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()


def test_every_process_does_one_task():
    with pardata.WorkerPool(2, max_tasks_per_worker=1) as pool:
        futures = [pool.submit(os.getpid) for _ in range(100)]
        assert len({future.result() for future in futures}) == 100
        assert list(pool.map(abs, range(100), chunksize=1)) == list(range(100))
        assert all(worker["deaths"] == 0 for worker in pool.statistics()["workers"])


@pytest.mark.parametrize("kind", KINDS)
def test_an_initializer_runs_in_every_worker(kind):
    def prepare(value):
        pardata.worker().shared["ready"] = value

    with pardata.WorkerPool(2, initializer=prepare, initargs=(7,), shared={}, kind=kind) as pool:
        found = list(pool.map(lambda _: pardata.worker().shared["ready"], range(20)))
    assert found == [7] * 20


@pytest.mark.parametrize("kind", KINDS)
def test_an_initializer_that_raises_breaks_the_pool_with_one_error(kind):
    def fail():
        raise ValueError("no licence")

    with pardata.WorkerPool(2, initializer=fail, kind=kind) as pool:
        with pytest.raises(pardata.WorkerLostError, match="ValueError: no licence") as caught:
            pool.submit(abs, 1).result()
        cause = caught.value.__cause__
        assert isinstance(cause, ValueError) or isinstance(cause.__cause__, ValueError)  # before or after it broke
        with pytest.raises(pardata.WorkerLostError):
            pool.submit(abs, 1).result()


def test_workers_that_exit_while_they_start_break_the_pool_with_one_error():
    with (
        pardata.WorkerPool(2, initializer=os._exit, initargs=(4,)) as pool,
        pytest.raises(pardata.WorkerLostError, match="in a row .* while they were starting, .* exited with code 4"),
    ):
        pool.submit(abs, 1).result()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be an int of at least 1"),
        ({"max_workers": 0}, "max_workers must be greater than 0"),
        ({"workers": 1, "max_workers": 1}, "two names"),
        ({"kind": "fiber"}, 'kind must be "process" or "thread"'),
        ({"timeout_s": -1}, "timeout_s must be at least 0"),
        ({"timeout_s": 0}, "timeout_s must be a number of seconds above 0, not 0"),
        ({"timeout_s": float("inf")}, "timeout_s must be a number of seconds above 0, not inf"),
        ({"timeout_s": float("nan")}, "timeout_s must be a number of seconds above 0, not nan"),
        ({"name": 5}, "name must be a str, not 5"),
        ({"retries": -1}, "retries must be at least 0"),
        ({"max_tasks_per_worker": 0}, "max_tasks_per_worker must be at least 1"),
        ({"initializer": 3}, "initializer must be a function"),
        ({"kind": "thread", "timeout_s": 1}, "timeout_s is for processes"),
        ({"shared": threading.Lock()}, "cannot be sent to a worker process.* is a _thread.lock"),
    ],
)
def test_wrong_options_are_told_before_anything_starts(options, message):
    with pytest.raises(pardata.ConfigError, match=message):
        pardata.WorkerPool(**options)


def test_what_cannot_be_sent_is_named_and_the_rest_is_done():
    lock = threading.Lock()
    with pardata.WorkerPool(2) as pool:
        with pytest.raises(pardata.SerializationError, match="argument of the call .* is a _thread.lock"):
            pool.submit(abs, lock).result()
        results = pool.results(lambda x: 1, [1, 2, lock, 4], ends=False)
        assert next(results) == next(results) == 1
        with pytest.raises(pardata.SerializationError, match="item 2 of a map .*_thread.lock"):
            next(results)
        assert next(results) == 1
        with pytest.raises(pardata.SerializationError, match="the result cannot be sent back.*generator"):
            pool.submit(lambda: (x for x in range(3))).result()
        results = pool.results(lambda x: threading.Lock() if x == 3 else x, range(6), ends=False)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(pardata.SerializationError, match="result cannot be sent back"):
            next(results)
        assert [next(results) for _ in range(2)] == [4, 5]
        with pytest.raises(pardata.ConfigError, match="captured variable 'pool'.*belongs to the process"):
            pool.submit(lambda: pool.submit(abs, 1))
        with pytest.raises(TypeError, match="belongs to the process that made it"):
            pickle.dumps(pool)


def test_threads_may_wait_for_tasks_of_their_own_pool():
    with pardata.WorkerPool(1, kind="thread") as pool:

        def nest(depth):
            return 0 if depth == 0 else 1 + pool.submit(nest, depth - 1).result()

        assert pool.submit(nest, 30).result() == 30


def test_tasks_may_use_pools_of_their_own():
    def nested(n):
        with pardata.WorkerPool() as inner:
            return sum(inner.map(abs, range(n))) + sum(pardata.map(abs, range(n)))

    with pardata.WorkerPool(2) as pool:
        assert list(pool.map(nested, [10, 20])) == [90, 380]


def test_the_pool_of_the_process_stays_warm():
    try:
        assert list(pardata.map(abs, [-1, -2])) == [1, 2]
        first = default_pool()
        assert np.array_equal(pardata.map_array(np.sqrt, np.arange(10.0)), np.sqrt(np.arange(10.0)))
        assert default_pool() is first
        assert pardata.reduce_array(np.sum, np.arange(10), lambda a, b: a + b) == 45
        filled = pardata.zeros(10)
        pardata.foreach_array(lambda block: block.fill(2.0), filled)
        assert np.array_equal(filled, np.full(10, 2.0)) and default_pool() is first
    finally:
        shutdown()
    assert not first.is_open


def test_the_pool_of_the_process_ends_when_it_was_idle_for_long(monkeypatch):
    monkeypatch.setattr(default, "UNUSED_S", 0.01)
    warm = default._Warm()
    try:
        backend = warm.get()._backend
        warm._timer.join()  # and it is let go of there, as nobody asks for it any more
        backend._thread.join()
        assert not backend.is_open and warm.get()._backend is not backend
    finally:
        warm.close()


def test_the_pool_of_the_process_does_not_end_while_it_is_needed(monkeypatch):
    class Timer:
        def __init__(self, *_): ...
        def start(self): ...
        def cancel(self): ...
        def join(self): ...

    def look():
        warm._timer = timer = threading.Thread(target=warm._look)
        timer.start()
        timer.join()

    monkeypatch.setattr(default.threading, "Timer", Timer)
    warm = default._Warm()
    try:
        pool = warm.get()
        late = time.monotonic() + 2 * default.UNUSED_S
        monkeypatch.setattr(default.time, "monotonic", lambda: late)
        endless = pool.map(abs, iter(int, 1), buffersize=1)  # has no tasks while nobody takes results
        assert next(endless) == 0
        look()
        assert warm.get() is pool
        endless.close()
        look()  # it was asked for a moment ago
        assert warm.get() is pool
        late += 2 * default.UNUSED_S
        look()
        assert pool.is_open and warm.get() is not pool  # it is still held here
        pool.shutdown()
    finally:
        warm.close()


def test_a_caller_who_reads_items_for_long_keeps_the_pool_of_the_process(monkeypatch):
    def items():
        late = time.monotonic() + 2 * default.UNUSED_S
        with monkeypatch.context() as patch:
            patch.setattr(default.time, "monotonic", lambda: late)
            warm._timer.cancel()
            warm._timer = timer = threading.Thread(target=warm._look)
            timer.start()
            timer.join()
        yield -1

    warm = default._Warm()
    thread = warm.get()._backend._thread
    assert list(warm.get().map(abs, items())) == [1]
    assert warm._pool is None
    thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_that_is_not_at_its_end_says_that_its_pool_is(kind):
    with pardata.WorkerPool(1, kind=kind) as pool:
        endless = pool.map(abs, iter(int, 1), buffersize=1)
        assert next(endless) == 0
    with pytest.raises(pardata.WorkerLostError, match="the pool has ended"):
        list(endless)


def test_random_numbers_depend_on_the_item_alone():
    def draw(number):
        return pardata.worker().item, pardata.worker().random.random()

    def draws(workers, chunksize, kind="process"):
        with pardata.WorkerPool(workers, seed=5, kind=kind) as pool:
            return list(pool.map(draw, range(50), chunksize=chunksize))

    expected = draws(1, 50)
    assert [item for item, _ in expected] == list(range(50))
    assert len({value for _, value in expected}) == 50
    assert draws(2, 1) == draws(3, "auto") == draws(2, 7, "thread") == expected
    assert isinstance(pardata.worker().random, np.random.Generator)  # outside of a pool as well


def test_shared_arrays_travel_once_and_are_read_only():
    table = np.arange(1e6)

    def use(number):
        held = pardata.worker().shared["table"]
        return held[number], held.flags.writeable, pardata.worker().index in (0, 1), pardata.worker().workers

    with pardata.WorkerPool(2, shared={"table": table}, name="lab") as pool:
        assert list(pool.map(use, range(100))) == [(n, False, True, 2) for n in range(100)]
        assert pool.statistics()["sent_bytes"] < table.nbytes / 10
        pool.submit(bytes, 1_000_000).result()
        assert 1_000_000 < pool.statistics()["received_bytes"] < 1_100_000


def test_what_workers_say_comes_to_the_parent_tagged(capsys, caplog):
    def talk():
        import warnings

        print("one\ntwo")
        print("begun", end="")
        warnings.warn("careful", stacklevel=1)
        logging.getLogger("lab").error("code %d", 3)

    with pardata.WorkerPool(1, name="lab") as pool:
        pool.submit(talk).result()
        out, err = capsys.readouterr()
    assert out == "[lab 0] one\n[lab 0] two\n[lab 0] begun\n"
    assert "[lab 0]" in err and "UserWarning: careful" in err
    assert [(record.name, record.message, record.processName) for record in caplog.records] == [
        ("lab", "code 3", "lab 0")
    ]


def test_log_records_of_any_size_and_contents_arrive(caplog):
    def talk():
        extras = {"dump": "d" * 300_000, "shape": (3, 4), "n": np.int64(7), "share": np.float32(0.5), "odd": Odd()}
        logging.getLogger("lab").error("m" * 300_000, extra=extras)
        return 5

    class Odd:
        def __str__(self):
            raise RuntimeError

    with pardata.WorkerPool(1) as pool:
        assert pool.submit(talk).result() == 5
    (record,) = caplog.records
    assert record.message.startswith("m" * 1000) and record.message.endswith("(300000 characters)")
    assert record.dump.startswith("d" * 1000)
    assert f"{record.shape} {record.n:03d} {record.share:.2f}" == "(3, 4) 007 0.50"
    assert "RuntimeError" in record.odd


def test_notes_of_errors_speak_of_the_call(pool):
    def fail(x, y=0):
        raise ValueError(x)

    def notes(make):
        with pytest.raises(ValueError) as caught:
            make()
        return caught.value.__notes__

    assert notes(lambda: pool.submit(fail, 7).result()) == ["in the call of 'fail': 7"]
    assert notes(lambda: pool.submit(fail, 7, 8).result()) == ["in the call of 'fail': (7, 8)"]
    assert notes(lambda: list(pool.map(fail, [7]))) == ["in the call of 'fail', item 0: 7"]
    told = notes(lambda: pool.map_array(fail, np.zeros(3), chunksize=3))
    assert told == ["in the call of 'fail' for rows 0 to 3"]


def test_an_error_larger_than_a_message_reaches_the_caller():
    class Wordy(ValueError):
        def __str__(self):
            return "\N{GRINNING FACE}" * 300_000

    def fail():
        raise Wordy("a" * 58_000)

    with pardata.WorkerPool(1) as pool, pytest.raises((ValueError, pardata.RemoteError), match="\N{GRINNING FACE}"):
        pool.submit(fail).result()
    with pytest.raises((ValueError, pardata.RemoteError), match="\N{GRINNING FACE}"):
        pardata.source(range(2)).map(lambda x: fail()).run()


def test_progress_counts_items(pool):
    Bar.made.clear()
    assert sum(pool.map(abs, range(100), chunksize=7, progress=Bar)) == 4950
    pool.map_array(lambda block: block, np.zeros(1000), progress=Bar)
    assert [(bar.n, bar.total) for bar in Bar.made] == [(100, 100), (1000, 1000)]


def test_a_task_shows_a_bar_of_its_own(pool, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("pardata.runtime.bars.REFRESH_S", 0)  # of threads; processes have their own

    def fit(rounds):
        bar = pardata.worker().progress(total=rounds, desc="fit", unit="round")
        print("between")  # a line in the middle of a bar stays whole
        for _ in range(rounds):
            bar.update()
        bar.refresh()
        return [x for x in pardata.worker().progress(range(3), desc="check")]

    with_bar = pool.map(fit, [40], progress=True)
    assert list(with_bar) == [[0, 1, 2]]
    out, err = capsys.readouterr()
    assert out.splitlines() == (["[pool 0] between"] if pool.kind == "process" else ["between"]) or "1]" in out
    for text in ("fit: 100%", "40/40", "check: "):
        assert text in err, err
    assert "map: 100%" in err.rpartition("check")[2]  # the map's own bar is the last and stays
    from tqdm import tqdm

    assert not tqdm._instances  # what a task has left open is taken away


def test_a_bar_outlives_neither_its_item_nor_its_worker(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    def die():
        pardata.worker().progress(total=3, desc="fatal").refresh()
        os.kill(os.getpid(), 9)

    with pardata.WorkerPool(1) as pool:
        list(pool.map(lambda n: pardata.worker().progress(total=n, desc="open").n, [1, 2], chunksize=2))
        with pytest.raises(pardata.WorkerLostError):
            pool.submit(die).result()
        from tqdm import tqdm

        assert not tqdm._instances
    assert "fatal" in capsys.readouterr().err
    bar = pardata.worker().progress([7], desc="outside of a pool")
    assert list(bar) == [7] and bar.n == bar.total == 1
    with pytest.raises(TypeError, match="without an iterable"):
        list(pardata.worker().progress(total=1))


def test_bars_that_libraries_draw_in_a_worker_are_shown_once(capsys):
    def fit():
        from tqdm import tqdm

        for _ in tqdm(range(50), desc="inner", mininterval=0):
            pass

    with pardata.WorkerPool(1) as pool:
        pool.submit(fit).result()
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("[pool 0] inner: 100%") and "50/50" in line


def test_statistics_tell_what_was_done(pool):
    list(pool.map(time.sleep, [0.0] * 10 + [0.05]))
    told = pool.statistics()
    for worker in told["workers"]:
        assert 0 < worker["start_s"] < told["seconds"] and worker["wait_s"] >= 0
    assert sum(worker["tasks"] for worker in told["workers"]) == told["chunks"][-1]["chunks"]
    assert any(seconds >= 0.05 and "item 10" in name for seconds, name in told["longest"])
    assert sum(worker["work_s"] for worker in told["workers"]) >= 0.05


def test_a_function_that_cannot_be_loaded_there_says_so():
    class Unloadable:
        def __call__(self, x):
            return x

        def __reduce__(self):
            return _fail_to_load, ()

    with pardata.WorkerPool(1) as pool:
        for call in (lambda: list(pool.map(Unloadable(), [1])), lambda: pool.submit(Unloadable(), 1).result()):
            with pytest.raises(ImportError):
                call()
        assert pool.submit(abs, -1).result() == 1


def _fail_to_load():
    raise ImportError("not in this process")


class Refilled:
    """Fills one object of its own again for each call, and returns it."""

    def __init__(self, made, fill):
        self.made, self.fill = made, fill

    def __call__(self, number):
        self.fill(self.made, number)
        return self.made


def fill_array(array, number):
    array[:] = number


def fill_list(numbers, number):
    numbers[0] = number


REFILLED = {
    "array": lambda: Refilled(np.zeros(1000), fill_array),
    "small array": lambda: Refilled(np.zeros(2), fill_array),
    "list": lambda: Refilled([0], fill_list),
    "list in a tuple": lambda: Refilled(([0], 1), lambda made, number: fill_list(made[0], number)),
    "array in a dict": lambda: Refilled({0: np.zeros(2)}, lambda made, number: fill_array(made[0], number)),
    "dict": lambda: Refilled({0: 0}, fill_list),
    "view": lambda: Refilled(np.zeros(1000)[::2], fill_array),
}


@pytest.mark.parametrize("chunksize", [1, 50, "auto"])
@pytest.mark.parametrize("kind", REFILLED)
def test_results_are_what_they_were_when_they_were_returned(kind, chunksize):
    """Also where a function returns one object again and again; short calls travel together."""
    wanted = [pickle.loads(pickle.dumps(call(number))) for call in [REFILLED[kind]()] for number in range(200)]
    made = {}

    def call(number):
        return made.setdefault(0, REFILLED[kind]())(number)

    with pardata.WorkerPool(1) as pool:
        found = list(pool.map(call, range(200), chunksize=chunksize))
    np.testing.assert_equal(found, wanted)


@pytest.mark.parametrize("combine", [np.add, np.maximum])
def test_parts_of_a_sum_are_what_they_were_when_they_were_returned(combine):
    rows = np.arange(10_000.0)

    def largest(block):
        kept = vars(np.random).setdefault("_kept", np.zeros(1))  # the worker's own
        kept[:] = block.max()
        return kept

    parts = [np.array([block.max()]) for block in np.split(rows, 100)]
    with pardata.WorkerPool(2) as pool:
        found = pool.reduce_array(largest, rows, combine, chunksize=100)
    np.testing.assert_array_equal(found, functools.reduce(combine, parts))
