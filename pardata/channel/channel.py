"""One-way path between two processes: a sender, a receiver, and what survives them both.

      sender's span                              receiver's span
      slots: stamp, numbers, leases, payload     done: per slot, the stamp of the last message that was finished

      sender   -- "slot 5 is ready" ------------>  receiver      one AF_UNIX SOCK_SEQPACKET pair; what it carries are
      sender   <- "slot 5 done, row 9 released" -  receiver      hints, all state is in the words above

*Publish* is one store: the stamp of a slot, written last. *Commit* is one store: the same stamp in the receiver's
`done` word. Each word has one writer and lies in that writer's span, so neither a message nor a commit is lost with
a process, nothing has to be locked, and a replacement that reads the words knows exactly what had happened:

- published and not done: still to be processed (again);
- an output for the same input already published: not to be published twice.

The socket orders memory between the two (a hint is received after what it speaks of was written) and wakes the sleeper.
A free slot is always there for whoever holds a token (`pipeline.plan`), so sending waits for nobody.

Source: claim/commit as in transactional message queues; single-writer words as in Lamport's 1977 ring.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pardata.channel.leases import Lease, LeaseTable
from pardata.channel.message import Batch, Encoded, decode
from pardata.errors import BrokenError
from pardata.memory.array import Anchor, Drop, anchor
from pardata.memory.segment import PAGE_BYTES, Segment

SLOT_BYTES: Final = 64 << 10
_HEAD_WORDS: Final = 10  # stamp, domain, number, count, cell, kind, leases, positions, payload bytes, spilled
_HEAD: Final = struct.Struct(f"<{_HEAD_WORDS - 1}q")
_LEASE: Final = struct.Struct("<5q")  # row, stamp, offset, extent, shared
_BODY: Final = 8 * _HEAD_WORDS
CAPACITY: Final = SLOT_BYTES - _BODY

_HELLO: Final = -1  # forward: a new sender, look at all your slots again / backward: an account of what is held
_CLOSE: Final = -2
_HOLDS: Final = -3  # backward: rows of leases that are held, a part of the account that follows
_HINT: Final = struct.Struct("<q")
_WORDS_PER_MESSAGE: Final = 4000


class RunGone(BrokenError):
    """The other end of every socket is closed: nobody waits for this process any more."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return a connected, non-blocking pair that keeps message boundaries."""
    kind = socket.SOCK_SEQPACKET if hasattr(socket, "SOCK_SEQPACKET") else socket.SOCK_DGRAM
    pair = socket.socketpair(socket.AF_UNIX, kind)
    for end in pair:
        end.setblocking(False)
    return pair


@dataclass(frozen=True)
class ChannelSpec:
    """Where a channel's words are: offsets in the segment. Picklable; the sockets travel beside it."""

    slots: int
    sender_at: int
    receiver_at: int

    @staticmethod
    def sender_bytes(slots: int) -> int:
        """Return what the sender's side needs: a page for the channel's own words, then the slots."""
        return PAGE_BYTES + slots * SLOT_BYTES

    @staticmethod
    def receiver_bytes(slots: int) -> int:
        """Return what the receiver's side needs."""
        return 8 * slots


def _words(segment: Segment, offset: int, nbytes: int) -> memoryview:
    return memoryview(segment.map)[offset : offset + nbytes].cast("q")


def _receive(sock: socket.socket) -> list[bytes]:
    """Return what is in the socket now."""
    messages: list[bytes] = []
    while True:
        try:
            data = sock.recv(SLOT_BYTES)
        except BlockingIOError:
            return messages
        except ConnectionResetError:
            data = b""
        if not data:
            raise RunGone("the run is gone")
        messages.append(data)


def _send(sock: socket.socket, data: bytes) -> None:
    """Send one message, waiting if the other side has not emptied its socket for a long time."""
    while True:
        try:
            sock.send(data)
            return
        except BlockingIOError:
            select.select([], [sock], [])
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            raise RunGone("the run is gone") from None


