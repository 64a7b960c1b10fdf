"""The queues of a run on threads, and the tokens of its sources. All of it changes under the lock of the run's hub."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pardata.channel.window import Window
from pardata.codec.batch_codec import Batch
from pardata.pipeline.plan.ordering import Arrival, InOrder, InTurn

InboxOrder = Arrival[Batch] | InOrder[Batch] | InTurn[Batch]


class Bell(threading.Condition):
    """A condition that event loops wait for as well: `rings` are called when it is notified, with its lock held."""

    def __init__(self, lock: threading.RLock) -> None:
        super().__init__(lock)
        self.rings: list[Callable[[], object]] = []

    def notify(self, n: int = 1) -> None:
        super().notify(n)
        for ring in self.rings:
            ring()


class Inbox:
    """The batches that wait for the workers of a stage; `senders`: how many workers may still add some, per input.

    `in_use`: how many workers take from it, the first ones; others rest. `wakes`: how many are woken for a batch.
    """

    def __init__(
        self,
        lock: threading.RLock,
        order: InboxOrder,
        senders: list[int],
        is_awaited: bool = False,
        in_use: int = 1,
        wakes: int = 1,
    ) -> None:
        self.changed = Bell(lock) if is_awaited else threading.Condition(lock)
        self.order = order
        self.senders = senders
        self.waiting = 0
        self.in_use = in_use
        self._wakes = wakes
        order.has_ended = lambda edge: not self.senders[edge]

    def add(self, edge: int, batch: Batch) -> None:
        """Add a batch, and wake a worker."""
        self.order.add(edge, batch)
        self.waiting += 1
        self.changed.notify(self._wakes)

    def take_next(self) -> list[Batch] | None:
        """Return the next batch, or one of each edge of a zip."""
        batches = self.order.take_next()
        self.waiting -= len(batches or ())
        return batches


class ThreadTokens:
    """The right to have one more batch of a source in flight: returns when all `terminals` have committed the batch."""

    def __init__(self, lock: threading.RLock, window: Window, terminals: int) -> None:
        self.changed = threading.Condition(lock)
        self.terminals = terminals
        self._window = window
        self._in_flight = self.came_out = 0
        self._missing: dict[int, int] = {}

    def retire(self, number: int) -> None:
        """Note that one terminal has committed batch `number`."""
        missing = self._missing.pop(number, self.terminals) - 1
        if missing:
            self._missing[number] = missing
        else:
            self._in_flight -= 1
            self.came_out += 1
            self.changed.notify()

    def take(self, largest_bytes: int) -> bool:
        """Take the right to have one more batch in flight; return False if there is none now."""
        is_open = self._window.allows(self._in_flight, self.came_out, largest_bytes)
        self._in_flight += is_open and self.terminals > 0
        return is_open
