"""The sending side of a process: the edges to the stages behind it, and the leases that it gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pardata.channel.joint import publish_together
from pardata.channel.leases import OWN, ROWS, Lease, LeaseTable
from pardata.channel.placing import BlockPlacer
from pardata.channel.sender import Sender
from pardata.channel.words import CAPACITY, LEASE
from pardata.codec.access import Access
from pardata.codec.batch_codec import EVERY, Batch, encode
from pardata.codec.object_codec import Encoded
from pardata.errors import CapacityError
from pardata.memory.arena import Arena
from pardata.memory.array import Anchor


class EdgeSenders:
    """The channels to all workers of one stage; each message goes to one of them.

    `branch`: which items go there, None: all. `may_rest`: some of the workers do not get messages all the time.
    """

    def __init__(self, senders: list[Sender], branch: int | None = None) -> None:
        self.senders = senders
        self.branch = branch
        self._only = senders[0] if len(senders) == 1 else None
        self.may_rest = any(sender.rests is not None for sender in senders)
        self.ahead, self._alone = senders[0].spec.ahead, senders[0].spec.alone

    @property
    def in_use(self) -> list[Sender]:
        """The channels to the workers that get messages now; the first of a stage always does."""
        if not self.may_rest:
            return self.senders
        # SYNC POINT: rest. Only a worker whose readers do not take its channels for closed gets messages.
        return [sender for sender in self.senders if sender.rests is None or not sender.rests[0]]

    def pick(self, count: int = 1) -> Sender | None:
        """Return the sender to use now: the only one, or that of the least loaded worker. None: all are busy.

        `count`: the items of the message.
        """
        if self._only is not None:
            return self._only if self._only.slots.has_room else None
        senders = self.in_use
        best = min(senders, key=lambda sender: sender.slots.outstanding)
        ahead = self._alone if count > 1 and len(senders) == 1 else self.ahead
        return best if best.slots.outstanding < ahead and best.slots.has_room else None

    def receive(self) -> None:
        """Take in what receivers have told: results that are found without a doorbell come before one has read it."""
        for sender in self.senders:
            sender.receive()

    @property
    def load(self) -> int:
        """Messages that the least loaded worker has not finished."""
        return min(sender.slots.outstanding for sender in self.in_use)

    def any(self) -> Sender:
        """Return a sender with room for a message that may go to a busy worker.

        It has no items, or the worker that was free has been told to rest meanwhile.
        """
        free = [sender for sender in self.in_use if sender.slots.has_room]
        return min(free, key=lambda sender: sender.slots.outstanding)

    def last(self) -> list[tuple[int, int, int, int]]:
        """Return (sequence, number, count, cell) of the last message on each channel."""
        return [message for sender in self.senders if (message := sender.slots.last()) is not None]


_Packed = tuple[Encoded, Anchor | None, list[Lease]]  # with the block for the rest, and the origins of all blocks
Packet = tuple[Sequence[int], Batch, _Packed]  # the edges that a part of a batch goes to, and the part


class Outbox:
    """pack / send: hand batches over on every edge.

    Attributes
    ----------
    placer : BlockPlacer
        Puts the arrays that are sent into blocks; made of `arena`, `in_parent` and `writers`.
    chooses : bool
        Messages go to the least loaded of several workers.
    block_bytes : int
        Of the blocks that were sent.
    is_lasting : bool
        The caller goes on using the arrays that are sent: arguments.
    is_private : bool
        The receiver may write to arrays of the objects that are sent.
    """

    def __init__(
        self,
        arena: Arena,
        leases: LeaseTable,
        edges: list[EdgeSenders],
        in_parent: bool = False,
        writers: Access = Access.READ,
    ) -> None:
        self.arena = arena
        self.placer = BlockPlacer(arena, in_parent, writers)
        self.leases = leases
        self.edges = edges
        self._only = edges[0] if len(edges) == 1 else None
        self.chooses = any(len(edge.senders) > 1 for edge in edges)
        self.block_bytes = 0
        self.is_lasting = False
        self.is_private = False
        self._branches: dict[int | None, list[int]] = {}  # the edges of each
        for index, edge in enumerate(edges):
            self._branches.setdefault(edge.branch, []).append(index)

    @property
    def has_room(self) -> bool:
        """Return whether each edge has a worker that can take a message of one item."""
        return self._has_room(1)

    def _has_room(self, count: int) -> bool:
        if self._only is not None:  # asked for every message
            return self._only.pick(count) is not None
        return all(edge.pick(count) is not None for edge in self.edges)

    def has_room_for(self, batch: Batch) -> bool:
        """Return whether each edge on which items go has a worker that can take a message."""
        if batch.branches is None:
            return self._has_room(batch.count)
        used = set(batch.branches)
        return all(
            self.edges[index].pick(batch.count) is not None
            for branch, indices in self._branches.items()
            for index in indices
            if branch in used or EVERY in used
        )

    def free_branch(self) -> int | None:
        """Return the branch with the least load; None if all are busy."""
        loads = [
            (max(self.edges[index].load - self.edges[index].ahead for index in indices), branch)
            for branch, indices in self._branches.items()
            if branch is not None
        ]
        load, free = min(loads)
        return free if load < 0 else None

    def publish(self, batch: Batch) -> None:
        """Hand a batch over on every edge."""
        self.send(self.pack(batch))

    def pack(self, batch: Batch) -> list[Packet]:
        """Return the packets for `send`; they are counted in `sent_bytes` and its like from here on."""
        if batch.branches is None:
            return [(range(len(self.edges)), batch, self._pack(batch, len(self.edges) > 1))]
        packets: list[Packet] = []
        for branch, indices in self._branches.items():
            part = batch if branch is None else batch.select(branch)
            packets.append((indices, part, self._pack(part, len(indices) > 1)))
        return packets

    def send(self, packets: list[Packet]) -> None:
        """Send the packets of `pack`: on all edges, or, if this process dies, on none."""
        if self._only is not None and len(packets) == 1:  # as most
            ((_, part, packed),) = packets
            self._prepare(0, part, packed, False).complete()
            return
        senders = [
            self._prepare(index, part, packed, len(indices) > 1)
            for indices, part, packed in packets
            for index in indices
        ]
        if senders:
            publish_together(senders)

    def _prepare(self, index: int, batch: Batch, packed: _Packed, shared: bool) -> Sender:
        edge = self.edges[index]
        sender = edge.pick(batch.count)
        if sender is None:
            # What the receivers have told lies in the sockets until somebody reads it.
            edge.receive()
            sender = edge.pick(batch.count)
        if sender is None:
            assert edge.may_rest or not batch.items, "publish without room"
            sender = edge.any()
        sender.prepare(batch, *packed, shared)
        return sender

    def _pack(self, batch: Batch, fan_out: bool) -> _Packed:
        """Return a batch as it is sent, the block for what does not fit into a slot, and the origins of its blocks."""
        placer = self.placer
        placer.fan_out = fan_out
        encoded = encode(batch.items, placer, placer.writers is not Access.READ, self.is_lasting, self.is_private)
        if not encoded.anchors and batch.positions is None and len(encoded.payload) <= CAPACITY:
            placer.sent_bytes += len(encoded.payload)
            return encoded, None, []  # as most small messages are
        # Each edge gives leases of its own, one of them of the block for what does not fit into a slot.
        # Asked before a slot is begun: `Sender.prepare` is not to fail in the middle.
        if self.leases.room < (len(encoded.anchors) + 1) * len(self.edges):
            raise CapacityError(
                f"{ROWS} arrays made by {self.arena.who} are held by their consumers: keep copies, or fewer of them"
            )
        placer.sent_bytes += len(encoded.payload)
        spilled = self._spill(batch, encoded)
        for block in encoded.anchors:
            self.block_bytes += block.extent_bytes
        origins = [placer.origin(block) for block in encoded.anchors]
        if spilled is not None:
            origins.append(Lease(OWN, 0, 0))
        return encoded, spilled, origins

    def _spill(self, batch: Batch, encoded: Encoded) -> Anchor | None:
        """Return a block with positions and payload if they do not fit into a slot."""
        if 8 * len(batch.positions or ()) + len(encoded.payload) + LEASE.size * len(encoded.anchors) <= CAPACITY:
            return None
        positions = np.array(batch.positions or (), np.int64)
        block = self.placer.reserve(positions.nbytes + len(encoded.payload))
        block[: positions.nbytes] = positions.view(np.uint8)
        block[positions.nbytes : positions.nbytes + len(encoded.payload)] = np.frombuffer(encoded.payload, np.uint8)
        return block

    def has_published(self, sequence: int, number: int) -> bool:
        """Return whether this batch is the last one that a predecessor has published; it is on all edges then."""
        return any(message[:2] == (sequence, number) for edge in self.edges for message in edge.last())

    def close(self) -> None:
        """Close every channel."""
        for edge in self.edges:
            for sender in edge.senders:
                sender.close()
