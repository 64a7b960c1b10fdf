"""Describes how things stand where a worker of a run has no memory for a block, and has `policy` decide."""

from __future__ import annotations

from collections.abc import Sequence

from pardata.channel.outbox import Outbox
from pardata.channel.receiver import Claim, Receiver
from pardata.codec.batch_codec import Batch
from pardata.errors import CapacityError
from pardata.memory.budget import Budget
from pardata.runtime.admission.explanation import explain_refusal
from pardata.runtime.admission.inflight import BatchKey, InFlight
from pardata.runtime.admission.policy import AllocationRequest, Decision, decide
from pardata.runtime.admission.quiescence import Quiescence


class Situation:
    """A worker's own batches, and all that the others of the run have written of themselves.

    Attributes
    ----------
    inflight : InFlight
        The batches in flight, and how heavy their items are.
    """

    def __init__(
        self,
        inflight: InFlight,
        quiescence: Quiescence,
        budget: Budget,
        outbox: Outbox,
        receivers: Sequence[Receiver],
        label: str,
    ) -> None:
        self.inflight = inflight
        self._quiescence = quiescence
        self._budget = budget
        self._outbox = outbox
        self._receivers = receivers
        self._label = label

    def begin(self) -> None:
        """Begin to wait for memory: `decide` is asked again and again from here on."""
        self._quiescence.begin()

    def decide(
        self, needed_bytes: int, claims: Sequence[Claim], publishing: Batch | None, others: Sequence[Claim] = ()
    ) -> Decision | None:
        """Return the decision on a block, None: wait. Raises `CapacityError` if there will never be enough memory.

        `claims` is what the worker has taken and `publishing` what it is about to hand on. `others` are batches that go
        on meanwhile: they are not held up by this one.
        """
        request = self._describe(needed_bytes, claims, publishing, others)
        decision = decide(request)
        if decision is Decision.FAIL:
            raise CapacityError(explain_refusal(request, self._label, self._budget.holders()))
        return None if decision is Decision.WAIT else decision

    def may_try(self, needed_bytes: int, claims: Sequence[Claim], publishing: Batch, others: Sequence[Claim]) -> bool:
        """Return whether it is worth while to ask for the blocks of a batch, which need so many bytes together."""
        return decide(self._describe(needed_bytes, claims, publishing, others)) is not Decision.WAIT

    def _describe(
        self, needed_bytes: int, claims: Sequence[Claim], publishing: Batch | None, others: Sequence[Claim]
    ) -> AllocationRequest:
        live = self._budget.live_bytes()
        under_way = self.inflight.all()
        items, own = 1, sum(block.extent_bytes for claim in claims for block in claim.anchors)
        mine = {self.inflight.key(claim.sequence, claim.number) for claim in claims}
        if publishing is not None:
            mine.add(self.inflight.key(publishing.sequence, publishing.number))
            items, own = publishing.count, own + self._outbox.placer.made_bytes
        # A batch that waits here for its turn is as much held up as the one at work.
        behind = {self.inflight.key(*batch) for receiver in self._receivers for batch in receiver.waiting()}
        behind -= {self.inflight.key(claim.sequence, claim.number) for claim in others}
        return AllocationRequest(
            needed_bytes,
            live,
            self._budget.limit_bytes,
            is_oldest=any(_is_oldest(key, under_way) for key in mine | behind),
            is_alone=under_way <= mine,
            still_s=self._quiescence.look(live),
            items=items,
            own_bytes=own,
            control_bytes=self._budget.control_bytes(),
            item_bytes=self._budget.widest_bytes(),
        )


def _is_oldest(key: BatchKey, under_way: set[BatchKey]) -> bool:
    root, number = key
    return number == min((other for of, other in under_way if of == root), default=-1)
