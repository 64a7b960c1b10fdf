"""Stages store where they are at the cuts of a checkpoint, while the run goes on.

      source --[items below n]--CUT--[items from n on]--> stages that keep numbers --> filter --> sink

A source marks the first batch behind a cut. The mark stays with the batch where numbers are kept. A filter that gets it
has done all items in front of it, and nothing of those behind it: it stores its state, tells the main process the two
numbers, and marks its own next batch. So one cut goes through the whole graph by numbers, and nobody waits for anybody.
Where several sources meet, their cuts do as well: see `pipeline.programs.reached`.
"""

from __future__ import annotations

import marshal
import os
import pickle
import struct
import time
import zlib
from dataclasses import replace
from typing import Any, Final, Protocol

from pardata.checkpoint.folder import commit_times
from pardata.checkpoint.presence import Presence
from pardata.codec.batch_codec import CUT, Batch
from pardata.codec.by_value import dumps
from pardata.memory.disk import create_new, write_all
from pardata.pipeline.plan.cuts import Cuts
from pardata.pipeline.programs.batcher import Port
from pardata.pipeline.programs.reached import Reached
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


def state_name(stage: int, taken: tuple[int, ...]) -> str:
    """Return the name of the file with the state of a stage at a cut."""
    return "-".join(map(str, ("stage", stage, *taken)))


def state_path(folder: str, stage: int, taken: tuple[int, ...]) -> str:
    """Return the file with the state of a stage at a cut."""
    return os.path.join(folder, state_name(stage, taken))


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
    # Not flushed: the main process does that before it commits a cut that names this file (`Folder.commit`).
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
    """Says when a source is to mark a cut. After each one it waits twice as long, until one is committed.

    What stages have stored at cuts that are not whole is kept until then: as of a serial run, whose branches run one
    after the other, or behind a filter that yields once in an hour.
    """

    def __init__(self, cuts: Cuts, begin: int) -> None:
        self._cuts = cuts
        self._begin = begin  # the first item of the run: a cut is there already
        self._committed = commit_times(cuts.folder)
        self._last_s = time.monotonic()
        self._wait_s = cuts.every_s
        self._look_s = self._last_s + cuts.every_s

    def mark(self, number: int) -> int:
        """Return the flag of the batch that begins with an item."""
        now = time.monotonic()
        if now < self._look_s or number == self._begin:
            return 0
        self._look_s = now + self._cuts.every_s
        committed = commit_times(self._cuts.folder)
        if committed != self._committed:
            self._committed, self._wait_s = committed, self._cuts.every_s
        if now < self._last_s + self._wait_s:
            return 0
        self._last_s = now
        self._wait_s *= 2
        return CUT


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
    reached : Reached
        How far it is when the run begins.
    begins : list of int
        Per input, how many items it had given at the cut at which the run begins.
    """

    def __init__(self, cuts: Cuts, stage: int, reached: Reached, begins: list[int]) -> None:
        self.folder = cuts.folder
        self.owner = cuts.owner
        self.begins = begins
        self._stage = stage
        self._start = cuts.starts.get(stage)
        self.reached = reached
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
        position, self._items, has_ended, data = read_state(state_path(self.folder, self._stage, taken))
        self.reached.go_on(position)
        return Saved(data, made, -1, -1, has_ended)

    def count(self, items: int) -> None:
        """Take in that the filter has taken items."""
        self._items += items

    def store(self, taken: tuple[int, ...]) -> CutPassed:
        """Store the state; the next output is the first one behind the cut."""
        position = self._position
        data = b""
        if not position.has_ended:
            has_snapshot = callable(getattr(self._fn, "snapshot", None))
            data = dumps(self._fn.snapshot() if has_snapshot else self._items)
        state = self.reached.position, self._items, position.has_ended, data
        write_state(state_path(self.folder, self._stage, taken), state)
        # The batch of this output is marked, so the cut goes on behind the filter where its numbers begin anew.
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


class CutPort:
    """The input side of a filter's port: it finds the cuts. What it does not do itself, the port behind it does."""

    def __init__(self, port: Port, cuts: FilterCuts) -> None:
        self._port: Any = port
        self._cuts = cuts
        self._presence = present(cuts.folder, cuts.owner)
        self.commit = port.commit  # called with every batch: `__getattr__` takes ten times as long

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def load_state(self) -> Saved | None:
        """Return the state that a predecessor in this run has saved, else that with which the run begins."""
        saved: Saved | None = self._port.load_state()
        if saved is None:
            return self._cuts.load()
        data, reached = marshal.loads(saved.data)
        self._cuts.reached.load(reached)
        return replace(saved, data=data)

    def save_state(self, saved: Saved) -> None:
        """Save a state for a successor."""
        data = marshal.dumps((saved.data, self._cuts.reached.save()))
        self._port.save_state(Saved(data, saved.next_output, saved.sequence, saved.number, saved.has_ended))

    def take(self) -> list[Batch] | None:
        """Return the next batch; store the state if a cut lies in front of it, or if all is done.

        At the end of the input the filter may have outputs still, and a number has one state only: that behind them.
        """
        batches: list[Batch] | None = self._port.take()
        reached = self._cuts.reached
        if batches is None:
            self._store(reached.end() if self._cuts.has_ended else None)
            return None
        self._store(reached.pass_cut(batches[0]))  # not again, if a predecessor has saved a state behind the batch
        reached.take(batches[0])
        return [reached.trimmed(batch) for batch in batches]

    def _store(self, taken: tuple[int, ...] | None) -> None:
        if taken is not None:
            self._port.report(self._cuts.store(taken))

    def count(self, items: int, dropped: int = 0, failed: int = 0) -> None:
        """Count items, also for the state."""
        self._cuts.count(items)
        self._port.count(items, dropped, failed)
