"""The items of a run for an event loop, which goes on while threads wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from pardata.pipeline.run import Run
from pardata.process.interrupts import start_thread

_END: Final = object()


async def iterate_in_loop(start: Callable[[], Run]) -> AsyncGenerator[Any, None]:
    """Start a run, yield its items as they are asked for, and end it, whatever ends the loop over it.

    All items are taken by one thread: whether the consumer wants more is known thread by thread. Another one ends the
    run, as the first may be waiting for an item.
    """
    loop = asyncio.get_running_loop()
    taker = ThreadPoolExecutor(1, "pardata-taker")
    starting = taker.submit(start)
    try:
        run = await asyncio.wrap_future(starting)
        while (item := await loop.run_in_executor(taker, next, run, _END)) is not _END:
            yield item
            del item
    finally:
        ending: Future[None] = Future()
        start_thread(threading.Thread(target=_end, args=(starting, taker, ending), name="pardata-closer"))
        await asyncio.shield(asyncio.wrap_future(ending))


def _end(starting: Future[Run], taker: ThreadPoolExecutor, ending: Future[None]) -> None:
    """End a run that may not have started, and the thread that takes its items."""
    try:
        if not starting.cancelled() and starting.exception() is None:
            starting.result().close()
        taker.shutdown()
    finally:
        ending.set_result(None)