class Sender:
    """The writing end.

    Parameters
    ----------
    index : int
        The channel's number among the outgoing channels of this process.
    leases : LeaseTable
        Of this process; shared by all its senders.
    """

    def __init__(
        self, spec: ChannelSpec, sock: socket.socket, segment: Segment, leases: LeaseTable, index: int
    ) -> None:
        self.spec = spec
        self.sock = sock
        self.index = index
        self._leases = leases
        nbytes = ChannelSpec.sender_bytes(spec.slots)
        self._bytes = memoryview(segment.map)[spec.sender_at : spec.sender_at + nbytes]
        self._words = self._bytes.cast("q")
        self._done = _words(segment, spec.receiver_at, ChannelSpec.receiver_bytes(spec.slots))
        stamps = [self._words[self._at(slot)] for slot in range(spec.slots)]
        self._held: list[int] = []
        self._parts = 0
        self.last_stamp = max(stamps)
        self._last_slot = stamps.index(self.last_stamp) if self.last_stamp else -1
        self._free: list[int] = []
        for slot in reversed(range(spec.slots)):
            if self._done[slot] == stamps[slot]:
                self._add_free(slot)

    @staticmethod
    def _at(slot: int) -> int:
        return (PAGE_BYTES + slot * SLOT_BYTES) // 8

    @property
    def outstanding(self) -> int:
        """Messages that the receiver has not finished, as far as is known here."""
        return self.spec.slots - len(self._free)

    @property
    def has_room(self) -> bool:
        """Whether `publish` is allowed.

        The slot of the last message is not used for the next one: a successor reads there what was published last.
        """
        return len(self._free) > 1 or (len(self._free) == 1 and self._free[0] != self._last_slot)

    def _add_free(self, slot: int) -> None:
        if slot == self._last_slot:
            self._free.insert(0, slot)
        else:
            self._free.append(slot)

    def last(self) -> tuple[int, int, int, int] | None:
        """Return (domain, number, count, cell) of the last message published, from the words alone."""
        if not self.last_stamp:
            return None
        at = self._at(self._last_slot)
        domain, number, count, cell = self._words[at + 1 : at + 5]
        return domain, number, count, cell

    def publish(
        self, batch: Batch, encoded: Encoded, spilled: Anchor | None, origins: list[Lease], shared: bool
    ) -> None:
        """Hand a batch to the receiver.

        Parameters
        ----------
        spilled : Anchor, optional
            The block that holds positions and payload, if they do not fit into a slot.
        origins : list of Lease
            Where each of ``encoded.anchors`` (and then `spilled`) came from.
        shared : bool
            Whether the blocks go to another receiver as well.
        """
        slot = self._free[-1]
        stamp = self.last_stamp + 1
        at = self._at(slot)
        position = at * 8 + _BODY
        blocks = encoded.anchors if spilled is None else [*encoded.anchors, spilled]
        for block, origin in zip(blocks, origins, strict=True):
            unshared = not (shared or block.shared or block.live_rows)
            lease = self._leases.give(block, self.index, stamp, origin)
            _LEASE.pack_into(
                self._bytes, position, lease.row, lease.stamp, block.offset, block.extent_bytes, not unshared
            )
            position += _LEASE.size
        count = -1
        if batch.positions is not None:
            count = len(batch.positions)
        if spilled is None:
            if count > 0:
                raw = array("q", batch.positions or ()).tobytes()
                self._bytes[position : position + len(raw)] = raw
                position += len(raw)
            self._bytes[position : position + len(encoded.payload)] = encoded.payload
        _HEAD.pack_into(
            self._bytes, at * 8 + 8, batch.domain, batch.number, batch.count, batch.cell,
            encoded.kind, len(blocks), count, len(encoded.payload), spilled is not None,
        )  # fmt: skip
        self._free.pop()
        self._words[at] = stamp  # SYNC POINT: publish. From here on the message exists, whoever dies.
        self.last_stamp, self._last_slot = stamp, slot
        _send(self.sock, _HINT.pack(slot))

    def abandon(self, number: int) -> None:
        """Finish message `number` in place of a receiver that is dead: nobody will process it."""
        for slot in range(self.spec.slots):
            at = self._at(slot)
            if self._words[at] != self._done[slot] and self._words[at + 2] == number:
                self._done[slot] = self._words[at]
                self._settle(slot, self._words[at])

    def close(self) -> None:
        """Say that no more will come: CLOSE(count)."""
        self._words[0] = self.last_stamp + 1
        _send(self.sock, _HINT.pack(_CLOSE))

    def hello(self) -> None:
        """Say that a new sender has taken over: hints of the old one may be missing."""
        _send(self.sock, _HINT.pack(_HELLO))

    def receive(self) -> None:
        """Take in what the receiver has finished and given back."""
        for data in _receive(self.sock):
            words = memoryview(data).cast("q")
            if words[0] in (_HOLDS, _HELLO):
                self._take_account(words)
                continue
            for first, stamp in zip(words[::2], words[1::2], strict=True):
                if first >= 0:
                    self._leases.release(first, stamp)
                else:
                    self._settle(-10 - first, stamp)

    def _take_account(self, words: memoryview) -> None:
        """Take in what the receiver holds: some parts, then the rest. An account with parts missing is void."""
        if words[0] == _HOLDS:
            self._held += words[1:]
            self._parts += 1
            return
        parts, newest, count = words[1:4]
        if parts == self._parts:
            self._resume(newest, set(words[4 : 4 + count]), set(self._held))
        self._held, self._parts = [], 0

    def _settle(self, slot: int, stamp: int) -> None:
        if self._words[self._at(slot)] == stamp and slot not in self._free:
            self._add_free(slot)

    def _resume(self, newest: int, unfinished: set[int], kept: set[int]) -> None:
        """Take back every lease that ended without this side noting it, because one of the two died.

        Those are the leases of messages up to `newest`, the last one that the receiver knew, that were finished by
        then and are not held. (It may have finished others before this is read: those it gives back itself.)
        """
        for slot in range(self.spec.slots):
            stamp = self._words[self._at(slot)]
            if self._done[slot] == stamp:
                self._settle(slot, stamp)
        for row, stamp, message in self._leases.on_channel(self.index):
            if message <= newest and message not in unfinished and row not in kept:
                self._leases.release(row, stamp)

    def __repr__(self) -> str:
        return f"<Sender {self.index}: {self.last_stamp} sent, {self.outstanding} unfinished>"


