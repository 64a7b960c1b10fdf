"""The notes that a recording port takes of the call at work, on every engine."""

from __future__ import annotations

import time
from collections.abc import Callable

from pardata.codec.batch_codec import Batch
from pardata.runtime.context import of_thread
from pardata.runtime.recording.recorder import SENT, Recorder

Key = tuple[int, int]


class CallNotes:
    """Knows when the call at work began, and records it at its end.

    Parameters
    ----------
    recorder : Recorder
    counters : callable
        Returns how long the worker has been blocked (ns), and how many bytes it has sent and items it has counted.
    """

    __slots__ = ("_before", "_begun_ns", "_counted", "_counters", "_made_ns", "_overlapping", "recorder")

    def __init__(self, recorder: Recorder, counters: Callable[[], tuple[int, int, int]]) -> None:
        self.recorder = recorder
        self._counters = counters
        self._overlapping: dict[Key, int] = {}
        self._counted = counters()[2]  # items at the end of the last call
        self.begin()

    def begin(self) -> None:
        """Note that a call begins, or may begin: the last time counts."""
        self._begun_ns = self._made_ns = time.perf_counter_ns()
        self._before = *self._counters(), of_thread.retries

    def end(self, sequence: int, number: int, count: int) -> int:
        """Record the call; return the time."""
        now_ns = time.perf_counter_ns()
        blocked_ns, sent_bytes, items = self._counters()
        blocked_before, sent_before, _, retries = self._before
        done, self._counted = items - self._counted, items
        if self._overlapping:
            self._overlapping.pop((sequence, number), None)
        self.recorder.call(
            self._begun_ns, now_ns, blocked_ns - blocked_before, sequence, number, count, done,
            sent_bytes - sent_before, of_thread.retries - retries,
        )  # fmt: skip
        return now_ns

    def made(self) -> None:
        """Note that a message is made, and is to be sent: what follows is a wait."""
        self._made_ns = time.perf_counter_ns()

    def sent(self, batch: Batch, count: int, nbytes: int, is_source: bool) -> int:
        """Record a message with a number of its own: of a source it was a call, of a generator filter it is none."""
        if is_source:
            self.recorder.call(self._begun_ns, self._made_ns, 0, batch.sequence, batch.number, count, count, nbytes, 0)
            self.begin()
        else:
            made_ns = self._made_ns
            self.recorder.call(made_ns, made_ns, 0, batch.sequence, batch.number, count, count, nbytes, SENT)
        return self._begun_ns

    def begin_one_of_many(self, key: Key) -> None:
        """Note that a call begins while others are at work."""
        self._overlapping[key] = time.perf_counter_ns()

    def turn_to(self, key: Key) -> None:
        """Note which of them is handed on, and ends."""
        self.begin()
        self._begun_ns = self._overlapping.get(key, self._begun_ns)
