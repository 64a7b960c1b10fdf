"""Traps: a worker process that is killed in a chosen window, once. Imports nothing heavy: workers import it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pardata.channel import placing, sender
from pardata.channel.channel import CLOSE
from pardata.channel.collector import Collector
from pardata.channel.receiver import Receiver
from pardata.channel.sender import Sender
from pardata.memory.array import Anchor, view
from pardata.pipeline.programs.cuts import FilterCuts
from pardata.runtime.events import Done
from pardata.runtime.header import ALONE, ALONE_UNTIL
from pardata.runtime.worker.awaiting_port import AwaitingPort
from pardata.runtime.worker.memory_wait import MemoryWait
from pardata.runtime.worker.port import WorkerPort

Die = Callable[[], None]
ENTRIES = 5_000  # float64: an array in a block


def before(owner: type, name: str, call: int, when: Callable[..., bool] = lambda *_: True) -> Callable[[Die], None]:
    """Return what sets a trap in front of the `call`-th call for which `when` is true."""

    def set_trap(die: Die) -> None:
        method, left = getattr(owner, name), [call]

        def trapped(*args: Any, **options: Any) -> Any:
            left[0] -= bool(when(*args))
            if not left[0]:
                die()
            return method(*args, **options)

        setattr(owner, name, trapped)

    return set_trap


def after(owner: type, name: str, call: int, when: Callable[[Any], bool] = lambda made: True) -> Callable[[Die], None]:
    """Return what sets a trap behind the `call`-th call whose result `when` is true for."""

    def set_trap(die: Die) -> None:
        method, left = getattr(owner, name), [call]

        def trapped(*args: Any, **options: Any) -> Any:
            made = method(*args, **options)
            left[0] -= when(made)
            if not left[0]:
                die()
            return made

        setattr(owner, name, trapped)

    return set_trap


def half_written_block(die: Die) -> None:
    """The third array is copied into its block to the half."""
    copied, left = placing.copied, [3]

    def trapped(dtype: Any, array: Any, block: Anchor, begin: int) -> Any:
        left[0] -= 1
        if not left[0]:
            view(block, begin, array.dtype, array.shape, None)[: len(array) // 2] = array[: len(array) // 2]
            die()
        return copied(dtype, array, block, begin)

    placing.copied = trapped


class HalfHead:
    """The head of a message, after which the process is killed: its stamp is missing."""

    def __init__(self, die: Die) -> None:
        self._head, self._left, self._die = sender.HEAD, 3, die

    def pack_into(self, *args: Any) -> None:
        self._head.pack_into(*args)
        self._left -= 1
        if not self._left:
            self._die()


def half_written_message(die: Die) -> None:
    """The third message is in its slot, but for the stamp that makes it one."""
    sender.HEAD = HalfHead(die)  # type: ignore[misc, assignment]


def at_alone(is_before: bool, die: Die) -> None:
    """The port finds the parent's word, or has put a number in its place."""
    method = AwaitingPort._set_up

    def trapped(self: AwaitingPort) -> None:
        is_told = self.words[ALONE_UNTIL] == ALONE
        if is_told and is_before:
            die()
        method(self)
        if is_told:
            die()

    AwaitingPort._set_up = trapped  # type: ignore[method-assign]


TAKER = {
    "before the claim": before(Collector, "next", 3),
    "after the claim": after(Receiver, "read", 3),
    "after the commit": after(Receiver, "commit", 3),
    "after the send, before the commit": before(WorkerPort, "commit", 3),
}
MAKER = {
    "in a half-written message": half_written_message,
    "after the send, before its doorbell": after(Sender, "_store", 3),
    "after the send": after(WorkerPort, "publish", 3),
    "before CLOSE": before(Sender, "close", 1),
    "in CLOSE": before(Sender, "_ring", 1, lambda _, doorbell: doorbell == CLOSE),
    "after CLOSE": before(WorkerPort, "report", 1, lambda _, event: event == Done()),
    "when it is done": before(MemoryWait, "wait_for_release", 1),
}
WINDOWS = {"in a half-written block": half_written_block, **TAKER, **MAKER}

# Of a stage that takes from several inputs and has several readers: between each two steps of its fourth batch. It is
# not the turn of the input with which a stage begins then.
CHOOSER = {
    "before the choice": after(Collector, "next", 4, lambda claims: claims is not None),
    "after the choice": before(Receiver, "read", 4),
    "before anything is prepared": before(Sender, "prepare", 7),
    "between two that are prepared": before(Sender, "prepare", 8),
    "before a pledge": before(Sender, "pledge", 4),
    "before the first is published": before(Sender, "complete", 7),
    "between published and published": before(Sender, "complete", 8),
    "between published and committed": before(WorkerPort, "commit", 4),
    "between the turn and the commit": before(Receiver, "commit", 4),
    "between the commit and the next choice": after(Receiver, "commit", 4),
}
SAVER = {
    "before the state is saved": before(WorkerPort, "save_state", 4),
    "between saved and committed": before(WorkerPort, "commit", 4),
    "between two results of an item": before(Sender, "complete", 8),
}
# Of a filter in a run with a checkpoint: at its fourth cut.
CUTTER = {
    "before the state at a cut": before(FilterCuts, "store", 4),
    "between the state at a cut and its report": after(FilterCuts, "store", 4),
    "between the report of a cut and its mark": before(
        FilterCuts, "mark", 4, lambda cuts, number: cuts._pending == number
    ),
    "between the mark and its output": after(FilterCuts, "mark", 4, bool),
}
AWAITER = {
    "between the word ALONE and its number": partial(at_alone, True),
    "after the number of ALONE": partial(at_alone, False),
}
TRAPS = WINDOWS | CHOOSER | SAVER | CUTTER | AWAITER


class Trap:
    """A stage with a state; its first worker is killed in one of the windows."""

    def __init__(self, window: str, marker: Path) -> None:
        self._window, self.marker = window, marker

    def die(self) -> None:
        self.marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)

    def open(self) -> None:
        if not self.marker.exists():
            TRAPS[self._window](self.die)

    def __call__(self, x: Any) -> Any:
        return (max(x) if isinstance(x, tuple) else x) + 1


class AwaitingTrap(Trap):
    """The same as a coroutine function: several items are at work when it is killed."""

    async def __call__(self, x: Any) -> Any:
        for _ in range(number_of(x) % 3):
            await asyncio.sleep(0)
        return x + 1


class TrappedFilter(Trap):
    """A generator filter that makes two items of each; its state is how many it has taken."""

    taken = 0

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        self.open()
        for x in items:
            x = (max(x) if isinstance(x, tuple) else x) + 1
            yield x
            self.taken += 1
            yield x

    def snapshot(self) -> int:
        return self.taken

    def restore(self, state: int) -> None:
        self.taken = state


def items(count: int, are_arrays: bool, trap: Trap | None = None) -> Iterator[Any]:
    """A source, which may set a trap itself."""
    if trap is not None:
        trap.open()
    for number in range(count):
        yield np.full(ENTRIES, float(number)) if are_arrays else number


def number_of(x: Any) -> int:
    """The number that an item stands for; fails if an array is damaged."""
    found = set(np.ravel(x).tolist())
    assert len(found) == 1
    return int(found.pop())