class Claim:
    """A message that a receiver works on; it stays in its slot until it is committed."""

    __slots__ = ("anchors", "cell", "count", "domain", "number", "receiver", "slot", "stamp")

    def __init__(self, receiver: Receiver, slot: int, stamp: int, numbers: memoryview) -> None:
        self.receiver = receiver
        self.slot = slot
        self.stamp = stamp
        domain, self.number, self.count, self.cell = numbers
        self.domain = receiver.renamed.get(domain, domain)
        self.anchors: list[Anchor] = []

    def __repr__(self) -> str:
        return f"<Claim {self.domain}:{self.number}+{self.count} of {self.receiver!r}>"


class Returns:
    """Where the anchors of one receiver drop their leases. `append` is replaced when the run is over."""

    __slots__ = ("append", "leases")

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self.append: Callable[[Lease], None] = self.leases.append


class Receiver:
    """The reading end: `receive` what was published, `read` it, `commit` it.

    Parameters
    ----------
    index : int
        The channel's number among the incoming channels of this process.
    edge : int
        Which input of a zip it belongs to.
    renamed : dict
        What its domains are called here (see `pipeline.plan.Edge`).
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
        self.spec = spec
        self.sock = sock
        self.index = index
        self.edge = edge
        self.renamed = renamed or {}
        self.live: dict[Lease, tuple[int, int]] = {}  # (offset, extent) of what is held here
        # Blocks that a dead predecessor has handed on: a lease has one anchor, also if its message is read again.
        self.recovered: dict[Lease, Anchor] = {}
        self.returns = Returns()
        self._segment = segment
        nbytes = ChannelSpec.sender_bytes(spec.slots)
        self._bytes = memoryview(segment.map)[spec.sender_at : spec.sender_at + nbytes]
        self._words = self._bytes.cast("q")
        self._done = _words(segment, spec.receiver_at, ChannelSpec.receiver_bytes(spec.slots))
        self._seen = list(self._done)
        self._settled: list[int] = []
        self._unfinished = 0
        self._taken = 0
        self._is_successor = any(self._done)

    def _unfinished_stamps(self) -> list[int]:
        stamps = ((slot, self._words[Sender._at(slot)]) for slot in range(self.spec.slots))
        return [stamp for slot, stamp in stamps if stamp != self._done[slot]]

    @property
    def at_end(self) -> bool:
        """Whether the sender has closed and everything it sent is committed."""
        closed = self._words[0]
        if not closed or self._unfinished:
            return False
        if self._is_successor:
            return not self._unfinished_stamps()
        return self._taken == closed - 1

    def receive(self) -> list[Claim]:
        """Return the messages that have been published since the last time."""
        claims: list[Claim] = []
        for data in _receive(self.sock):
            (hint,) = _HINT.unpack(data)
            if hint >= 0:
                self._look(hint, claims)
            elif hint == _HELLO:
                claims += self.look()
                self.account()  # the old sender may have died between reading what was given back and noting it
        return claims

    def look(self) -> list[Claim]:
        """Return the unfinished messages that have not been returned before, whether or not a hint has come."""
        claims: list[Claim] = []
        for slot in range(self.spec.slots):
            self._look(slot, claims)
        claims.sort(key=lambda claim: claim.stamp)
        return claims

    def _look(self, slot: int, claims: list[Claim]) -> None:
        at = Sender._at(slot)
        stamp = self._words[at]
        if stamp != self._seen[slot]:  # SYNC POINT: publish
            self._seen[slot] = stamp
            self._unfinished += 1
            self._taken += 1
            claims.append(Claim(self, slot, stamp, self._words[at + 1 : at + 5]))

    def open(self, claim: Claim) -> int:
        """Give `claim` the anchors of its blocks; return where the rest of the message begins."""
        at = Sender._at(claim.slot)
        start = at * 8 + _BODY
        for _ in range(self._words[at + 6]):
            row, stamp, offset, extent, shared = _LEASE.unpack_from(self._bytes, start)
            start += _LEASE.size
            lease = Lease(self.index, row, stamp)
            block = self.recovered.get(lease)
            if block is None:
                block = anchor(self._segment.map, offset, extent, self.returns, lease)
                block.shared = bool(shared)
            self.live[lease] = (offset, extent)
            claim.anchors.append(block)
        return start

    def read(self, claim: Claim, inplace: bool = False) -> Batch:
        """Return the batch; its arrays keep their blocks, and so does `claim` until it is committed."""
        start = self.open(claim)
        at = Sender._at(claim.slot)
        kind, _, positions, length, spilled = self._words[at + 5 : at + _HEAD_WORDS]
        body = claim.anchors[-1].data if spilled else self._bytes[start : start + 8 * max(positions, 0) + length]
        places = None
        if positions >= 0:
            places = list(body[: 8 * positions].cast("q"))
            body = body[8 * positions :]
        items = decode(kind, body[:length], claim.anchors, inplace)
        return Batch(claim.domain, claim.number, claim.count, claim.cell, items, places)

    def discard(self, claim: Claim) -> None:
        """Finish a message that a dead predecessor had processed; its leases end but for those that it handed on."""
        self.open(claim)
        self.commit(claim)

    def commit(self, claim: Claim) -> None:
        """Finish a message: it will not be processed again. Its leases end when its arrays are gone."""
        self._done[claim.slot] = claim.stamp  # SYNC POINT: commit
        claim.anchors.clear()
        self._unfinished -= 1
        self._settled += (-10 - claim.slot, claim.stamp)

    def account(self) -> None:
        """Tell the sender which leases are held and which messages are not finished: all others have ended."""
        newest = max(
            self._words[Sender._at(slot)] for slot in range(self.spec.slots)
        )  # first: older ones are seen then
        unfinished = [stamp for stamp in self._unfinished_stamps() if stamp <= newest]
        held = [lease.row for lease in self.live]
        parts = [held[at : at + _WORDS_PER_MESSAGE] for at in range(0, len(held), _WORDS_PER_MESSAGE)]
        for part in parts:
            _send(self.sock, array("q", [_HOLDS, *part]).tobytes())
        _send(self.sock, array("q", [_HELLO, len(parts), newest, len(unfinished), *unfinished]).tobytes())

    @property
    def owes(self) -> int:
        """How many hints wait for `flush`."""
        return len(self._settled) // 2 + len(self.returns.leases)

    def flush(self) -> bool:
        """Tell the sender what is finished and given back. Return False if its socket is full: try again later."""
        leases, settled = self.returns.leases, self._settled
        count = len(leases)  # more may be dropped meanwhile: by another thread, or by the garbage collector right here
        for lease in leases[:count]:
            settled += lease[1:]
            self.live.pop(lease, None)
        del leases[:count]
        while settled:
            try:
                self.sock.send(array("q", settled[:_WORDS_PER_MESSAGE]).tobytes())
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                    raise
                raise RunGone("the run is gone") from None
            del settled[:_WORDS_PER_MESSAGE]
        return True

    def retire_to(self, remains: Drop) -> None:
        """The run is over: what is still held here ends at `remains`."""
        leases = self.returns.leases
        self.returns.append = remains.append
        while leases:
            remains.append(leases.pop())

    def __repr__(self) -> str:
        return f"<Receiver {self.index}: {self._taken} taken, {self._unfinished} unfinished>"
