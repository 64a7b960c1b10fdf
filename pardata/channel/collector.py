"""Fan-in: many receivers, one selector, one order."""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from pardata.channel.order import Order
from pardata.channel.receiver import Claim, Receiver
from pardata.channel.sender import Sender
from pardata.channel.sleep import Sleep

_SOON_S: Final = 0.02  # until a full socket is tried again
IDLE_S = 5.0  # after this long without work, `on_idle` is called: warm free memory goes back


class Debtor(Protocol):
    """An end with messages that did not fit into its socket, or that were put off to be sent together."""

    @property
    def owes(self) -> object: ...
    def flush(self) -> bool: ...


class Collector:
    """`next` -> work -> `Receiver.commit`, over any number of receivers.

    The process waits nowhere but in `wait`, on one selector that others may register with: the data of a key is the
    function to call when its file is readable.

          doorbells of senders ------> Receiver.receive --+
          messages without doorbell -> Receiver.poll -----+--> Order --> next
          left by a predecessor -----> Receiver.scan -----+
          doorbells of receivers ----> Sender.receive: slots are free, leases have ended
    """

    def __init__(self, receivers: list[Receiver], order: Order[Claim], senders: list[Sender]) -> None:
        self.receivers = receivers
        self._eliding = [receiver for receiver in receivers if receiver.asleep is not None]
        asleep = self._eliding[0].asleep if self._eliding else None  # a word of this process, the same for all
        self._sleep = None if asleep is None else Sleep(asleep)
        self.selector = selectors.DefaultSelector()
        self._order = order
        order.has_ended = self._has_ended
        self._debtors: list[Debtor] = [*receivers, *senders]
        self._on_idle: Callable[[], None] | None = None
        for receiver in receivers:
            self.watch(receiver.sock, partial(self._receive, receiver))
        for sender in senders:
            self.watch(sender.sock, sender.receive)

    def watch(self, file: object, call: Callable[[], None]) -> None:
        """Call `call` from `wait` whenever `file` is readable."""
        self.selector.register(file, selectors.EVENT_READ, call)  # type: ignore[arg-type]

    def owe(self, debtor: Debtor) -> None:
        """Have `flush` flush `debtor` as well."""
        self._debtors.append(debtor)

    def unwatch(self, file: object) -> None:
        """Watch `file` no longer."""
        self.selector.unregister(file)  # type: ignore[arg-type]

    def on_idle(self, call: Callable[[], None]) -> None:
        """Call `call` after `IDLE_S` seconds without an event."""
        self._on_idle = call

    def resume(self, first: tuple[int, int] | None, turn: int) -> bool:
        """As a successor, take up every unfinished message, whether or not its doorbell was read.

        Parameters
        ----------
        first : (sequence, number), optional
            The batch that the predecessor was working on. It comes first in any order: the last messages of the
            outgoing channels and a saved state tell how far the batch got, and the next batch would overwrite both.
        turn : int
            The input whose turn it was when the predecessor had last finished a batch (`turn` of its collector).

        Returns
        -------
        bool
            Whether `first` is unfinished.
        """
        claims = [claim for receiver in self.receivers for claim in receiver.scan()]
        # False comes first, and the sort keeps the order of all others: that of the receivers, and in each that of the
        # stamps.
        claims.sort(key=lambda claim: (claim.sequence, claim.number) != first)
        is_there = (
            bool(claims) and (claims[0].sequence, claims[0].number) == first and not self._order.is_stale(claims[0])
        )
        self._order.turn = claims[0].receiver.edge if is_there else turn  # SYNC POINT: choice (`WorkerPort.commit`)
        self._add(claims)
        return is_there

    @property
    def turn(self) -> int:
        """The input that is served next, where inputs are served in turn."""
        return self._order.turn

    def _receive(self, receiver: Receiver) -> None:
        self._add(receiver.receive())

    def _add(self, claims: list[Claim]) -> None:
        for claim in claims:
            if self._order.is_stale(claim):
                claim.receiver.discard(claim)
            else:
                self._order.add(claim.receiver.edge, claim)

    def next(self) -> list[Claim] | None:
        """Return the next claims (one, or one of each edge of a zip) if they are here."""
        claims = self._order.take_next()
        # A scan reads a word of each sender, so it is left out while the order has something.
        return self._order.take_next() if claims is None and self._scan() else claims

    def _scan(self) -> bool:
        """Take in messages that have come without a doorbell; return whether there were any."""
        found = False
        for receiver in self._eliding:
            claims = receiver.poll()
            if claims:
                self._add(claims)
                found = True
        return found

    def _has_ended(self, edge: int) -> bool:
        return all(receiver.at_end for receiver in self.receivers if receiver.edge == edge)

    @property
    def at_end(self) -> bool:
        """Return whether every sender has closed and everything is committed."""
        return all(receiver.at_end for receiver in self.receivers)

    def poll(self) -> None:
        """Handle all events that have come, without waiting."""
        for key, _ in self.selector.select(0):
            key.data()

    def wait(self, timeout_s: float | None = None, for_input: bool = True) -> None:
        """Flush all ends, then sleep until an event comes.

        Without `for_input` senders are not told of the sleep: doorbells that they leave out do not wake this process.
        """
        sleep = self._sleep if for_input else None
        if sleep is not None:
            os.sched_yield()  # the process that makes the next message may wait for this core: cheaper than a wake-up
            if self._scan():
                return
        flushed = self.flush()  # before the sleep: others may wait for these slots and leases
        # No event tells that a full socket has room again: the selector looks for reading alone. So it is tried by the
        # clock.
        limit = timeout_s if flushed else min(_SOON_S, timeout_s or _SOON_S)
        if limit is None and self._on_idle is not None:
            limit = IDLE_S
        if sleep is None:
            events = self.selector.select(limit)
        else:
            if not self.begin_sleep():
                return
            events = self.selector.select(limit)
            sleep.end()  # a Ctrl-C before this costs one doorbell: the word tells of a sleep until the next one
        for key, _ in events:
            key.data()
        if not events and limit == IDLE_S and self._on_idle is not None:
            self._on_idle()

    def prepare_sleep(self, for_input: bool) -> float:
        """As `wait` before it sleeps, for a caller that sleeps in an event loop which watches `selector`.

        Return for how many seconds at the most it may sleep, 0: something has come already.
        """
        flushed = self.flush()
        if for_input and not self.begin_sleep():
            return 0.0
        return IDLE_S if flushed else _SOON_S

    def idle(self) -> None:
        """Note that nothing has happened for a while."""
        if self._on_idle is not None:
            self._on_idle()

    def begin_sleep(self) -> bool:
        """Say that this process sleeps from now on. Return False, and do not, if a message is here already."""
        sleep = self._sleep
        if sleep is not None:
            sleep.begin()
            if self._scan():  # SYNC POINT: sleep. Later messages come with a doorbell
                sleep.end()
                return False
        return True

    @property
    def has_unseen(self) -> bool:
        """Whether a message has come without a doorbell."""
        return any([receiver.has_unseen for receiver in self._eliding])

    def end_sleep(self) -> None:
        """Say that this process is awake."""
        if self._sleep is not None:
            self._sleep.end()

    def flush(self) -> bool:
        """Send all that is owed. Return False if a socket was full."""
        return all([debtor.flush() for debtor in self._debtors if debtor.owes])

    def close(self) -> None:
        """Close the selector; sockets belong to their makers."""
        self.selector.close()
