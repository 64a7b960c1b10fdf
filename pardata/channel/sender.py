"""The writing end of a channel."""

from __future__ import annotations

import socket
from array import array

from pardata.channel.channel import (
    CLOSE,
    CLOSED,
    DOORBELL,
    HEAD,
    HEAD_WORDS,
    HELLO,
    HOLDS,
    LEADER,
    LEADER_STAMP,
    LEASE,
    NEWEST,
    PLEDGED,
    PLEDGED_SLOT,
    SCAN,
    SLEEPING,
    SMALL_BYTES,
    TOP,
    TOUCHED,
    ChannelSpec,
    End,
    area_at,
    receive_all,
    slot_at,
    try_send,
    words_bytes,
)
from pardata.channel.leases import Lease, LeaseTable
from pardata.codec.batch_codec import Batch, Encoded
from pardata.memory.arena import align
from pardata.memory.array import Anchor
from pardata.memory.budget import CONTROL
from pardata.memory.segment import PAGE_BYTES, Segment


class Sender(End):
    """The writing end.

    Parameters
    ----------
    index : int
        The channel's number among the outgoing channels of this process.
    leases : LeaseTable
        Of this process; shared by all its senders.
    header : memoryview
        Of this process's span: what memory the channel takes is counted there.
    """

    def __init__(
        self,
        spec: ChannelSpec,
        sock: socket.socket,
        segment: Segment,
        leases: LeaseTable,
        index: int,
        header: memoryview,
    ) -> None:
        super().__init__(spec, sock, segment, index)
        self._leases = leases
        self._header = header
        self._top = self._words[TOP]
        stamps = [self._words[slot_at(slot)] for slot in range(self._top)]
        self._held: list[int] = []
        self._parts = 0
        self._owed: int | None = None
        self.last_stamp = max(stamps, default=0)
        self._last_slot = stamps.index(self.last_stamp) if self.last_stamp else -1
        self._prepared = (-1, 0)  # slot and stamp of what is written and not published
        self._receiver_sleeps = True
        self._free: list[int] = []
        self._is_free = bytearray(self._top)
        for slot in reversed(range(self._top)):
            if self._done[slot] == stamps[slot]:
                self._add_free(slot)

    @property
    def outstanding(self) -> int:
        """Messages that the receiver has not finished, as far as is known here."""
        return self._top - len(self._free)

    @property
    def has_room(self) -> bool:
        """Whether `publish` is allowed."""
        return self._top < self.spec.slots or self._next_slot() < self._top

    def _next_slot(self) -> int:
        """Return the slot for the next message: one that was used before, or else the first that never was.

        That of the last message is not used again: a successor reads there what was published last.
        """
        free = self._free
        return free[-1] if len(free) > 1 or (free and free[0] != self._last_slot) else self._top

    def _use(self, slot: int) -> None:
        """Take a slot; the receiver is to look at it from now on."""
        if slot < self._top:
            self._free.pop()
            self._is_free[slot] = False
            return
        self._header[CONTROL] += words_bytes(slot + 1) - words_bytes(slot)
        self._top = self._words[TOP] = slot + 1
        self._is_free.append(False)

    def _area(self, slot: int, nbytes: int) -> int:
        """Return where the contents of a message begin that do not fit into a record."""
        at = slot_at(slot) + TOUCHED
        if nbytes > self._words[at]:
            touched = align(nbytes, PAGE_BYTES)
            self._header[CONTROL] += touched - self._words[at]
            self._words[at] = touched
        return area_at(self.spec.slots, slot)

    def _add_free(self, slot: int) -> None:
        self._is_free[slot] = True
        if slot == self._last_slot:
            self._free.insert(0, slot)
        else:
            self._free.append(slot)

    def last(self) -> tuple[int, int, int, int] | None:
        """Return (sequence, number, count, cell) of the last message published, from the words alone."""
        if not self.last_stamp:
            return None
        at = slot_at(self._last_slot)
        sequence, number, count, cell = self._words[at + 1 : at + 5]
        return sequence, number, count, cell

    def prepare(
        self, batch: Batch, encoded: Encoded, spilled: Anchor | None, origins: list[Lease], shared: bool
    ) -> None:
        """Write a batch into a slot, but for the stamp that makes it a message: `complete` publishes it.

        Parameters
        ----------
        spilled : Anchor, optional
            The block that holds positions and payload, if they do not fit into a slot.
        origins : list of Lease
            Where each of ``encoded.anchors`` (and then `spilled`) came from.
        shared : bool
            Whether the blocks go to another receiver as well.
        """
        slot = self._next_slot()
        stamp = self.last_stamp + 1
        at = slot_at(slot)
        blocks = encoded.anchors if spilled is None else [*encoded.anchors, spilled]
        count = -1 if batch.positions is None else len(batch.positions)
        nbytes = LEASE.size * len(blocks)
        if spilled is None:
            nbytes += 8 * max(count, 0) + len(encoded.payload)
        position = body = 8 * (at + HEAD_WORDS) if nbytes <= SMALL_BYTES else self._area(slot, nbytes)
        for block, origin in zip(blocks, origins, strict=True):
            unshared = not (shared or block.shared or block.live_rows)
            lease = self._leases.give(block, self.index, stamp, origin)
            LEASE.pack_into(
                self._bytes, position, lease.row, lease.stamp, block.offset, block.extent_bytes, not unshared
            )
            position += LEASE.size
        if spilled is None:
            if count > 0:
                raw = array("q", batch.positions or ()).tobytes()
                self._bytes[position : position + len(raw)] = raw
                position += len(raw)
            self._bytes[position : position + len(encoded.payload)] = encoded.payload
        HEAD.pack_into(
            self._bytes, at * 8 + 8, batch.sequence, batch.number, batch.count, batch.cell,
            encoded.kind, len(blocks), count, len(encoded.payload), spilled is not None, max(self._last_slot, 0),
            body,
        )  # fmt: skip
        self._use(slot)
        self._prepared = slot, stamp

    def complete(self) -> None:
        """Publish what was prepared."""
        slot = self._store()
        if self._receiver_sleeps or not self.spec.elides_wakeups:
            self._ring(slot)
        else:
            self.receive()  # SYNC POINT: rest. Either it says that the receiver sleeps, or the receiver will look

    def _store(self) -> int:
        slot, stamp = self._prepared
        self._words[slot_at(slot)] = stamp  # SYNC POINT: publish. From here on the message exists, whoever dies.
        self._words[NEWEST] = slot
        self.last_stamp, self._last_slot = stamp, slot
        return slot

    def pledge(self, leader: Sender) -> None:
        """Say in words that survive: what is prepared here is published as soon as what is prepared there is."""
        words = self._words
        words[PLEDGED] = 0  # while the others are written
        words[PLEDGED_SLOT] = self._prepared[0]
        words[LEADER], words[LEADER_STAMP] = leader.index, leader._prepared[1]
        words[PLEDGED] = self._prepared[1]

    def redeem(self, senders: list[Sender]) -> None:
        """As a successor: publish what was pledged if its leader is published, else forget the pledge."""
        words = self._words
        stamp = words[PLEDGED]
        if stamp <= self.last_stamp:
            return  # it was published
        if senders[words[LEADER]].last_stamp < words[LEADER_STAMP]:
            words[PLEDGED] = 0  # or the next message of the leader would redeem it
            return
        slot = words[PLEDGED_SLOT]
        self._free.remove(slot)
        self._is_free[slot] = False
        self._prepared = slot, stamp
        self._store()

    def abandon(self, number: int) -> None:
        """Finish message `number` in place of a receiver that is dead: nobody will process it."""
        for slot in range(self._top):
            at = slot_at(slot)
            if self._words[at] != self._done[slot] and self._words[at + 2] == number:
                self._done[slot] = self._words[at]
                self._settle(slot, self._words[at])

    def close(self) -> None:
        """Say that no more will come: CLOSE(count)."""
        self._words[CLOSED] = self.last_stamp + 1
        self._ring(CLOSE)

    def hello(self) -> None:
        """Say that a new sender has taken over: doorbells of the old one may be missing."""
        self._ring(HELLO)

    def _ring(self, doorbell: int) -> None:
        """Wake the receiver; if its socket is full, later: one look at all slots then stands for all that is owed."""
        self._receiver_sleeps = False
        if self._owed is None and try_send(self.sock, DOORBELL.pack(doorbell)):
            return
        self._owed = HELLO if HELLO in (doorbell, self._owed) else SCAN

    @property
    def owes(self) -> bool:
        """Whether `flush` has something to tell."""
        return self._owed is not None

    def flush(self) -> bool:
        """Tell the receiver what is owed. Return False if its socket is still full."""
        if self._owed is not None and try_send(self.sock, DOORBELL.pack(self._owed)):
            self._owed = None
        return self._owed is None

    def receive(self) -> None:
        """Take in what the receiver has finished and given back."""
        for data in receive_all(self.sock):
            words = memoryview(data).cast("q")
            if words[0] in (HOLDS, HELLO):
                self._take_account(words)
                continue
            for first, stamp in zip(words[::2], words[1::2], strict=True):
                if first >= 0:
                    self._leases.release(first, stamp)
                elif first == SLEEPING:
                    self._note_rest(stamp)
                else:
                    self._settle(-10 - first, stamp)

    def _note_rest(self, seen: int) -> None:
        self._receiver_sleeps = True
        if self.last_stamp > seen:
            self._ring(self._last_slot)

    def _take_account(self, words: memoryview) -> None:
        """Take in what the receiver holds: some parts, then the rest. An account with parts missing is void."""
        if words[0] == HOLDS:
            self._held += words[1:]
            self._parts += 1
            return
        parts, newest, count = words[1:4]
        if parts == self._parts:
            self._resume(newest, set(words[4 : 4 + count]), set(self._held))
        self._held, self._parts = [], 0

    def _settle(self, slot: int, stamp: int) -> None:
        if self._words[slot_at(slot)] == stamp and not self._is_free[slot]:
            self._add_free(slot)

    def _resume(self, newest: int, unfinished: set[int], kept: set[int]) -> None:
        """Take back every lease that ended without this side noting it, because one of the two died.

        Those are the leases of messages up to `newest`, the last one that the receiver knew, that were finished by
        then and are not held. (It may have finished others before this is read: those it gives back itself.)
        """
        for slot in range(self._top):
            stamp = self._words[slot_at(slot)]
            if self._done[slot] == stamp:
                self._settle(slot, stamp)
        for row, stamp, message in self._leases.on_channel(self.index):
            if message <= newest and message not in unfinished and row not in kept:
                self._leases.release(row, stamp)

    def __repr__(self) -> str:
        return f"<Sender {self.index}: {self.last_stamp} sent, {self.outstanding} unfinished>"
