"""How things stand where a worker of a run has no memory for a block: what `runtime.shortage` judges by."""

from __future__ import annotations

from collections.abc import Sequence

from pardata.channel.message import Batch
from pardata.channel.outbox import Outbox
from pardata.channel.receiver import Claim, Receiver
from pardata.errors import CapacityError
from pardata.memory.budget import Budget
from pardata.runtime.flights import Flight, Flights
from pardata.runtime.shortage import Shortage, Verdict
from pardata.runtime.stillness import Stillness


class Pressure:
    """Looks at a worker's own batches, and at what all others of the run have written of themselves."""

    def __init__(
        self,
        flights: Flights,
        stillness: Stillness,
        budget: Budget,
        outbox: Outbox,
        receivers: Sequence[Receiver],
        who: str,
    ) -> None:
        self.flights = flights
        self._stillness = stillness
        self._budget = budget
        self._outbox = outbox
        self._receivers = receivers
        self._who = who

    def begin(self) -> None:
        """Begin to wait for memory: `judge` is asked again and again from here on."""
        self._stillness.begin()

    def judge(self, needed_bytes: int, claims: Sequence[Claim], publishing: Batch | None) -> Verdict | None:
        """Return the verdict on a block, None: wait. Raises CapacityError if there will never be enough memory.

        `claims` is what the worker has taken, `publishing` what it is about to hand on.
        """
        live = self._budget.live_bytes()
        under_way = self.flights.all()
        items, own = 1, sum(block.extent_bytes for claim in claims for block in claim.anchors)
        mine = {self.flights.flight(claim.domain, claim.number) for claim in claims}
        if publishing is not None:
            mine.add(self.flights.flight(publishing.domain, publishing.number))
            items, own = publishing.count, own + self._outbox.made_bytes
        # What waits here for its turn is as much held up as what is at work.
        behind = {self.flights.flight(*batch) for receiver in self._receivers for batch in receiver.waiting()}
        shortage = Shortage(
            needed_bytes,
            live,
            self._budget.limit_bytes,
            is_oldest=any(_is_oldest(flight, under_way) for flight in mine | behind),
            is_alone=under_way <= mine,
            still_s=self._stillness.look(live),
            items=items,
            own_bytes=own,
            control_bytes=self._budget.control_bytes(),
            item_bytes=self._budget.widest_bytes(),
        )
        verdict = shortage.judge()
        if verdict is Verdict.FAIL:
            raise CapacityError(shortage.explain(self._who, self._budget.holders()))
        return None if verdict is Verdict.WAIT else verdict


def _is_oldest(flight: Flight, under_way: set[Flight]) -> bool:
    root, number = flight
    return number == min((other for of, other in under_way if of == root), default=-1)
