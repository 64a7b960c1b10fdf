"""A successor takes over the leases that a dead worker had given, and of those it held the ones handed on."""

from __future__ import annotations

from pardata.channel.leases import BORROWED, OWN, Row
from pardata.channel.receiver import Receiver
from pardata.memory.arena import Arena
from pardata.memory.array import Anchor, anchor
from pardata.memory.budget import Budget
from pardata.memory.segment import Segment
from pardata.runtime.worker.endpoints import Endpoints
from pardata.runtime.worker.spec import WorkerSpec


def recover(spec: WorkerSpec, segment: Segment, budget: Budget, ends: Endpoints, is_successor: bool) -> Arena:
    """Return the arena of a worker, with the blocks that its dead predecessor has given out; of a first one: empty.

    The receivers hold again the blocks that the predecessor had received and handed on.
    """
    if not is_successor:
        return Arena(segment, spec.span, spec.control_bytes, budget, spec.label)
    last = {sender.index: sender.last_stamp for sender in ends.senders}
    rows = [row for row in ends.leases.rows() if row.message <= last[row.channel]]  # later ones were never published
    own = [(row.offset, row.extent_bytes) for row in rows if row.origin.channel == OWN]
    arena = Arena(segment, spec.span, spec.control_bytes, budget, spec.label, own)
    anchors: dict[tuple[int, int], Anchor] = {}  # one per block of the arena, one per lease of a receiver
    by_row: dict[int, Anchor] = {}
    for row in rows:
        is_own = row.origin.channel == OWN
        key = (OWN, row.offset) if is_own else (row.origin.channel, row.origin.stamp)
        if key not in anchors:
            anchors[key] = arena.adopt(row.offset, row.extent_bytes) if is_own else _held(segment, ends.receivers, row)
        by_row[row.row] = anchors[key]
    ends.leases.restore(by_row)
    return arena


def _held(segment: Segment, receivers: list[Receiver], row: Row) -> Anchor:
    assert row.origin.channel != BORROWED, "a worker process borrows only from its channels"
    receiver = receivers[row.origin.channel]
    made = anchor(segment.map, row.offset, row.extent_bytes, receiver.returns, row.origin)
    made.shared = True
    receiver.recovered[row.origin] = made
    receiver.live[row.origin] = (row.offset, row.extent_bytes)
    return made
