"""A worker notes in the header of its span what it is at and what it has done, for the parent and for a successor."""

from __future__ import annotations

import time

from pardata.errors import PardataError
from pardata.runtime.header import BEGUN_NS, CURRENT_CALL, DROPPED, FAILED, ITEMS, LEAVE, batch_of_word, batch_word
from pardata.runtime.worker.program import leave
from pardata.runtime.worker.spec import WorkerSpec


class WorkNotes:
    """The part of a port that only writes words: which item is at work, and counts of items.

    Parameters
    ----------
    words : memoryview
        The header of the worker's span, of which the worker is the single writer (`runtime.header`).
    poison : dict
        Per item that no process is to try again, the error that is raised instead.
    """

    def __init__(self, spec: WorkerSpec, words: memoryview, poison: dict[tuple[int, int], PardataError]) -> None:
        self.spec = spec
        self.words = words
        self._poison = poison

    @property
    def index(self) -> int:
        """The worker's index in its stage."""
        return self.spec.index

    def loaded(self) -> None:
        """Say that the user's code stands: from here on a death is not one of the start."""
        self.words[CURRENT_CALL] = 0

    def attempt(self, sequence: int, number: int) -> None:
        """Note the item that the user's code is called for; raises the parent's error for a poison item.

        Raises `Cancelled` if the run is over: a message may have many items, each of which takes long.
        """
        poison, words = self._poison, self.words
        if poison and (sequence, number) in poison:
            raise poison[sequence, number]
        if words[LEAVE]:
            leave(words)
        # SYNC POINT: begun. The time goes first: the parent reads the call, then the time (`Worker.late_in_s`), and
        # takes no old time for that of a new call.
        words[BEGUN_NS] = time.monotonic_ns()
        words[CURRENT_CALL] = batch_word(sequence, number)

    @property
    def item_at_work(self) -> int:
        """The number of the item that the user's code is called for; -1: of none."""
        batch = batch_of_word(max(0, self.words[CURRENT_CALL]))
        return -1 if batch is None else batch[1]

    def count(self, items: int, dropped: int = 0, failed: int = 0) -> None:
        """Count items of the batch at hand."""
        words = self.words
        words[ITEMS] += items
        if dropped:
            words[DROPPED] += dropped
        if failed:
            words[FAILED] += failed
