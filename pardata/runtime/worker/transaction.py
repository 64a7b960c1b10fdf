"""The batch that a worker has at hand, from its take to its commit."""

from __future__ import annotations

from dataclasses import dataclass, field

from pardata.channel.receiver import Claim
from pardata.codec.batch_codec import Batch


@dataclass(slots=True, eq=False)
class Transaction:
    """The claims that are not committed and the batch that is being published: both count where memory is short.

    Attributes
    ----------
    claims : list of Claim
        One, or one of each edge of a zip; empty: nothing has been taken.
    publishing : Batch, optional
        The batch that is being packed.
    begun : dict
        By (sequence, number), the claims of further batches whose calls are awaited (`runtime.worker.awaiting_port`).
    short : dict
        By (sequence, number), the bytes that batches need for which there was no memory; they are begun again.
    publisher : int
        The thread that publishes a batch and is not to wait for memory there; 0: none.
    """

    claims: list[Claim] = field(default_factory=list)
    publishing: Batch | None = None
    begun: dict[tuple[int, int], list[Claim]] = field(default_factory=dict)
    short: dict[tuple[int, int], int] = field(default_factory=dict)
    publisher: int = 0

    @property
    def others(self) -> list[Claim]:
        """The claims of all batches that were begun."""
        return [claim for claims in self.begun.values() for claim in claims]
