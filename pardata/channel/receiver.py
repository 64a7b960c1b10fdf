"""The reading end of a channel."""

from __future__ import annotations

import socket
from array import array
from math import inf
from operator import attrgetter
from typing import Final

from pardata.channel.channel import (
    DONE,
    DOORBELL,
    HELLO,
    SCAN,
    WORDS_PER_MESSAGE,
    ChannelEnd,
    ChannelSpec,
    receive_all,
    try_send,
    words_at,
)
from pardata.channel.lease_report import encode_report
from pardata.channel.leases import HeldBlocks, Lease, Returns
from pardata.channel.words import (
    BEFORE,
    BODY,
    CLOSED,
    COUNT,
    HEAD,
    KIND,
    LEASE,
    LEASES,
    NEWEST,
    SEQUENCE,
    STAMP,
    TOP,
    slot_at,
)
from pardata.codec.access import Access
from pardata.codec.batch_codec import Batch, decode
from pardata.codec.loadable import decode_loadable
from pardata.memory.array import Anchor, Drop, anchor
from pardata.memory.segment import Segment

# A caller that holds more blocks keeps what it gets, as messages under way have fewer. From then on it gets copies
# of small parts, so that one item of many does not keep the others' memory.
_MANY: Final = 64


class Claim:
    """A message that a receiver works on; it stays in its slot until it is committed."""

    __slots__ = ("anchors", "cell", "count", "head", "number", "receiver", "sequence", "slot", "stamp")

    def __init__(self, receiver: Receiver, slot: int, stamp: int, head: tuple[int, ...]) -> None:
        self.receiver = receiver
        self.slot = slot
        self.stamp = stamp
        self.head = head  # as `HEAD` has it
        sequence, self.number, self.count, self.cell = head[:4]
        self.sequence = receiver.renamed.get(sequence, sequence)
        self.anchors: list[Anchor] = []

    def __repr__(self) -> str:
        return f"<Claim {self.sequence}:{self.number}+{self.count} of {self.receiver!r}>"


_stamp_of = attrgetter("stamp")


