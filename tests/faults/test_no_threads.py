"""The system has no thread left: a `CapacityError` that names the limit, and the same call works when it has one."""

import asyncio
import os
import threading

import pytest

import pardata
from pardata.pipeline.programs.event_loop import EventLoop
from pardata.pool.default import _Warm


def use_default_pool(_):
    warm = _Warm()
    try:
        assert list(warm.get().map(abs, [-1])) == [1]
    finally:
        warm.close()


def go_on(folder):
    with pardata.WorkerPool(1, kind="thread") as pool:
        assert list(pool.map(abs, [-1], checkpoint=folder / "map")) == [1]


def loop_asynchronously(_):
    async def items():
        return [item async for item in pardata.source([1, 2]).aiter(engine="serial")]

    assert asyncio.run(items()) == [1, 2]


def loop_within_a_loop(_):
    async def one():
        return 1

    async def outer():
        with EventLoop() as loop:
            return loop.run(one())

    assert asyncio.run(outer()) == 1


def serve(_):
    with pardata.serve(pardata.Table([1], ["one"])) as server, server.lookup() as client:
        assert client[1] == "one"


def show(_):
    pardata.source([1]).run(engine="serial", dashboard=True)


CALLS = {
    "the pool of this process": use_default_pool,
    "a checkpoint": go_on,
    "an asynchronous loop": loop_asynchronously,
    "the event loop of a stage": loop_within_a_loop,
    "a look-up service": serve,
    "a dashboard": show,
}


POOLS = ("pardata-pool", "pardata-console", "pardata-relief")  # threads of pools, which tests/faults/test_ends.py has


@pytest.mark.parametrize("what", CALLS)
def test_a_call_without_a_thread_tells_the_limit(what, tmp_path, monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith(POOLS):
            return start(thread)
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(pardata.CapacityError, match=f"a thread of {what}.*ulimit -u"):
            CALLS[what](tmp_path)
    CALLS[what](tmp_path)


def test_a_queue_without_a_thread_watches_later(monkeypatch):
    """A thread that can put is watched by another one; if that could not be started, the next call starts it."""
    queue, told = pardata.Queue(), threading.Event()

    def stay():
        told.wait()
        while not queue._waiters:  # that other thread waits in `get`
            os.sched_yield()

    other = threading.Thread(target=stay)
    other.start()
    with monkeypatch.context() as patch:

        def refuse(thread):
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(pardata.CapacityError, match="a thread of a queue.*ulimit -u"):
            queue.get()
    told.set()
    with pytest.raises(EOFError):
        queue.get()
    queue.close()
    other.join()
