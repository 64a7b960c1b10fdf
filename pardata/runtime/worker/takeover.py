"""A worker process takes up the work of the dead process that had its span before, and leaves its own to the next."""

from __future__ import annotations

from collections.abc import Sequence

from pardata.channel.collector import Collector
from pardata.channel.outbox import Outbox
from pardata.channel.receiver import Claim, Receiver
from pardata.errors import InternalError, PardataError, WorkerLostError
from pardata.memory.segment import Segment
from pardata.runtime.header import CURRENT_BATCH, INCARNATION, TURN, batch_of_word
from pardata.runtime.poison_items import POISON_BYTES, poison_items
from pardata.runtime.worker.endpoints import Endpoints
from pardata.runtime.worker.spec import POISON_AT, WorkerSpec
from pardata.runtime.worker.state import StateArea


class Takeover:
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
        self.is_successor = self.holds_recovered = words[INCARNATION] > 0
        words[INCARNATION] += 1
        self.inherited = batch_of_word(words[CURRENT_BATCH])
        self.state = None if spec.state is None else StateArea(segment, *spec.state, spec.label, words)
        self.poison: dict[tuple[int, int], PardataError] = {}
        if self.is_successor:  # a first process finds no notes
            self.poison = poison_items(spec.span.words(segment, POISON_AT, POISON_BYTES // 8), spec.label)

    def resume(self, ends: Endpoints, collector: Collector, words: memoryview) -> None:
        """Have both sides of each channel look again, and the collector begin with the batch that was at work."""
        self._receivers = ends.receivers
        if self.is_successor:
            ends.announce()
        if not collector.resume(self.inherited, words[TURN]):
            self.inherited = None
            self.forget_recovered()

    def has_published(self, claims: Sequence[Claim], outbox: Outbox) -> bool:
        """Return whether the predecessor had published its result for the inherited batch: only the commit is missing.

        `claims` is the first batch that was taken. Raises `WorkerLostError` if the batch cannot be done again.
        """
        first, inherited = claims[0], self.inherited
        self.inherited = None
        if inherited != (first.sequence, first.number):
            raise InternalError(f"{first!r} was taken before {inherited}, which a predecessor had begun")
        if outbox.has_published(first.sequence, first.number):
            for claim in claims:
                claim.receiver.open(claim)  # its leases end with the commit, but for those that were handed on
            return True
        if self._inplace:
            raise WorkerLostError(
                f"a worker of stage {self._stage!r} was lost while it changed item {first.number} in place, so the "
                f"item cannot be run again. With writable=True in place of inplace=True it could"
            )
        return False

    def resume_point(self, outbox: Outbox) -> int:
        """Return the number behind the last batch that the predecessor of a source or filter has published; else 0."""
        published = (message for edge in outbox.edges for message in edge.last())
        return max((number + count for _, number, count, _ in published), default=0)

    def forget_recovered(self) -> None:
        """Let go of the predecessor's blocks: the batch that may have needed them has been read or committed."""
        self.holds_recovered = False
        for receiver in self._receivers:
            receiver.recovered.clear()
