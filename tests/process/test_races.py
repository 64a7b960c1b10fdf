"""Two threads at once: the end of a pool or a run, and who looks at it just then. The order is forced."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pardata
from pardata.pool import threads
from pardata.pool.arrays.inputs import InputArrays
from pardata.pool.configuration import Setup
from pardata.pool.open_backends import open_backends

KINDS = ["process", "thread"]


def fail():
    raise ValueError("no")


def test_a_pool_of_threads_ends_once_with_the_last_of_them(monkeypatch):
    ends = []

    def start_and_see_it_end(thread, start=threads.start_thread):
        start(thread)
        thread.join()  # its initializer has raised
        ends.append("thread")

    monkeypatch.setattr(threads, "start_thread", start_and_see_it_end)
    monkeypatch.setattr(Setup, "has_ended", lambda self: ends.append("pool"))
    pardata.WorkerPool(3, kind="thread", initializer=fail).shutdown()
    assert ends == ["thread", "thread", "pool", "thread"]


def test_a_pool_of_threads_ends_if_one_had_ended_before_another_could_not_be_started(monkeypatch):
    started = []

    def start_one(thread, start=threads.start_thread):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)
        thread.join()

    monkeypatch.setattr(threads, "start_thread", start_one)
    with pytest.raises(pardata.CapacityError, match="ulimit -u"):
        pardata.WorkerPool(2, kind="thread", initializer=fail)
    assert not open_backends


def test_the_end_of_a_pool_of_threads_does_not_wait_for_a_call_that_begins_just_then(monkeypatch):
    begun, told = threading.Event(), threading.Event()

    def hold():
        begun.set()
        told.wait()

    pool = pardata.WorkerPool(1, kind="thread")
    backend = pool._backend

    def begin_and_close(*args, close=backend.close, **options):
        if not begun.is_set():
            pool.submit(hold)
            begun.wait()
        close(*args, **options)

    monkeypatch.setattr(backend, "close", begin_and_close)
    backend.end_now()
    told.set()
    pool.shutdown()


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_that_takes_items_on_the_way_goes_on_when_its_pool_is_closed(kind):
    pool = pardata.WorkerPool(1, kind=kind)
    results = pool.map(abs, iter(range(-5, 0)), buffersize=1)
    assert next(results) == 5  # and the workers have nothing to do at this moment
    pool.shutdown(wait=False)
    assert list(results) == [4, 3, 2, 1]
    pool.shutdown()


CALLS = {
    "map_array": lambda pool: pool.map_array(np.sqrt, np.full(9, 4.0)).sum() == 18,
    "reduce_array": lambda pool: pool.reduce_array(np.max, np.arange(9), max) == 8,
    "foreach_array": lambda pool: pool.foreach_array(np.ndarray.sort, np.arange(9)) is None,
}


def before_its_job(monkeypatch, what):
    """Have something done while a call copies its arrays, before it gives the pool its job."""

    def hold(*args, hold=InputArrays.hold):
        what()
        hold(*args)

    monkeypatch.setattr(InputArrays, "hold", hold)


@pytest.mark.parametrize(("call", "kind"), [("map_array", "process"), *((call, "thread") for call in CALLS)])
def test_a_call_that_copies_its_arrays_while_its_pool_is_shut_down_finishes(call, kind, monkeypatch):
    pool = pardata.WorkerPool(1, kind=kind)
    with ThreadPoolExecutor(2) as others:

        def close():
            closed = threading.Event()
            with monkeypatch.context() as patch:
                patch.setattr(pool._backend, "wake", lambda wake=pool._backend.wake: (wake(), closed.set()))
                others.submit(pool.shutdown)
                closed.wait()
            with pytest.raises(RuntimeError, match="after shutdown"):
                others.submit(pool.submit, abs, 1).result()

        before_its_job(monkeypatch, close)
        assert CALLS[call](pool)


@pytest.mark.parametrize("is_by_others", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_call_ends_that_is_cancelled_or_broken_off_by_a_shutdown_before_it_has_a_job(kind, is_by_others, monkeypatch):
    pool = pardata.WorkerPool(1, kind=kind)
    with ThreadPoolExecutor(1) as others:

        def close():
            if is_by_others:
                others.submit(pool.shutdown, cancel_futures=True).result()
            else:
                pool.shutdown()  # as a signal's handler may

        before_its_job(monkeypatch, close)
        with pytest.raises(RuntimeError, match="after shutdown"):
            CALLS["map_array"](pool)


def test_nobody_stands_in_for_the_thread_of_a_pool_that_ends_the_workers(monkeypatch):
    pool = pardata.WorkerPool(1)
    backend = pool._backend
    loop, errors, stand_ins, tried = backend._loop, [], [], threading.Event()
    results = pool.map(abs, iter(int, 1), buffersize=1)
    assert next(results) == 0

    def run_inline(*args, run=backend.run_inline):
        found = run(*args)
        tried.set()
        return found

    def take():
        try:
            list(results)
        except pardata.WorkerLostError as error:
            errors.append(str(error))

    taker = threading.Thread(target=take)

    def stop(*args, stop=loop._supervisor.stop):  # just then another thread finds work for the pool
        monkeypatch.setattr(loop.topology.waiting, "has_news", lambda: True)
        monkeypatch.setattr(loop, "_handle", lambda: stand_ins.append(threading.current_thread()))
        taker.start()
        tried.wait()
        stop(*args)

    monkeypatch.setattr(loop._supervisor, "stop", stop)
    monkeypatch.setattr(backend, "run_inline", run_inline)
    pool.shutdown()
    taker.join()
    assert not stand_ins
    assert errors == ["the pool has ended"]


def test_a_call_that_is_cancelled_while_its_pool_ends_is_signalled_by_the_pool_alone(monkeypatch, tmp_path):
    path = str(tmp_path / "begun")
    os.mkfifo(path)

    def hold():
        open(path, "w").close()  # opening one end waits for the other
        threading.Event().wait()

    pool = pardata.WorkerPool(1)
    future = pool.submit(hold)
    open(path).close()
    loop = pool._backend._loop
    process, signals = loop.topology.slots[0].worker.process, []

    def stop(*args, stop=loop._supervisor.stop):
        with monkeypatch.context() as patch:
            patch.setattr(process, "signal", signals.append)
            future.cancel()
        stop(*args)

    monkeypatch.setattr(loop._supervisor, "stop", stop)
    pool.terminate()
    assert future.cancelled() and not signals


def test_a_report_that_is_read_while_the_run_ends_is_the_last_one(monkeypatch):
    run = pardata.source([1, 2]).map(abs).iterate()
    whole_report = run._statistics.whole_report

    def end_and_read(failure):
        monkeypatch.setattr(run._statistics, "whole_report", whole_report)
        run.close()
        raise ValueError("what is there now is another run's")

    monkeypatch.setattr(run._statistics, "whole_report", end_and_read)
    assert run.report().stages[0].name == "source"


class TimeIsOver(BaseException):
    """Raised in a thread by another one, as stopit does; here at a place where it hits a pool hardest."""


def test_an_exception_of_another_threads_making_while_a_caller_works_for_a_pool_ends_the_pool(monkeypatch):
    """The caller has taken a message in that is for somebody else, and lets it fall."""
    pool = pardata.WorkerPool(1)
    loop = pool._backend._loop
    collector, caller = loop.topology.port.collector, threading.current_thread()

    def take(next=collector.next):
        found = next()
        if found and threading.current_thread() is caller:
            raise TimeIsOver
        return found

    with pool:
        monkeypatch.setattr(collector, "next", take)
        with pytest.raises(TimeIsOver):
            while True:  # until it is this thread that takes the result in
                future = pool.submit(abs, -1)
                pool._backend.run_inline(future.done)
        with pytest.raises(pardata.WorkerLostError, match="TimeIsOver was raised in a caller's thread"):
            future.result()
    assert not pool.is_open


def test_a_caller_whose_wait_has_its_own_limit_leaves_the_pool_as_it_is(tmp_path):
    """The way out, in place of an exception that another thread raises."""
    path = str(tmp_path / "ends")
    os.mkfifo(path)

    def hold():
        open(path).close()

    with pardata.WorkerPool(1) as pool:
        slow = pool.submit(hold)
        with pytest.raises(TimeoutError):
            slow.result(timeout=0.01)
        assert slow.cancel()
        assert pool.submit(abs, -1).result() == 1
