"""A worker process takes up the work of the dead process that had its span before, as `channel.takeover` decides."""

from __future__ import annotations

from collections.abc import Sequence

from pardata.channel.collector import Collector
from pardata.channel.leases import BORROWED, OWN, Row
from pardata.channel.outbox import Outbox
from pardata.channel.receiver import Claim, Receiver
from pardata.channel.takeover import BatchWords, RowWords, Step, decide
from pardata.errors import InternalError, PardataError, WorkerLostError
from pardata.memory.arena import Arena
from pardata.memory.array import Anchor, anchor
from pardata.memory.budget import Budget
from pardata.memory.segment import Segment
from pardata.runtime.header import CURRENT_BATCH, INCARNATION, batch_of_word
from pardata.runtime.poison_items import POISON_BYTES, poison_items
from pardata.runtime.worker.endpoints import Endpoints
from pardata.runtime.worker.spec import POISON_AT, WorkerSpec
from pardata.runtime.worker.state import StateArea


class Recovery:
    """Finds the work that a predecessor has left in the words of the span; tells how far the successor is with it.

    Attributes
    ----------
    is_successor : bool
        There was a predecessor.
    inherited : (int, int) or None
        Sequence and number of the batch that the predecessor had begun, until it is taken.
    holds_recovered : bool
        The receivers may still hold blocks that the predecessor had received and handed on.
    poison : dict
        Per item that no process is to try again, the error that is raised instead.
    state : StateArea, optional
        Where a program saves its state for a successor.
    """

    def __init__(self, spec: WorkerSpec, segment: Segment, words: memoryview, inplace: bool) -> None:
        self._stage = spec.stage
        self._inplace = inplace
        self._receivers: Sequence[Receiver] = ()
        self._step = Step.TAKE_TURN
        self.is_successor = self.holds_recovered = words[INCARNATION] > 0
        # Before all else that this process writes: whoever follows it is a successor, and reads the words.
        words[INCARNATION] += 1
        self.inherited = batch_of_word(words[CURRENT_BATCH])
        self.state = None if spec.areas.state is None else StateArea(segment, *spec.areas.state, spec.label, words)
        self.poison: dict[tuple[int, int], PardataError] = {}
        if self.is_successor:  # a first process finds no notes
            self.poison = poison_items(spec.span.words(segment, POISON_AT, POISON_BYTES // 8), spec.label)

    def resume(self, ends: Endpoints, collector: Collector, outbox: Outbox, turn: int) -> None:
        """Have both sides of each channel look again, and the collector begin with the batch that was at work.

        `turn` is the word TURN.
        """
        self._receivers = ends.receivers
        if self.is_successor:
            ends.announce()
        batch = self.inherited
        is_unfinished = collector.resume(batch, turn)
        is_published = batch is not None and outbox.has_published(*batch)
        self._step = decide(BatchWords(batch is not None, is_unfinished, is_published, self._inplace))
        if self._step is Step.TAKE_TURN:
            self.inherited = None
            self.forget_recovered()

    def begin(self, claims: Sequence[Claim]) -> bool:
        """Take the inherited batch, the first one of all; return whether its commit alone is missing.

        Raises `WorkerLostError` if the batch cannot be done again.
        """
        first, inherited = claims[0], self.inherited
        self.inherited = None
        if inherited != (first.sequence, first.number):
            raise InternalError(f"{first!r} was taken before {inherited}, which a predecessor had begun")
        if self._step is Step.FAIL:
            raise WorkerLostError(
                f"a worker of stage {self._stage!r} was lost while it changed item {first.number} in place, so the "
                f"item cannot be run again. With writable=True in place of inplace=True it could"
            )
        if self._step is not Step.COMMIT:
            return False
        for claim in claims:
            claim.receiver.open(claim)  # its leases end with the commit, but for those that were handed on
        return True

    def resume_point(self, outbox: Outbox) -> int:
        """Return the number behind the last batch that the predecessor of a source or filter has published; else 0."""
        published = (message for edge in outbox.edges for message in edge.last())
        return max((number + count for _, number, count, _ in published), default=0)

    def forget_recovered(self) -> None:
        """Let go of the predecessor's blocks: the batch that may have needed them has been read or committed."""
        self.holds_recovered = False
        for receiver in self._receivers:
            receiver.held.recovered.clear()


def recover(spec: WorkerSpec, segment: Segment, budget: Budget, ends: Endpoints, is_successor: bool) -> Arena:
    """Return the arena of a worker, with the blocks that its dead predecessor has given out; of a first one: empty.

    The receivers hold again the blocks that the predecessor had received and handed on.
    """
    if not is_successor:
        return Arena(segment, spec.span, spec.control_bytes, budget, spec.label)
    # SYNC POINT: lease. `Endpoints` has redeemed the pledges, so these are the stamps of all that was published.
    last = {sender.index: sender.slots.last_stamp for sender in ends.senders}
    steps = [(row, decide(RowWords(row.message, last[row.channel], row.origin.channel))) for row in ends.leases.rows()]
    # All that no row of a published message names is a gap of the new arena.
    own = [(row.offset, row.extent_bytes) for row, step in steps if step is Step.ADOPT]
    arena = Arena(segment, spec.span, spec.control_bytes, budget, spec.label, own)
    anchors: dict[tuple[int, int], Anchor] = {}  # one per block of the arena, one per lease of a receiver
    by_row: dict[int, Anchor] = {}
    for row, step in steps:
        if step is Step.ADOPT:
            key = OWN, row.offset
            if key not in anchors:
                anchors[key] = arena.adopt(row.offset, row.extent_bytes)
        elif step is Step.HOLD:
            key = row.origin.channel, row.origin.stamp
            if key not in anchors:
                anchors[key] = _held(segment, ends.receivers, row)
        else:
            continue
        by_row[row.row] = anchors[key]
    ends.leases.restore(by_row)
    return arena


def _held(segment: Segment, receivers: list[Receiver], row: Row) -> Anchor:
    assert row.origin.channel != BORROWED, "a worker process borrows only from its channels"
    receiver = receivers[row.origin.channel]
    made = anchor(segment.map, row.offset, row.extent_bytes, receiver.returns, row.origin)
    made.shared = True  # a reader behind this worker has it as well, so nobody may change it in place
    receiver.held.recovered[row.origin] = made
    # So the report to the sender in front, which follows (`Endpoints.announce`), does not let it free the block.
    receiver.held.live[row.origin] = (row.offset, row.extent_bytes)
    return made
