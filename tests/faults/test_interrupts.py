"""Ctrl-C while something is being made: at whichever line it comes, nothing is left, and nothing is printed."""

import contextlib
import os
import signal
import time

import pytest

import pardata
from pardata.engines.processes import engine
from pardata.pool import default
from pardata.pool.default import _Warm
from pardata.pool.pool_thread import PoolThread
from pardata.pool.processes import loop
from pardata.process import interrupts
from pardata.process.interrupts import Aside, Hastened
from tests.conftest import holdings
from tests.faults.interrupting import Starters, interrupt_at, lines_of


def frames():
    yield from range(3)


def warm_pool(_):
    warm = _Warm()
    try:
        warm.get()
    except BaseException:
        warm.close()
        raise
    return warm


def manager(_):
    made = pardata.SharedMemoryManager()
    made.start()
    return made


KINDS = {
    "pool": (lambda _: pardata.WorkerPool(1, initializer=int), pardata.WorkerPool.shutdown),
    "pool of threads": (lambda _: pardata.WorkerPool(2, kind="thread"), pardata.WorkerPool.shutdown),
    "Pool": (lambda _: pardata.Pool(1), pardata.Pool.terminate),
    "default pool": (warm_pool, _Warm.close),
    "run": (lambda _: pardata.source(frames).map(abs).iterate(), lambda run: run.close()),
    "run with a thread": (lambda _: pardata.source([1, 2]).map(abs).iterate(), lambda run: run.close()),
    "run on threads": (lambda _: pardata.source([1, 2]).map(abs).iterate(engine="threads"), lambda run: run.close()),
    "serial run": (lambda _: pardata.source([1, 2]).map(abs).iterate(engine="serial"), lambda run: run.close()),
    "service": (lambda table: pardata.serve(table), lambda server: server.close()),
    "queue": (lambda _: pardata.Queue(3), lambda queue: queue.close()),
    "manager": (manager, pardata.SharedMemoryManager.shutdown),
}


WAIT = ["pool", "pool of threads"]  # until everything has ended; of the others a part ends soon, by itself


def interrupt_at_each_line(make, end, monkeypatch, waits=False):
    starters = Starters()
    monkeypatch.setattr(interrupts, "_thread", starters)
    end(make())  # what is loaded at the first use is
    made, lines = lines_of(make)
    end(made)
    del made
    starters.join()
    before = holdings()
    for line in lines:
        with contextlib.suppress(KeyboardInterrupt):
            end(interrupt_at(line, make))
        if not waits:
            starters.join()
        left = {what: now - before[what] for what, now in holdings().items() if now - before[what]}
        assert not left, f"interrupted at {line}: {left}"


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_while_it_is_made_leaves_nothing(kind, capfd, monkeypatch):
    make, end = KINDS[kind]
    monkeypatch.setattr(default, "UNUSED_S", 0.01)  # or its timer, which does no harm, would be waited for
    with pardata.Table([1], [2]) as table:
        interrupt_at_each_line(lambda: make(table), end, monkeypatch, kind in WAIT)
    assert capfd.readouterr().err == ""


def test_a_second_ctrl_c_while_a_pool_cleans_up_leaves_nothing(capfd, monkeypatch):
    """The first one comes when the workers have been started."""
    start = PoolThread.start

    def interrupted(*args):
        start(*args)
        raise KeyboardInterrupt

    def make():
        pool = pardata.WorkerPool.__new__(pardata.WorkerPool)  # it is deleted later: Python prints an error of that
        with contextlib.suppress(KeyboardInterrupt):
            pool.__init__(1)
        return pool

    monkeypatch.setattr(PoolThread, "start", interrupted)
    interrupt_at_each_line(make, lambda _: None, monkeypatch)
    assert capfd.readouterr().err == ""


@pytest.fixture
def sleeper(monkeypatch):
    """A path to give to `sleep`, and a function that waits until it has begun; workers are not ended soon."""
    monkeypatch.setattr(engine, "RUN_CALLS_S", 3600.0)
    monkeypatch.setattr(loop, "POOL_CALLS_S", 3600.0)
    reading, writing = os.pipe()
    yield f"/proc/{os.getpid()}/fd/{writing}", lambda: os.read(reading, 1)
    os.close(reading)
    os.close(writing)


def sleep(path):
    with open(path, "wb") as pipe:
        pipe.write(b".")
    time.sleep(3600)


def interrupted(wait):
    def interrupted_wait(self):
        signal.raise_signal(signal.SIGINT)
        wait(self)

    return interrupted_wait


def test_a_second_ctrl_c_kills_the_workers_of_a_pool(sleeper, monkeypatch):
    path, begun = sleeper
    pool = pardata.WorkerPool(1)
    task = pool.submit(sleep, path)
    begun()
    monkeypatch.setattr(PoolThread, "join", interrupted(PoolThread.join))
    with pytest.raises(KeyboardInterrupt):
        pool.shutdown()
    assert isinstance(task.exception(), pardata.WorkerLostError)


def test_a_second_ctrl_c_kills_the_workers_of_a_run(sleeper, monkeypatch):
    path, begun = sleeper
    run = pardata.source([path]).map(sleep).iterate()
    begun()
    monkeypatch.setattr(Aside, "wait", interrupted(Aside.wait))
    with pytest.raises(KeyboardInterrupt):
        run.close()


def test_a_third_ctrl_c_breaks_the_wait_off():
    calls = []
    with pytest.raises(KeyboardInterrupt), Hastened(lambda: calls.append("hastened")):
        signal.raise_signal(signal.SIGINT)
        calls.append("still waiting")
        signal.raise_signal(signal.SIGINT)
        calls.append("never")
    assert calls == ["hastened", "still waiting"]
