"""A channel with both ends in one process. Each can die and be replaced as in a run: same span, same sockets."""

import os
from collections import Counter

import numpy as np

from pardata.channel.channel import ChannelSpec, socket_pair
from pardata.channel.leases import OWN, TABLE_BYTES, LeaseTable
from pardata.channel.outbox import EdgeSenders, Outbox
from pardata.channel.receiver import Receiver
from pardata.channel.sender import Sender
from pardata.codec.batch_codec import Batch
from pardata.memory.arena import HEADER_BYTES, Arena, Span
from pardata.memory.segment import Segment
from pardata.runtime.header import ASLEEP

SPAN_BYTES = 1 << 30
LARGE = 4096  # float64 in an array that is too large for a message: it leaves in a block


class Killed(BaseException):
    """Ends a process of a test: nothing of pardata catches it."""


class DyingWords:
    """The words of a process that does not survive the store to `index`: it is killed before it, or after it."""

    def __init__(self, words, index, after=False):
        self._words, self._index, self._after = words, index, after

    def __getitem__(self, index):
        return self._words[index]

    def __setitem__(self, index, value):
        if index == self._index and not self._after:
            raise Killed
        self._words[index] = value
        if index == self._index:
            raise Killed


class Rig:
    """One channel from a sender with an arena to a receiver.

    Attributes
    ----------
    sender, outbox, arena, leases
        Of the sending process.
    receiver
        Of the receiving process.
    """

    def __init__(self, slots=4, elides_wakeups=False):
        self.segment = Segment.create()
        self._span = Span(SPAN_BYTES, SPAN_BYTES)
        self._control_bytes = HEADER_BYTES + TABLE_BYTES + ChannelSpec.sender_bytes(slots)
        asleep_at = 8 * ASLEEP if elides_wakeups else None
        self.spec = ChannelSpec(slots, self._span.offset + HEADER_BYTES + TABLE_BYTES, HEADER_BYTES, asleep_at)
        self.socks = socket_pair()
        self.start_sender()
        self.receiver = Receiver(self.spec, self.socks[1], self.segment, 0)

    def start_sender(self):
        """Do what a new sending process does first; the old one is gone."""
        self.header = self._span.words(self.segment)
        self.leases = LeaseTable(self._span.words(self.segment, HEADER_BYTES, TABLE_BYTES // 8), self.header)
        self.sender = Sender(self.spec, self.socks[0], self.segment, self.leases, 0, self.header)
        rows = [row for row in self.leases.rows() if row.message <= self.sender.slots.last_stamp]
        live = {(row.offset, row.extent_bytes) for row in rows if row.origin.channel == OWN}
        self.arena = Arena(self.segment, self._span, self._control_bytes, None, "sender", live)
        anchors = {block: self.arena.adopt(*block) for block in live}
        self.leases.restore({row.row: anchors[row.offset, row.extent_bytes] for row in rows})
        self.outbox = Outbox(self.arena, self.leases, [EdgeSenders([self.sender])])

    def replace_sender(self):
        """The sending process was killed; its successor says hello."""
        self.start_sender()
        self.sender.hello()

    def replace_receiver(self, handed_on=()):
        """The receiving process was killed; return the claims that its successor finds.

        `handed_on` are the leases that it had handed on, and that the successor therefore holds.
        """
        self.receiver = Receiver(self.spec, self.socks[1], self.segment, 0)
        self.receiver.held.live.update(dict.fromkeys(handed_on, (0, 0)))
        self.receiver.report_leases()
        return self.receiver.scan()

    def send(self, *numbers, size=LARGE):
        """Publish one message per number: an array full of it."""
        for number in numbers:
            self.outbox.publish(Batch(0, number, 1, 0, [np.full(size, float(number))]))

    def settle(self):
        """Let the sender hear what the receiver has to tell."""
        assert self.receiver.flush()
        self.sender.receive()

    def finish(self, claims):
        """Read and commit messages; return their arrays."""
        arrays = []
        for claim in claims:
            arrays += self.receiver.read(claim).items
            self.receiver.commit(claim)
        return arrays

    @property
    def live_blocks(self):
        """How many large arrays of the sender are not free."""
        live_bytes = self.arena.statistics()["live_bytes"]
        assert live_bytes % (8 * LARGE) == 0
        return live_bytes // (8 * LARGE)

    @property
    def free_slots(self):
        return self.spec.slots - self.sender.slots.outstanding

    @property
    def resident_bytes(self):
        """What the segment takes."""
        return 512 * os.fstat(self.segment.fd).st_blocks

    def close(self):
        """Close the descriptors and let go of the memory."""
        for sock in self.socks:
            sock.close()
        self.segment.close_fd()
        vars(self).clear()


def numbers(claims):
    """Which messages those are."""
    return [claim.number for claim in claims]


def values(arrays):
    """What `Rig.send` was given for each array; fails if an array is not all of one piece."""
    assert all(len(Counter(array.tolist())) == 1 for array in arrays)
    return [int(array[0]) for array in arrays]
