"""The state that a worker has saved for its successor: two copies in turn in its span, the last whole one counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pardata.errors import CapacityError
from pardata.memory.budget import CONTROL, format_bytes
from pardata.memory.gaps import align
from pardata.memory.segment import PAGE_BYTES, Segment

_HEAD_WORDS: Final = 5


@dataclass(frozen=True)
class Saved:
    """A state, and where in its input and output it belongs.

    Attributes
    ----------
    next_output : int
        Number of the next item that would have been sent.
    sequence, number : int
        The batch that was the last one to be taken; it may not have been committed.
    has_ended : bool
        Nothing more will be sent.
    """

    data: bytes
    next_output: int
    sequence: int
    number: int
    has_ended: bool


class StateArea:
    """save / load: a page with the number of the last save, and how much of each copy was ever used; then the two.

    The memory that it takes is counted in `header`, the words of the worker's span.
    """

    def __init__(self, segment: Segment, at: int, nbytes: int, label: str, header: memoryview) -> None:
        self._bytes = memoryview(segment.map)[at : at + nbytes]
        # Word 0: the number of the last save, 0: none. Words 1 and 2: bytes of each copy that were ever used. The
        # worker is the single writer of them all, and only its successor reads them.
        self._turn = self._bytes[:8].cast("q")
        self._used = self._bytes[8:24].cast("q")
        self._header = header
        self._room = (nbytes - PAGE_BYTES) // 2 // PAGE_BYTES * PAGE_BYTES
        self._label = label

    def _copy(self, turn: int) -> memoryview:
        at = PAGE_BYTES + turn % 2 * self._room
        return self._bytes[at : at + self._room]

    def save(self, saved: Saved) -> None:
        """Save a state in place of the one before the last. Raises CapacityError if it is too large."""
        length = len(saved.data)
        if length > self._room - 8 * _HEAD_WORDS:
            raise CapacityError(
                f"{self._label}: the state that its snapshot() returns needs {format_bytes(length)}; there is room for "
                f"{format_bytes(self._room)}"
            )
        turn = self._turn[0] + 1
        self._count(turn, 8 * _HEAD_WORDS + length)
        copy = self._copy(turn)
        head = copy[: 8 * _HEAD_WORDS].cast("q")
        # A head of five words, in this order (`load`), and the state behind it.
        head[0], head[1], head[2] = length, saved.next_output, saved.sequence
        head[3], head[4] = saved.number, saved.has_ended
        copy[8 * _HEAD_WORDS : 8 * _HEAD_WORDS + length] = saved.data
        self._turn[0] = turn  # SYNC POINT: save. From here on the new state counts, also if this process dies.

    def _count(self, turn: int, nbytes: int) -> None:
        used = self._used[turn % 2]
        if nbytes > used:
            touched = align(nbytes, PAGE_BYTES)
            # In this order: killed in between, the process has its successor count them twice, and not never.
            self._header[CONTROL] += touched - used
            self._used[turn % 2] = touched

    def load(self) -> Saved | None:
        """Return the state that was saved last, if any was."""
        turn = self._turn[0]  # SYNC POINT: save. The copy that this names is whole: a half-written one is the other
        if not turn:
            return None
        copy = self._copy(turn)
        length, next_output, sequence, number, has_ended = copy[: 8 * _HEAD_WORDS].cast("q")
        data = bytes(copy[8 * _HEAD_WORDS : 8 * _HEAD_WORDS + length])
        return Saved(data, next_output, sequence, number, bool(has_ended))