class Receiver(ChannelEnd):
    """The reading end: `receive` the claims of messages that were published, `read` them, `commit` them.

    A successor is made in the same way: every message that is not committed is a claim again.

    Parameters
    ----------
    index : int
        The channel's number among the incoming channels of this process.
    edge : int
        The input of the stage that the channel belongs to.
    renamed : dict
        The numbers by which its sequences are known here (see `pipeline.plan.stage.Edge`).

    Attributes
    ----------
    asleep : memoryview, optional
        The word by which this process says that it sleeps (`channel.sleep`); None: each message has a doorbell.
    """

    def __init__(
        self,
        spec: ChannelSpec,
        sock: socket.socket,
        segment: Segment,
        index: int,
        edge: int = 0,
        renamed: dict[int, int] | None = None,
    ) -> None:
        super().__init__(spec, sock, segment, index)
        self.edge = edge
        self.asleep = None if spec.asleep_at is None else words_at(segment, spec.asleep_at, 8)
        self.renamed = renamed or {}
        self.held = HeldBlocks(segment.map)
        self.returns = Returns()
        done = self._done[: self._words[TOP]].tolist()  # what a predecessor has finished counts as seen, no more
        self._seen = done or [0]  # stamps by slot, as far as slots have been looked at
        self._unfinished = 0  # claims of this process that are not committed
        newest, unfinished = self._published()
        self._taken = newest - len(unfinished)  # messages that were seen here, or finished by a predecessor

    @property
    def _used(self) -> range:
        return range(self._words[TOP])  # the slots that the sender has ever used

    def _published(self) -> tuple[int, list[int]]:
        """Return the stamp of the newest message, and those of the unfinished ones up to it.

        SYNC POINT: report. The newest is read first, so that every unfinished message up to it is found: one that is
        published in between is newer.
        """
        newest = max((self._words[slot_at(slot) + STAMP] for slot in self._used), default=0)
        stamps = ((slot, self._words[slot_at(slot) + STAMP]) for slot in self._used)
        return newest, [stamp for slot, stamp in stamps if stamp != self._done[slot] and stamp <= newest]

    @property
    def at_end(self) -> bool:
        """Return whether the sender has closed and all its messages are committed."""
        closed = self._words[CLOSED]  # SYNC POINT: close. The number of messages plus one: stamps count from 1
        return bool(closed) and not self._unfinished and self._taken == closed - 1

    def waiting(self) -> list[tuple[int, int]]:
        """Return (sequence, number) of the messages that are not committed, seen or not."""
        slots = (slot for slot in self._used if self._words[slot_at(slot) + STAMP] != self._done[slot])
        heads = [self._words[slot_at(slot) + SEQUENCE : slot_at(slot) + COUNT] for slot in slots]
        return [(self.renamed.get(sequence, sequence), number) for sequence, number in heads]

    def receive(self) -> list[Claim]:
        """Return the messages that have been published since the last time."""
        claims: list[Claim] = []
        most = inf if self.asleep is None else 1  # there is mostly one in a sleep, and others are left to the next time
        for data in receive_all(self.sock, DOORBELL.size, most):
            (doorbell,) = DOORBELL.unpack(data)
            if doorbell >= 0 and self.asleep is not None:
                claims += self.poll()
            elif doorbell >= 0:
                self._take_in(doorbell, claims)
            elif doorbell in (HELLO, SCAN):
                claims += self.scan()
            if doorbell == HELLO:
                self.report_leases()  # the old sender may have read that leases had ended, and died before it noted it
        return sorted(claims, key=_stamp_of)  # a doorbell that a predecessor left may name a later message

    def scan(self) -> list[Claim]:
        """Return the unfinished messages that have not been returned before, whether or not a doorbell has come.

        A message that is published meanwhile may be found when an older one was not: it is left to the next time.
        """
        claims: list[Claim] = []
        newest = max((self._words[slot_at(slot) + STAMP] for slot in self._used), default=0)
        for slot in self._used:  # SYNC POINT: top. Read again: slots of messages before `newest` are counted by now
            self._take_in(slot, claims, newest)
        claims.sort(key=_stamp_of)
        return claims

    @property
    def has_unseen(self) -> bool:
        """Whether a message has been published that was not seen; of a channel with wake-up elision."""
        slot = self._words[NEWEST]
        return slot >= len(self._seen) or self._words[slot_at(slot) + STAMP] != self._seen[slot]

    def poll(self) -> list[Claim]:
        """Return the messages that have been published since the last time, with or without doorbells."""
        claims: list[Claim] = []
        slot: int | None = self._words[NEWEST]
        while slot is not None:  # back to one that was seen: so were all before it
            slot = self._take_in(slot, claims)
        if len(claims) > 1:
            claims.sort(key=_stamp_of)  # the slot of one that was seen may have the next one already
        return claims

    def _take_in(self, slot: int, claims: list[Claim], newest: float = inf) -> int | None:
        """Add a claim of a message not seen, nor newer than `newest`; return the slot of the one before, or None."""
        at, seen = slot_at(slot), self._seen
        stamp = self._words[at + STAMP]
        if slot >= len(seen):
            seen += [0] * (slot + 1 - len(seen))
        if seen[slot] == stamp or stamp > newest:
            return None
        # SYNC POINT: publish. All other words of the record were stored before the stamp.
        seen[slot] = stamp
        self._unfinished += 1
        self._taken += 1
        claims.append(Claim(self, slot, stamp, HEAD.unpack_from(self._bytes, 8 * (at + SEQUENCE))))
        return claims[-1].head[BEFORE - SEQUENCE]

    def open(self, claim: Claim) -> int:
        """Give `claim` the anchors of its blocks; return where the rest of the message begins."""
        start: int = claim.head[BODY - SEQUENCE]
        count = claim.head[LEASES - SEQUENCE]
        if not count:
            return start
        held = self.held
        is_crowded = len(held.live) > _MANY
        for _ in range(count):
            row, stamp, offset, extent, shared = LEASE.unpack_from(self._bytes, start)
            start += LEASE.size
            lease = Lease(self.index, row, stamp)
            block = held.recovered.get(lease)
            if block is None:
                block = anchor(held.memory, offset, extent, self.returns, lease)
                block.shared, block.crowded = bool(shared), is_crowded
            held.live[lease] = (offset, extent)  # in front of the commit: a report counts all others as ended
            block.claimed = True  # `BlockPlacer` counts the reference of the claim
            claim.anchors.append(block)
        return start

    def read(self, claim: Claim, access: Access = Access.READ) -> Batch:
        """Return the batch; its arrays keep their blocks, and so does `claim` until it is committed."""
        kind, places, payload = self._payload(claim, self.open(claim))
        items = decode(kind, payload, claim.anchors, access)
        return Batch(claim.sequence, claim.number, claim.count, claim.cell, items, places)

    def read_loadable(self, claim: Claim, access: Access, error: Exception) -> Batch:
        """As `read`, which has raised `error`, with `Unloadable` where an item cannot be loaded."""
        start = claim.head[BODY - SEQUENCE] + LEASE.size * claim.head[LEASES - SEQUENCE]
        kind, places, payload = self._payload(claim, start)
        count = claim.count if places is None else len(places)
        items = decode_loadable(kind, payload, claim.anchors, access, count, error)
        return Batch(claim.sequence, claim.number, claim.count, claim.cell, items, places)

    def _payload(self, claim: Claim, start: int) -> tuple[int, list[int] | None, memoryview]:
        """Return the kind of a message, the positions of its items, and its payload."""
        kind, _, positions, length, spilled = claim.head[KIND - SEQUENCE : BEFORE - SEQUENCE]
        if positions < 0 and not spilled:
            return kind, None, self._bytes[start : start + length]
        body = claim.anchors[-1].data if spilled else self._bytes[start : start + 8 * max(positions, 0) + length]
        places = None
        if positions >= 0:
            places = list(body[: 8 * positions].cast("q"))
            body = body[8 * positions :]
        return kind, places, body[:length]

    def discard(self, claim: Claim) -> None:
        """Finish a message that a dead predecessor had processed. Leases of blocks that it had passed on stay."""
        self.open(claim)
        self.commit(claim)

    def commit(self, claim: Claim) -> None:
        """Finish a message: it will not be processed again. Its leases end when its arrays are gone."""
        # SYNC POINT: commit. From here on no successor gets the message; the sender reads the word if it is not told.
        self._done[claim.slot] = claim.stamp
        for block in claim.anchors:
            block.claimed = False
        claim.anchors.clear()
        self._unfinished -= 1
        self.returns.settled += (DONE - claim.slot, claim.stamp)

    def report_leases(self) -> None:
        """Tell the sender which leases are held and which messages are not finished: all others have ended."""
        newest, unfinished = self._published()
        self.returns.reports += encode_report([lease.row for lease in self.held.live], newest, unfinished)
        self.flush()

    @property
    def owes(self) -> int:
        """The number of messages, settled slots and ended leases that wait for `flush`."""
        returns = self.returns
        return len(returns.reports) + len(returns.settled) // 2 + len(returns.leases)

    def flush(self) -> bool:
        """Tell the sender which messages are finished and which leases have ended. Return False if its socket is full.

        What it has not told is kept for the next time.
        """
        returns, live = self.returns, self.held.live
        # Reports go first: they tell which leases are held, and a pair behind them may say that one of these has ended.
        leases, settled, reports = returns.leases, returns.settled, returns.reports
        count = len(leases)  # another thread, or the garbage collector right here, may add more meanwhile
        for lease in leases[:count]:
            settled += lease[1:]
            live.pop(lease, None)
        del leases[:count]
        while reports:
            if not try_send(self.sock, reports[0]):
                return False
            del reports[0]
        while settled:
            if not try_send(self.sock, array("q", settled[:WORDS_PER_MESSAGE]).tobytes()):
                return False
            del settled[:WORDS_PER_MESSAGE]
        return True

    def retire_to(self, remains: Drop) -> None:
        """The run is over: leases that are still held here end at `remains`."""
        self.returns.redirect(remains)

    def __repr__(self) -> str:
        return f"<Receiver {self.index}: {self._taken} taken, {self._unfinished} unfinished>"
