"""The memory in which one worker records its calls and its times, and the writer and the reader of that memory.

    head      RECORD_HEAD_WORDS words
    slowest   SLOWEST calls: the longest ones, whatever the sample
    samples   its counters, up to SAMPLES times
    calls     the rest

It lies in the worker's span, so it outlives a worker that is killed, and its successor goes on in it. The worker alone
writes it; the main process reads it at any moment. A row is written first and counted then (`SYNC POINT: recorded`):
what is counted is whole.

Calls are a sample as soon as there is no room for all: those whose number, multiplied by a constant, falls into a part
of the numbers that is halved whenever the memory is full. It goes by the number alone, so every stage keeps the same
items, and one can be followed through the run; consecutive numbers spread evenly, so the sample is uniform.

Source: multiplicative hashing, Knuth, The Art of Computer Programming 3, 6.4
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.memory.segment import PAGE_BYTES

RecordRows = np.ndarray[Any, np.dtype[np.int64]]

MOST_CALLS: Final = 20_000  # of one stage that are kept
_FEWEST_CALLS: Final = 2_000  # that one worker has room for
SLOWEST: Final = 16
SAMPLES: Final = 256  # at least half of them are there: more than the 120 steps of a page's charts
MOST_RECORD_BYTES: Final = 20_000_000  # of a run: all that its workers write, however many items there are
FIRST_INTERVAL_NS: Final = 1_000_000

RECORD_HEAD_WORDS: Final = 8
HEAD_CALLS, HEAD_SHIFT, HEAD_SAMPLED, HEAD_INTERVAL_NS, HEAD_MEMORY_NS, HEAD_SLOW = range(6)  # words of the head

# The words of a call. CALL_WAITED_NS: for a free worker behind or for memory. CALL_COUNT numbers from CALL_NUMBER on,
# of which CALL_DONE are items: the others were dropped before. CALL_RETRIES: -1 (SENT) if it is no call but a message
# that a generator filter has sent.
(
    CALL_BEGIN_NS,
    CALL_END_NS,
    CALL_WAITED_NS,
    CALL_SEQUENCE,
    CALL_NUMBER,
    CALL_COUNT,
    CALL_DONE,
    CALL_BYTES,
    CALL_RETRIES,
) = range(9)
CALL_WORDS: Final = 9
SENT: Final = -1
SAMPLE_WORDS: Final = 9
# The words of a sample: counters of the worker at SAMPLE_AT_NS.
(
    SAMPLE_AT_NS,
    SAMPLE_ITEMS,
    SAMPLE_SENT_BYTES,
    SAMPLE_BUSY_NS,
    SAMPLE_STARVED_NS,
    SAMPLE_BLOCKED_NS,
    SAMPLE_FOR_MEMORY_NS,
    SAMPLE_LIVE,
    SAMPLE_CONTROL,
) = range(9)

_CALL: Final = struct.Struct("9q")
_SAMPLE: Final = struct.Struct("9q")
_SLOWEST_AT: Final = 8 * RECORD_HEAD_WORDS
_SAMPLES_AT: Final = _SLOWEST_AT + SLOWEST * _CALL.size
_CALLS_AT: Final = _SAMPLES_AT + SAMPLES * _SAMPLE.size
_GOLDEN: Final = 2654435769  # 2 ** 32 divided by the golden ratio
_MASK: Final = (1 << 32) - 1
_MOST_HALVINGS: Final = 31


def record_sizes(workers: Sequence[int], most_bytes: int = MOST_RECORD_BYTES) -> list[int]:
    """Return the bytes that each worker of each stage has, by the number of workers of each stage.

    All workers together have no more than `most_bytes`, whole pages counted.
    """
    wanted = [min(MOST_CALLS, max(_FEWEST_CALLS, 2 * MOST_CALLS // max(1, count))) for count in workers]
    room = most_bytes - sum(workers) * (_CALLS_AT + PAGE_BYTES)
    needed = _CALL.size * sum(count * calls for count, calls in zip(workers, wanted, strict=True))
    share = min(1.0, room / max(1, needed))
    return [_CALLS_AT + _CALL.size * max(SLOWEST, int(share * calls)) for calls in wanted]


class Recorder:
    """Writes what one worker does.

    Attributes
    ----------
    due_ns : int
        When the next sample of the counters is due (time.perf_counter_ns, as all times here).
    memory, head : memoryview
        All of it, and its head; the caller writes HEAD_MEMORY_NS there: how long it has waited for memory.
    used_bytes : int
        The part of the memory that has been written to, from its beginning.
    """

    __slots__ = ("_below", "_end", "_floor_ns", "due_ns", "head", "memory", "used_bytes")

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory
        self.head = head = memory[: 8 * RECORD_HEAD_WORDS].cast("q")
        head[HEAD_INTERVAL_NS] = head[HEAD_INTERVAL_NS] or FIRST_INTERVAL_NS
        self.used_bytes = _CALLS_AT + head[HEAD_CALLS] * _CALL.size
        self._end = _CALLS_AT + (len(memory) - _CALLS_AT) // _CALL.size * _CALL.size
        self._below = 1 << 32 - head[HEAD_SHIFT]
        self._floor_ns = 0  # calls that take longer are among the slowest
        self.due_ns = 0
        self._find_floor()

    def call(
        self,
        begin_ns: int,
        end_ns: int,
        waited_ns: int,
        sequence: int,
        number: int,
        count: int,
        done: int,
        nbytes: int,
        retries: int,
    ) -> None:
        """Record a call, or all calls of a message: those for `count` items from `number` on."""
        if end_ns - begin_ns - waited_ns > self._floor_ns:
            self._keep_slow(begin_ns, end_ns, waited_ns, sequence, number, count, done, nbytes, retries)
        if number * _GOLDEN & _MASK >= self._below:
            return
        at = self.used_bytes
        if at >= self._end:
            self._halve()
            return self.call(begin_ns, end_ns, waited_ns, sequence, number, count, done, nbytes, retries)
        _CALL.pack_into(self.memory, at, begin_ns, end_ns, waited_ns, sequence, number, count, done, nbytes, retries)
        self.used_bytes = at + _CALL.size
        self.head[HEAD_CALLS] += 1  # SYNC POINT: recorded. The row is whole

    def sample(self, *counters: int) -> None:
        """Record the counters: the words of a sample, SAMPLE_AT_NS first."""
        head = self.head
        if head[HEAD_SAMPLED] == SAMPLES:
            rows = _rows(self.memory, _SAMPLES_AT, SAMPLES, 9)
            rows[: SAMPLES // 2] = rows[1::2].copy()
            head[HEAD_INTERVAL_NS], head[HEAD_SAMPLED] = 2 * head[HEAD_INTERVAL_NS], SAMPLES // 2
        _SAMPLE.pack_into(self.memory, _SAMPLES_AT + head[HEAD_SAMPLED] * _SAMPLE.size, *counters)
        head[HEAD_SAMPLED] += 1  # SYNC POINT: recorded. The row is whole
        self.due_ns = counters[SAMPLE_AT_NS] + head[HEAD_INTERVAL_NS]

    def _halve(self) -> None:
        """Let go of about half of the calls.

        If the worker is killed meanwhile, rows may be there twice, or may have to go: the reader sees to both.
        """
        head = self.head
        rows = _rows(self.memory, _CALLS_AT, head[HEAD_CALLS], CALL_WORDS)
        kept, most = rows, 3 * len(rows) // 4
        while len(kept) > most and head[HEAD_SHIFT] < _MOST_HALVINGS:
            head[HEAD_SHIFT] += 1
            kept = rows[is_kept(rows[:, CALL_NUMBER], head[HEAD_SHIFT])]
        kept = kept[:most]
        rows[: len(kept)] = kept
        head[HEAD_CALLS] = len(kept)
        self._below = 1 << 32 - head[HEAD_SHIFT]
        self.used_bytes = _CALLS_AT + len(kept) * _CALL.size

    def _keep_slow(self, *call: int) -> None:
        if call[CALL_RETRIES] == SENT or call[CALL_WAITED_NS] < 0:
            return
        head = self.head
        at = head[HEAD_SLOW]
        if at == SLOWEST:
            at = int(np.argmin(_took(_rows(self.memory, _SLOWEST_AT, SLOWEST, CALL_WORDS))))
        _CALL.pack_into(self.memory, _SLOWEST_AT + at * _CALL.size, *call)
        head[HEAD_SLOW] = max(head[HEAD_SLOW], at + 1)
        self._find_floor()

    def _find_floor(self) -> None:
        if self.head[HEAD_SLOW] == SLOWEST:
            self._floor_ns = int(_took(_rows(self.memory, _SLOWEST_AT, SLOWEST, CALL_WORDS)).min())


def _rows(memory: memoryview, at: int, count: int, width: int) -> RecordRows:
    return np.frombuffer(memory, np.int64, count * width, at).reshape(count, width)


def _took(calls: RecordRows) -> RecordRows:
    """Return how long calls took, without the time that they waited."""
    return calls[:, CALL_END_NS] - calls[:, CALL_BEGIN_NS] - calls[:, CALL_WAITED_NS]


def is_kept(numbers: RecordRows, shift: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which numbers are in the sample after so many halvings."""
    hashed = numbers.astype(np.uint64) * np.uint64(_GOLDEN) & np.uint64(_MASK)
    return hashed < np.uint64(1 << 32 - shift)


class Recorded(NamedTuple):
    """The contents of the memory of one worker: rows of calls and samples, and after how many halvings."""

    calls: RecordRows
    slowest: RecordRows
    samples: RecordRows
    shift: int


def read(memory: memoryview) -> Recorded:
    """Return a copy of what a worker has recorded until now; it may go on meanwhile."""
    head = memory[: 8 * RECORD_HEAD_WORDS].cast("q")  # SYNC POINT: recorded. Counted first, then read
    shift = head[HEAD_SHIFT]
    calls = _rows(memory, _CALLS_AT, head[HEAD_CALLS], CALL_WORDS).copy()
    calls = np.unique(calls[is_kept(calls[:, CALL_NUMBER], shift)], axis=0)
    samples = _rows(memory, _SAMPLES_AT, head[HEAD_SAMPLED], 9).copy()
    slowest = _rows(memory, _SLOWEST_AT, head[HEAD_SLOW], CALL_WORDS).copy()
    return Recorded(calls, slowest, samples[np.argsort(samples[:, SAMPLE_AT_NS], kind="stable")], shift)
