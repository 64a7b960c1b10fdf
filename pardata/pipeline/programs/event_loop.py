"""An event loop for the coroutines of the user's code: one for each worker, from its first to its last item."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from pardata.process.capacity import explained
from pardata.process.interrupts import start_thread
from pardata.runtime.settings import as_here

T = TypeVar("T")


class EventLoop:
    """Runs coroutines one after the other, in the calling thread.

    A thread can run one event loop at a time. Where the caller's runs already, as in a notebook, another thread runs
    this one, and the caller waits for it.
    """

    def __init__(self) -> None:
        self._runner = _runner()
        self._thread: threading.Thread | None = None
        self._end = asyncio.Event()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns; if the caller is interrupted, the coroutine is cancelled."""
        if self._thread is None and not _runs_a_loop():
            return self._runner.run(coroutine)
        if self._thread is None:
            self._runner.get_loop()
            self._thread = threading.Thread(target=as_here(self._serve), name="pardata-loop", daemon=True)
            try:
                with explained("the event loop of a stage"):
                    start_thread(self._thread)
            except BaseException:
                if self._thread.ident is None:
                    self._runner.get_loop().close()  # by itself: the runner's way runs it
                    self._runner, self._thread = _runner(), None
                coroutine.close()
                raise
        future = asyncio.run_coroutine_threadsafe(coroutine, self._runner.get_loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def complete(self, made: Any) -> Any:
        """Return what a function has returned, or in the end returns: it may be a coroutine function."""
        return self.run(made) if asyncio.iscoroutine(made) else made

    def _serve(self) -> None:
        with self._runner:  # it cancels what is left, and waits for it
            self._runner.run(self._wait())

    async def _wait(self) -> None:
        await self._end.wait()

    def close(self) -> None:
        """Cancel what runs, and close what asynchronous generators have open."""
        if self._thread is None:
            self._runner.close()
            return
        with contextlib.suppress(RuntimeError):
            self._runner.get_loop().call_soon_threadsafe(self._end.set)
        self._thread.join()

    def __enter__(self) -> EventLoop:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=asyncio.new_event_loop)


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
