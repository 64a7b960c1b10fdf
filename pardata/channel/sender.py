"""The writing end of a channel."""

from __future__ import annotations

import socket
from array import array

from pardata.channel.channel import (
    CLOSE,
    DONE,
    DOORBELL,
    HELLO,
    HOLDS,
    LOOK,
    SCAN,
    ChannelEnd,
    ChannelSpec,
    receive_all,
    try_send,
    words_at,
)
from pardata.channel.lease_report import LeaseReport, ReportReader
from pardata.channel.leases import Lease, LeaseTable
from pardata.channel.sleep import Waker
from pardata.channel.slots import SenderSlots
from pardata.channel.takeover import PledgeWords, Step, decide
from pardata.channel.words import (
    CLOSED,
    HEAD,
    HEAD_WORDS,
    LEADER,
    LEADER_STAMP,
    LEASE,
    NEWEST,
    NUMBER,
    PLEDGED,
    PLEDGED_SLOT,
    SEQUENCE,
    SMALL_BYTES,
    STAMP,
    slot_at,
)
from pardata.codec.batch_codec import Batch
from pardata.codec.object_codec import Encoded
from pardata.memory.array import Anchor
from pardata.memory.segment import Segment


class Sender(ChannelEnd):
    """The writing end: `prepare` a message, `complete` it; `receive` tells which ones the receiver has finished.

    A successor is made in the same way: it reads from the words how far its predecessor was.

    Parameters
    ----------
    index : int
        The channel's number among the outgoing channels of this process.
    leases : LeaseTable
        Of this process; shared by all its senders.
    header : memoryview
        Of this process's span; the memory that the channel takes is counted there.

    Attributes
    ----------
    slots : SenderSlots
        Those of the channel.
    rests : memoryview, optional
        The word RESTS of a receiver that is not needed all the time.
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
        self.slots = SenderSlots(spec.slots, self._words, self._done, header)
        self.rests = None if spec.rests_at is None else words_at(segment, spec.rests_at, 8)
        self._leases = leases
        self._reports = ReportReader()
        self._owed: int | None = None  # a doorbell that the socket had no room for
        self._prepared = (-1, 0)  # slot and stamp of the message that is written and not published
        self._waker = None if spec.asleep_at is None else Waker(words_at(segment, spec.asleep_at, 8))

    def prepare(
        self, batch: Batch, encoded: Encoded, spilled: Anchor | None, origins: list[Lease], shared: bool
    ) -> None:
        """Write a batch into a slot, but for the stamp that makes it a message: `complete` publishes it.

        A process that is killed in here leaves rows that name a message above the last stamp, which its successor
        frees, and a slot whose old message is finished.

        Parameters
        ----------
        spilled : Anchor, optional
            The block that holds positions and payload, if they do not fit into a slot.
        origins : list of Lease
            The origin of each of ``encoded.anchors``, and of `spilled`.
        shared : bool
            Whether the blocks go to another receiver as well.
        """
        slots = self.slots
        if slots.next() == slots.top:
            self.receive()  # one that is free by now is taken before a fresh one, whose memory is taken for good
        slot, stamp = slots.next(), slots.last_stamp + 1
        at = slot_at(slot)
        blocks = encoded.anchors if spilled is None else [*encoded.anchors, spilled]
        count = -1 if batch.positions is None else len(batch.positions)
        nbytes = LEASE.size * len(blocks)
        if spilled is None:
            nbytes += 8 * max(count, 0) + len(encoded.payload)
        position = body = 8 * (at + HEAD_WORDS) if nbytes <= SMALL_BYTES else slots.area(slot, nbytes)
        for block, origin in zip(blocks, origins, strict=True):
            unshared = not (shared or block.shared or block.live_rows)  # given before: another reader has it
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
            self._bytes, 8 * (at + SEQUENCE), batch.sequence, batch.number, batch.count, batch.cell,
            encoded.kind, len(blocks), count, len(encoded.payload), spilled is not None, max(slots.last_slot, 0),
            body,
        )  # fmt: skip
        slots.use(slot)  # behind the words of the record, in front of its stamp
        self._prepared = slot, stamp

    def complete(self) -> None:
        """Publish the prepared message."""
        slot = self._store()
        if self._waker is None or self._waker.is_needed():  # SYNC POINT: sleep. If not, the receiver will look
            self._ring(slot)
        elif len(self._leases):  # those that have ended give blocks that are still warm
            self.receive()

    def _store(self) -> int:
        slots = self.slots
        slot, stamp = self._prepared
        self._words[slot_at(slot) + STAMP] = stamp  # SYNC POINT: publish. From here on the message exists
        # Behind the stamp, so that a reader which goes by NEWEST finds the message there. Killed in between, a process
        # leaves a message that NEWEST does not name: the HELLO of its successor has all slots looked at.
        self._words[NEWEST] = slot
        slots.last_stamp, slots.last_slot = stamp, slot
        return slot

    def pledge(self, leader: Sender) -> None:
        """Note in words that survive: the message prepared here is published as soon as that of `leader` is."""
        words = self._words
        # These words are written for each batch anew, and read by a successor alone.
        words[PLEDGED] = 0  # no pledge while its other words are written
        words[PLEDGED_SLOT] = self._prepared[0]
        words[LEADER], words[LEADER_STAMP] = leader.index, leader._prepared[1]
        words[PLEDGED] = self._prepared[1]  # SYNC POINT: together. It counts once the leader's stamp is stored

    def redeem(self, senders: list[Sender]) -> None:
        """As a successor: publish a pledged message if its leader is published, else forget the pledge.

        SYNC POINT: together.
        """
        words = self._words
        leader = senders[words[LEADER]].slots
        step = decide(PledgeWords(words[PLEDGED], self.slots.last_stamp, words[LEADER_STAMP], leader.last_stamp))
        if step is Step.FORGET_PLEDGE:
            words[PLEDGED] = 0
        elif step is Step.PUBLISH:
            slot = words[PLEDGED_SLOT]
            self.slots.use_pledged(slot)
            self._prepared = slot, words[PLEDGED]
            self._store()  # without a doorbell: `hello` follows

    def abandon(self, number: int) -> None:
        """Finish message `number` in place of a receiver that is dead: nobody will process it.

        The only store to a `done` word that its receiver does not make; it has no successor yet.
        """
        for slot in range(self.slots.top):
            at = slot_at(slot)
            stamp = self._words[at + STAMP]
            if stamp != self._done[slot] and self._words[at + NUMBER] == number:
                # SYNC POINT: commit. Stored before the receiver's successor starts, which finds no such message then.
                self._done[slot] = stamp
                self.slots.free(slot, stamp)

    def close(self) -> None:
        """Say that no more will come."""
        self._words[CLOSED] = self.slots.last_stamp + 1  # SYNC POINT: close. Every stamp is stored before it
        self._ring(CLOSE)

    def hello(self) -> None:
        """Say that a new sender has taken over: doorbells of the old one may be missing."""
        self._ring(HELLO)

    def _ring(self, doorbell: int) -> None:
        """Wake the receiver; later if the socket is full: then one scan of all slots stands for all that is owed."""
        if self._owed is None and try_send(self.sock, DOORBELL.pack(doorbell)):
            return
        self._owed = HELLO if HELLO in (doorbell, self._owed) else SCAN  # HELLO is a SCAN, and asks for a report

    @property
    def owes(self) -> bool:
        """Return whether `flush` has a doorbell to send."""
        return self._owed is not None

    def flush(self) -> bool:
        """Send the doorbell that is owed. Return False if the socket is still full."""
        if self._owed is not None and try_send(self.sock, DOORBELL.pack(self._owed)):
            self._owed = None
        return self._owed is None

    def receive(self) -> None:
        """Note the messages that the receiver has finished, and the leases that it has given back."""
        for data in receive_all(self.sock):
            words = memoryview(data).cast("q")
            if words[0] in (HOLDS, HELLO):
                report = self._reports.take(words)
                if report is not None:
                    self._release_ended(report)
                continue
            for first, stamp in zip(words[::2], words[1::2], strict=True):
                if first >= 0:
                    self._leases.release(first, stamp)
                elif first != LOOK:
                    self.slots.free(DONE - first, stamp)

    def _release_ended(self, report: LeaseReport) -> None:
        """Take back every lease that ended without this side noting it, because one of the two died.

        SYNC POINT: report. Messages that the receiver has finished since it wrote the report are in `unfinished`: it
        gives back their leases itself.
        """
        for slot in range(self.slots.top):
            stamp = self._words[slot_at(slot) + STAMP]
            if self._done[slot] == stamp:
                self.slots.free(slot, stamp)
        for row, stamp, message in self._leases.on_channel(self.index):
            if message <= report.newest and message not in report.unfinished and row not in report.held:
                self._leases.release(row, stamp)

    def __repr__(self) -> str:
        return f"<Sender {self.index}: {self.slots.last_stamp} sent, {self.slots.outstanding} unfinished>"
