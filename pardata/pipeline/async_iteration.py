"""The items of a run for an event loop, which goes on while threads wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Final

from pardata.pipeline.run import Run
from pardata.process.capacity import explained
from pardata.process.interrupts import start_thread
from pardata.runtime.settings import as_here

_END: Final = object()

LoopCall = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


async def iterate_in_loop(start: Callable[[], Run]) -> AsyncGenerator[Any, None]:
    """Start a run, yield its items as they are asked for, and end it, whatever ends the loop over it.

    All items are taken by one thread: whether the consumer wants more is known thread by thread. Another one ends the
    run, as the first may be waiting for an item. Where the event loop runs no more, nothing can be awaited: this
    generator was kept, and ends in a finalizer or with the interpreter, where no thread can be started.
    """
    loop = asyncio.get_running_loop()
    taker = _Taker()
    starting = taker.submit(start)
    try:
        run = await asyncio.wrap_future(starting)
        while (item := await asyncio.wrap_future(taker.submit(next, run, _END))) is not _END:
            yield item
            del item
    finally:
        if loop.is_running():
            ending: Future[None] = Future()
            closer = threading.Thread(target=_end, args=(starting, taker, ending), name="pardata-closer")
            try:
                start_thread(closer)
            except RuntimeError:  # the system has no thread: the event loop waits until the run has ended
                _end(starting, taker, ending)
            await asyncio.shield(asyncio.wrap_future(ending))
        else:
            taker.leave()
            starting.add_done_callback(_close)


class _Taker:
    """A thread that makes calls, one after the other.

    It is a daemon: an executor's thread would be joined when the interpreter ends, before the run that it waits for.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[LoopCall | None] = SimpleQueue()
        self._thread = threading.Thread(target=as_here(self._work), name="pardata-taker", daemon=True)
        with explained("an asynchronous loop over a stream"):
            start_thread(self._thread)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have a call made; return its future."""
        future: Future[Any] = Future()
        self._calls.put((future, fn, args))
        return future

    def leave(self) -> None:
        """Have the thread end behind the calls that it has."""
        self._calls.put(None)

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            _make(*call)
            del call


def _make(future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(fn(*args))
    except BaseException as error:
        future.set_exception(error)
        del future  # or it and the traceback would keep each other


def _end(starting: Future[Run], taker: _Taker, ending: Future[None]) -> None:
    """End a run that may not have started, and the thread that takes its items."""
    try:
        _close(starting)
        taker.leave()
        taker.join()
    finally:
        ending.set_result(None)


def _close(starting: Future[Run]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().close()
