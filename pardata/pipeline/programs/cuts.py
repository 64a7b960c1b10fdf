"""Stages store where they are at the cuts of a checkpoint, while the run goes on.

      source --[items below n]--CUT--[items from n on]--> stages that keep numbers --> filter --> sink

A source marks the first batch behind a cut. The mark stays with the batch where numbers are kept. A filter that gets it
has done all items in front of it, and nothing of those behind it: it stores its state, tells the main process the two
numbers, and marks its own next batch. So one cut goes through the whole graph by numbers, and nobody waits for anybody.
"""

from __future__ import annotations

import os
import pickle
import struct
import time
import zlib
from typing import Any, Final, Protocol

from pardata.checkpoint.presence import Presence
from pardata.codec.batch_codec import CUT, Batch
from pardata.codec.by_value import dumps
from pardata.memory.disk import create_new, write_all
from pardata.pipeline.plan.cuts import Cuts
from pardata.pipeline.programs.batcher import Port
from pardata.runtime.events import CutPassed
from pardata.runtime.worker.program import Cancelled
from pardata.runtime.worker.state import Saved

_HEAD: Final = struct.Struct("<4sIQ")  # magic, checksum and length of what follows
_MAGIC: Final = b"pdst"


def present(folder: str, owner: int) -> Presence:
    """Say that this worker is at work; leave if another run has begun since the main process was killed."""
    made = Presence(folder, owner)
    if not made.is_wanted:
        raise Cancelled
    return made


def state_path(folder: str, stage: int, taken: int) -> str:
    """Return the file with the state of a stage in front of item `taken` of its input."""
    return os.path.join(folder, f"stage-{stage}-{taken}")


def write_state(path: str, state: Any) -> None:
    """Write a state; the main process flushes it. One that is there is the same: it was written by a predecessor."""
    if os.path.exists(path):
        return
    data = dumps(state)
    part = f"{path}.part"
    fd = create_new(part)
    try:
        write_all(fd, _HEAD.pack(_MAGIC, zlib.crc32(data), len(data)) + data, 0, part)
    finally:
        os.close(fd)
    os.replace(part, path)


def is_whole(path: str) -> bool:
    """Return whether a state is there, and not torn."""
    return _read(path) is not None


def read_state(path: str) -> Any:
    """Return a state that is whole."""
    data = _read(path)
    assert data is not None, path
    return pickle.loads(data)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            head, data = file.read(_HEAD.size), file.read()
    except FileNotFoundError:
        return None
    if len(head) < _HEAD.size:
        return None
    magic, checksum, length = _HEAD.unpack(head)
    return data if magic == _MAGIC and len(data) == length and zlib.crc32(data) == checksum else None


class Clock:
    """Says when a source is to mark a cut."""

    def __init__(self, every_s: float, begin: int) -> None:
        self._every_s = every_s
        self._begin = begin  # the first item of the run: a cut is there already
        self._last_s = time.monotonic()

    def mark(self, number: int) -> int:
        """Return the flag of the batch that begins with an item."""
        now = time.monotonic()
        if number == self._begin or now < self._last_s + self._every_s:
            return 0
        self._last_s = now
        return CUT


class _Delegate:
    """A port that does some things itself, and leaves the others to another port."""

    def __init__(self, port: Port) -> None:
        self._port: Any = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


class SourcePort(_Delegate):
    """The port of a source that marks cuts."""

    def __init__(self, port: Port, every_s: float, begin: int) -> None:
        super().__init__(port)
        self.lock, self.attempt = port.lock, port.attempt  # asked for with every item
        self._clock = Clock(every_s, begin)

    def token(self, number: int) -> int:
        """Return a token, with the flag if a cut lies in front of the batch."""
        cell: int = self._port.token(number)
        return cell | self._clock.mark(number)


class Position(Protocol):
    """The work of a filter."""

    next_output: int
    """Number of the next output."""
    has_ended: bool
    """Whether nothing more will come out."""


class FilterCuts:
    """The cuts that a filter has passed.

    Parameters
    ----------
    cuts : Cuts
        Of the run.
    stage : int
        Index of the stage.
    """

    def __init__(self, cuts: Cuts, stage: int) -> None:
        self.folder = cuts.folder
        self.owner = cuts.owner
        self._stage = stage
        self._start = cuts.starts.get(stage)
        self.begin = 0 if self._start is None else self._start[0]  # number of the first input
        self._items = 0  # that were taken
        self._pending = -1  # the number of the next output, if a cut lies in front of it

    def watch(self, fn: Any, position: Position) -> None:
        """Take in what the filter works with in this process."""
        self._fn, self._position = fn, position

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come out."""
        return self._position.has_ended

    def load(self) -> Saved | None:
        """Return the state with which the run begins; None: that of a new filter."""
        if self._start is None:
            return None
        taken, made = self._start
        self._items, has_ended, data = read_state(state_path(self.folder, self._stage, taken))
        return Saved(data, made, -1, -1, has_ended)

    def count(self, items: int) -> None:
        """Take in that the filter has taken items."""
        self._items += items

    def store(self, taken: int) -> CutPassed:
        """Store the state in front of item `taken`; the next output is the first one behind the cut."""
        position = self._position
        data = b""
        if not position.has_ended:
            has_snapshot = callable(getattr(self._fn, "snapshot", None))
            data = dumps(self._fn.snapshot() if has_snapshot else self._items)
        write_state(state_path(self.folder, self._stage, taken), (self._items, position.has_ended, data))
        self._pending = position.next_output
        return CutPassed(self._stage, taken, position.next_output)

    def mark(self, number: int) -> int:
        """Return the flag of a batch of outputs that begins with item `number`.

        After a kill the outputs behind a cut may have been sent by the predecessor: then nothing is marked, and a later
        cut counts.
        """
        is_behind = number == self._pending
        self._pending = -1
        return CUT if is_behind else 0


class CutPort(_Delegate):
    """The port of a filter: it finds the cuts in the input, and marks them in the output."""

    def __init__(self, port: Port, cuts: FilterCuts) -> None:
        super().__init__(port)
        self._cuts = cuts
        self._presence = present(cuts.folder, cuts.owner)
        self._behind = cuts.begin  # number of the next input
        self._saved: Saved | None = None

    def load_state(self) -> Saved | None:
        """Return the state that a predecessor in this run has saved, else that with which the run begins."""
        self._saved = self._port.load_state()
        if self._saved is not None:
            self._behind = -1  # it is not known yet
        return self._cuts.load() if self._saved is None else self._saved

    def take(self) -> list[Batch] | None:
        """Return the next batch; store the state if a cut lies in front of it, or if all is done.

        At the end of the input the filter may have outputs still, and a number has one state only: that behind them.
        """
        batches: list[Batch] | None = self._port.take()
        if batches is None:
            if self._behind > self._cuts.begin and self._cuts.has_ended:
                self._port.report(self._cuts.store(self._behind))
            return None
        first, saved = batches[0], self._saved
        is_done = saved is not None and (first.sequence, first.number) == (saved.sequence, saved.number)
        is_new = first.cell & CUT and first.number > self._cuts.begin
        if is_new and not is_done:  # a state that was saved behind the batch is not that in front of it
            self._port.report(self._cuts.store(first.number))
        self._behind = first.number + first.count
        return batches

    def count(self, items: int, dropped: int = 0, failed: int = 0) -> None:
        """Count items, also for the state."""
        self._cuts.count(items)
        self._port.count(items, dropped, failed)

    def token(self, number: int) -> int:
        """Return a token, with the flag if a cut lies in front of the batch."""
        cell: int = self._port.token(number)
        return cell | self._cuts.mark(number)
