"""A caller that waits for a result stands in for the pool's thread for a moment.

Without this a caller is woken by the pool's thread, which is woken by the worker: to be woken costs 40 us and more,
twice.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from pardata.pool.jobs.job import Effects
from pardata.pool.processes.waiting import Waiting
from pardata.process.interrupts import Uninterrupted

_INLINE_S: Final = 200e-6  # a caller looks for the result for so long


class Inline(Protocol):
    """As `Backend.run_inline`."""

    def __call__(self, is_there: Callable[[], bool], timeout_s: float | None = None) -> bool: ...


class InlineRunner:
    """Decides when a caller stands in, one at a time.

    Parameters
    ----------
    stand_in : callable
        Does the thread's work, until the result is there or that time (of `time.perf_counter`).
    effects : Effects
        A caller whom they keep from waiting is told so.
    """

    def __init__(
        self, waiting: Waiting, stand_in: Callable[[Callable[[], bool], float], None], effects: Effects
    ) -> None:
        self._waiting = waiting
        self._stand_in = stand_in
        self._effects = effects
        self._turn = threading.Lock()  # of the one caller that stands in
        self._pid = os.getpid()
        self._gap_s = 0.0  # that callers of late have looked in vain

    def run(self, is_there: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Do the pool's thread's work for a moment, while the caller waits for `is_there`; return its last value."""
        self._effects.check_may_wait(timeout_s)
        if self._gap_s > 2 * _INLINE_S or os.getpid() != self._pid:
            self._gap_s *= 0.8  # the calls of late took longer than this: try again some time
            return False
        with Uninterrupted():  # or the pool's thread would sleep on, or the lock be kept
            if not self._turn.acquire(blocking=False):
                return False
            inline_s = _INLINE_S if timeout_s is None else min(timeout_s, _INLINE_S)
            try:
                self._waiting.pause()
                self._stand_in(is_there, time.perf_counter() + inline_s)
            finally:
                try:
                    self._waiting.resume()
                except BaseException:  # of another thread's making, which no `Uninterrupted` delays
                    self._waiting.resume()
                    raise
                finally:
                    self._turn.release()
            found = is_there()
            self._gap_s = 0.0 if found else self._gap_s + _INLINE_S
        return found
