"""A queue from threads to one event loop, which is woken once for all that has come until it looks."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """A queue of an event loop, from `open` on.

    Attributes
    ----------
    waiting : deque
        What was put and not taken.

    Parameters
    ----------
    handle : callable
        Called in the event loop when something waits.
    """

    def __init__(self, handle: Callable[[], object]) -> None:
        self.waiting: deque[T] = deque()
        self._handle = handle
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_woken = False

    def open(self) -> None:
        """Have the running event loop take what was put, and what will be."""
        # What was put before this woke nobody; the look that follows finds it.
        self._loop = asyncio.get_running_loop()
        self._look()

    def put(self, given: T) -> None:
        """Put something, in any thread; once the loop is closed nobody takes it."""
        self.waiting.append(given)
        loop = self._loop
        # Two threads may both find it asleep, and wake it twice: one of the looks finds nothing.
        if loop is not None and not self._is_woken:
            self._is_woken = True
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        self._is_woken = False  # before it looks: what comes from now on wakes again
        self._handle()
