"""The sending side of a process: its arena, the leases it gives, and the edges to the stages behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pardata.channel.channel import CAPACITY
from pardata.channel.joint import publish_together
from pardata.channel.leases import BORROWED, OWN, ROWS, Lease, LeaseTable
from pardata.channel.sender import Sender
from pardata.codec.batch_codec import Batch, Encoded, encode
from pardata.codec.ownership import is_owned_with, is_sole_owner, is_sole_view
from pardata.errors import CapacityError
from pardata.memory.arena import Arena
from pardata.memory.array import Anchor, find_anchor, is_in, view
from pardata.memory.layout import fill, held_bytes, layout_of

Array = np.ndarray[Any, Any]

# Messages that a worker of a farm may have: one it works on, one ahead. Later ones wait for whoever is free first.
FARM_WINDOW = 2


class Edge:
    """The channels to all workers of one stage; each message goes to one of them."""

    def __init__(self, senders: list[Sender]) -> None:
        self.senders = senders
        self._only = senders[0] if len(senders) == 1 else None

    def pick(self) -> Sender | None:
        """Return the sender to use now: the only one, or that of the least loaded worker. None: all are busy."""
        if self._only is not None:
            return self._only if self._only.has_room else None
        best = min(self.senders, key=lambda sender: sender.outstanding)
        return best if best.outstanding < FARM_WINDOW and best.has_room else None

    @property
    def load(self) -> int:
        """Messages that the least loaded worker has not finished."""
        return min(sender.outstanding for sender in self.senders)

    def any(self) -> Sender:
        """Return a sender with room for a message without items, which no worker is kept from work by."""
        return min((sender for sender in self.senders if sender.has_room), key=lambda sender: sender.outstanding)

    def last(self) -> list[tuple[int, int, int, int]]:
        """Return (sequence, number, count, cell) of the last message on each channel."""
        return [message for message in map(Sender.last, self.senders) if message is not None]


_Packed = tuple[Encoded, Anchor | None, list[Lease]]  # and the block for the rest, and where the blocks come from
Parcel = tuple[Sequence[int], Batch, _Packed]  # which edges a part of a batch goes to


class Outbox:
    """place / publish.

    Parameters
    ----------
    in_parent : bool
        The sender is a thread of the process that the user started. It is never replaced, so it may pass on any block
        of the segment; a worker must be able to tell its successor where a block came from.
    branches : sequence
        Per edge, which of the items go there; None: all.
    has_inplace : bool
        Some stage of the run changes its input: a block may be given away to be changed, once, if nobody else has it.
    """

    def __init__(
        self,
        arena: Arena,
        leases: LeaseTable,
        edges: list[Edge],
        in_parent: bool = False,
        has_inplace: bool = False,
        branches: Sequence[int | None] = (),
    ) -> None:
        self.arena = arena
        self.leases = leases
        self.edges = edges
        self._only = edges[0] if len(edges) == 1 else None
        self.generator: object = None  # of user code, suspended in the yield of what is being sent
        self.sent_bytes = 0
        self.block_bytes = 0  # of the blocks that were sent
        self.made_bytes = 0  # of those of them that were made for it
        self.is_lasting = False  # what is sent goes on being the caller's: arguments
        self._in_parent = in_parent
        self._has_inplace = has_inplace
        self._fan_out = len(edges) > 1
        self._branches: dict[int | None, list[int]] = {}  # which edges belong to each
        for index in range(len(edges)):
            self._branches.setdefault(branches[index] if branches else None, []).append(index)
        self._memory = arena.segment.map
        self._address = int(np.frombuffer(self._memory, np.uint8, 1).ctypes.data)
        self._start, self._end = arena.span.offset, arena.span.offset + arena.span.size_bytes

    @property
    def has_room(self) -> bool:
        """Whether each edge has a worker that can take a message."""
        if self._only is not None:  # asked for every message
            return self._only.pick() is not None
        return all(edge.pick() is not None for edge in self.edges)

    def has_room_for(self, batch: Batch) -> bool:
        """Whether each edge on which items go has a worker that can take a message."""
        if batch.branches is None:
            return self.has_room
        used = set(batch.branches)
        return all(
            self.edges[index].pick() is not None
            for branch, indices in self._branches.items()
            for index in indices
            if branch in used
        )

    def free_branch(self) -> int | None:
        """Return the branch that has least to do; None if all are busy."""
        loads = [
            (max(self.edges[index].load for index in indices), branch)
            for branch, indices in self._branches.items()
            if branch is not None
        ]
        load, free = min(loads)
        return free if load < FARM_WINDOW else None

    def place(self, arrays: list[Array], index: int, is_bare: bool) -> tuple[Anchor, int, Array]:
        """Return the block that holds ``arrays[index]`` and its offset there; copied into a new block if need be."""
        is_whole = arrays[index].flags.c_contiguous
        self.sent_bytes += arrays[index].nbytes if is_whole else held_bytes(arrays[index])
        block = find_anchor(arrays[index])
        if block is None or not is_in(block, self._memory) or not self._may_pass(block):
            return self._copy(arrays[index])
        known = 1 + block.claimed  # this variable, and the message that has brought it
        is_alone = is_bare and self._is_alone(arrays, index, known)  # of a part of an object that cannot be told
        array = arrays[index]
        if array.flags.writeable and not is_alone:
            return self._copy(array)  # user code may still write to it
        array.setflags(write=False)
        if self._has_inplace and not block.shared:
            if block.given_away:
                raise ValueError(
                    "this array was handed on before, and a stage behind may have changed it in place: hand on a new "
                    "one, or a copy"
                )
            block.shared = not is_alone
            block.given_away = not (block.shared or self._fan_out)
        offset = array.__array_interface__["data"][0] - self._address - block.offset
        return block, offset, array

    def _is_alone(self, arrays: list[Array], index: int, known: int) -> bool:
        """Whether user code has neither ``arrays[index]`` nor another view of its block."""
        if not is_sole_view(arrays[index], known):
            return False
        return is_sole_owner(arrays, index) or is_owned_with(self.generator, arrays, index)

    def _may_pass(self, block: Anchor) -> bool:
        return self._in_parent or self._start <= block.offset < self._end or isinstance(block.token, Lease)

    def _copy(self, array: Array) -> tuple[Anchor, int, Array]:
        if array.flags.c_contiguous:
            block = self._reserve(array.nbytes)
            copied = view(block, 0, array.dtype, array.shape, None)
            np.copyto(copied, array)
            return block, 0, copied
        layout = layout_of(array)
        block = self._reserve(layout.nbytes)
        copied = layout.view(array, block)
        fill(copied, array)
        return block, layout.offset, copied

    def _reserve(self, nbytes: int) -> Anchor:
        block = self.arena.reserve(nbytes)
        self.made_bytes += block.extent_bytes
        return block

    def _origin(self, block: Anchor) -> Lease:
        if self._start <= block.offset < self._end:
            return Lease(OWN, 0, 0)
        if self._in_parent or not isinstance(block.token, Lease):
            return Lease(BORROWED, 0, 0)
        return block.token

    def publish(self, batch: Batch) -> None:
        """Hand a batch over on every edge."""
        self.send(self.pack(batch))

    def pack(self, batch: Batch) -> list[Parcel]:
        """Return what `send` sends; counted in `sent_bytes` and its like from here on."""
        if batch.branches is None:
            return [(range(len(self.edges)), batch, self._pack(batch, len(self.edges) > 1))]
        parcels: list[Parcel] = []
        for branch, indices in self._branches.items():
            part = batch if branch is None else batch.select(branch)
            parcels.append((indices, part, self._pack(part, len(indices) > 1)))
        return parcels

    def send(self, parcels: list[Parcel]) -> None:
        """Send what `pack` has made: on all edges, or, if this process dies, on none."""
        senders = [
            self._prepare(index, part, packed, len(indices) > 1)
            for indices, part, packed in parcels
            for index in indices
        ]
        if senders:
            publish_together(senders)

    def _prepare(self, index: int, batch: Batch, packed: _Packed, shared: bool) -> Sender:
        edge = self.edges[index]
        sender = edge.pick() or (None if batch.items else edge.any())
        assert sender is not None, "publish without room"
        sender.prepare(batch, *packed, shared)
        return sender

    def _pack(self, batch: Batch, fan_out: bool) -> _Packed:
        """Return a batch as it is sent, where its blocks come from, and the block for what does not fit into a slot."""
        self._fan_out = fan_out
        encoded = encode(batch.items, self, self._has_inplace, self.is_lasting)
        if not encoded.anchors and batch.positions is None and len(encoded.payload) <= CAPACITY:
            self.sent_bytes += len(encoded.payload)
            return encoded, None, []  # what most small messages are
        if self.leases.room <= len(encoded.anchors) * len(self.edges):
            raise CapacityError(
                f"{ROWS} arrays made by {self.arena.who} are held by their consumers: keep copies, or fewer of them"
            )
        self.sent_bytes += len(encoded.payload)
        spilled = self._spill(batch, encoded)
        for block in encoded.anchors:
            self.block_bytes += block.extent_bytes
        origins = [self._origin(block) for block in encoded.anchors]
        if spilled is not None:
            origins.append(Lease(OWN, 0, 0))
        return encoded, spilled, origins

    def _spill(self, batch: Batch, encoded: Encoded) -> Anchor | None:
        """Return a block with positions and payload if they do not fit into a slot."""
        if 8 * len(batch.positions or ()) + len(encoded.payload) + 40 * len(encoded.anchors) <= CAPACITY:
            return None
        positions = np.array(batch.positions or (), np.int64)
        block = self._reserve(positions.nbytes + len(encoded.payload))
        block[: positions.nbytes] = positions.view(np.uint8)
        block[positions.nbytes : positions.nbytes + len(encoded.payload)] = np.frombuffer(encoded.payload, np.uint8)
        return block

    def has_published(self, sequence: int, number: int) -> bool:
        """Whether a predecessor had already published this batch, its last one: on all edges then."""
        return any(message[:2] == (sequence, number) for edge in self.edges for message in edge.last())

    def close(self) -> None:
        """Close every channel."""
        for edge in self.edges:
            for sender in edge.senders:
                sender.close()
