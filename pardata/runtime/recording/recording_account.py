"""Accounts for a worker's time, and records the counters where a wait begins and ends, and between messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pardata.memory.budget import CONTROL, LIVE
from pardata.memory.gaps import align
from pardata.memory.segment import PAGE_BYTES
from pardata.runtime.header import BLOCKED_NS, BUSY_NS, ITEMS, MEMORY, SENT_BYTES, STARVED_NS, WAITS_FOR
from pardata.runtime.recording.call_notes import CallNotes
from pardata.runtime.recording.recorder import HEAD_MEMORY_NS, HEAD_SAMPLED, Recorder
from pardata.runtime.worker.accounting import TimeAccount

T = TypeVar("T")


class RecordingAccount(TimeAccount):
    """Counts as its base does. It records as soon as it is given what to record with, by `begin`.

    Attributes
    ----------
    notes : CallNotes
        Of the call at work.
    """

    __slots__ = ("_arena_words", "_counted_bytes", "_recorder", "notes")

    _recorder: Recorder
    _arena_words: memoryview
    _counted_bytes: int
    notes: CallNotes

    def begin(self, recorder: Recorder, arena_words: memoryview) -> None:
        """Record from now on; `arena_words`: the header of the span in which this worker's blocks are."""
        words = self._words
        self._recorder, self._arena_words = recorder, arena_words
        self.notes = CallNotes(recorder, lambda: (words[BLOCKED_NS], words[SENT_BYTES], words[ITEMS]))
        self._counted_bytes = align(recorder.used_bytes, PAGE_BYTES) if recorder.head[HEAD_SAMPLED] else 0
        self.sample(time.perf_counter_ns())

    def wait(self, waits_for: int, ready: Callable[[], T | None], tick_s: float | None = None) -> T:
        begin_ns = time.perf_counter_ns()
        self.look(begin_ns)
        try:
            return super().wait(waits_for, ready, tick_s)
        finally:
            end_ns = time.perf_counter_ns()
            if waits_for == MEMORY:
                self._recorder.head[HEAD_MEMORY_NS] += end_ns - begin_ns
            self.look(end_ns)

    def end_rest(self) -> None:
        super().end_rest()
        now_ns = time.perf_counter_ns()
        if self._words[WAITS_FOR] == MEMORY:
            self._recorder.head[HEAD_MEMORY_NS] += now_ns - self.rests_since_ns
        self.look(now_ns)

    def end(self) -> None:
        super().end()
        self.sample(time.perf_counter_ns())

    def look(self, now_ns: int) -> None:
        """Record the counters, if it is time."""
        if now_ns >= self._recorder.due_ns:
            self.sample(now_ns)

    def sample(self, now_ns: int) -> None:
        """Record the counters; what is busy since they were brought up to date counts as well."""
        words, recorder = self._words, self._recorder
        used_bytes = align(recorder.used_bytes, PAGE_BYTES)
        if used_bytes > self._counted_bytes:
            words[CONTROL] += used_bytes - self._counted_bytes
            self._counted_bytes = used_bytes
        recorder.sample(
            now_ns, words[ITEMS], words[SENT_BYTES], words[BUSY_NS] + max(0, now_ns - self._mark_ns),
            words[STARVED_NS], words[BLOCKED_NS], recorder.head[HEAD_MEMORY_NS], self._arena_words[LIVE],
            words[CONTROL],
        )  # fmt: skip
