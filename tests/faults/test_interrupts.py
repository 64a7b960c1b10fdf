"""Ctrl-C while something is being made: at whichever line it comes, nothing is left, and nothing is printed."""

import contextlib

import pytest

import pardata
from pardata.pool import default
from pardata.pool.default import _Warm
from pardata.process import interrupts
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


def interrupt_at_each_line(make, end, monkeypatch):
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
        starters.join()
        left = {what: now - before[what] for what, now in holdings().items() if now - before[what]}
        assert not left, f"interrupted at {line}: {left}"


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_while_it_is_made_leaves_nothing(kind, capfd, monkeypatch):
    make, end = KINDS[kind]
    monkeypatch.setattr(default, "UNUSED_S", 0.01)  # or its timer, which does no harm, would be waited for
    with pardata.Table([1], [2]) as table:
        interrupt_at_each_line(lambda: make(table), end, monkeypatch)
    assert capfd.readouterr().err == ""
