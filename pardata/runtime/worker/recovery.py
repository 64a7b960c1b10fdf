"""What a successor takes over from a dead worker: the leases it had given, and of those it held the ones handed on."""

from __future__ import annotations

from pardata.channel.leases import BORROWED, OWN, LeaseTable, Row
from pardata.channel.receiver import Receiver
from pardata.channel.sender import Sender
from pardata.memory.arena import Arena, Span
from pardata.memory.array import Anchor, anchor
from pardata.memory.budget import Budget
from pardata.memory.segment import Segment


def recover(
    segment: Segment,
    span: Span,
    control_bytes: int,
    budget: Budget,
    who: str,
    table: LeaseTable,
    senders: list[Sender],
    receivers: list[Receiver],
    is_successor: bool,
) -> Arena:
    """Return the arena of a worker, with the blocks that its dead predecessor has given out; of a first one: empty.

    What the predecessor had received and handed on is held by the receivers again.
    """
    if not is_successor:
        return Arena(segment, span, control_bytes, budget, who)
    last = {sender.index: sender.last_stamp for sender in senders}
    rows = [row for row in table.rows() if row.message <= last[row.channel]]  # later ones were never published
    own = [(row.offset, row.extent_bytes) for row in rows if row.origin.channel == OWN]
    arena = Arena(segment, span, control_bytes, budget, who, own)
    anchors: dict[tuple[int, int], Anchor] = {}  # one per block of the arena, one per lease of a receiver
    by_row: dict[int, Anchor] = {}
    for row in rows:
        is_own = row.origin.channel == OWN
        key = (OWN, row.offset) if is_own else (row.origin.channel, row.origin.stamp)
        if key not in anchors:
            anchors[key] = arena.adopt(row.offset, row.extent_bytes) if is_own else _held(segment, receivers, row)
        by_row[row.row] = anchors[key]
    table.restore(by_row)
    return arena


def _held(segment: Segment, receivers: list[Receiver], row: Row) -> Anchor:
    assert row.origin.channel != BORROWED, "a worker process borrows only from its channels"
    receiver = receivers[row.origin.channel]
    made = anchor(segment.map, row.offset, row.extent_bytes, receiver.returns, row.origin)
    made.shared = True
    receiver.recovered[row.origin] = made
    receiver.live[row.origin] = (row.offset, row.extent_bytes)
    return made
