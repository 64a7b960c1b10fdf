"""Reads the batches that a worker has claimed, and blames the sender for items that cannot be loaded."""

from __future__ import annotations

from collections.abc import Sequence

from pardata.channel.receiver import Claim
from pardata.codec.access import Access
from pardata.codec.batch_codec import Batch
from pardata.codec.loadable import Unloadable
from pardata.runtime.worker.program import UnloadableError
from pardata.runtime.worker.spec import InputSpec

Unloaded = list[tuple[int, str, int, BaseException]]  # as `UnloadableError` has it


class ClaimReader:
    """Reads claims as a program wants them.

    Parameters
    ----------
    access : Access
        That of the program to its arrays.
    blames_senders : bool
        Items that cannot be loaded are an `UnloadableError` that names the stage which has sent them. Otherwise the
        error of unpickling is raised as it is.
    inputs : list of InputSpec
        Of each receiver.
    """

    __slots__ = ("_access", "_blames_senders", "_inputs")

    def __init__(self, access: Access, blames_senders: bool, inputs: list[InputSpec]) -> None:
        self._access = access
        self._blames_senders = blames_senders
        self._inputs = inputs

    def read(self, claims: Sequence[Claim]) -> list[Batch]:
        """Return the batches of claims. Raises `UnloadableError` if one has items that cannot be loaded."""
        batches = []
        lost: Unloaded = []
        for claim in claims:
            try:
                batches.append(claim.receiver.read(claim, self._access))
            except Exception as error:
                if not self._blames_senders or isinstance(error, MemoryError):
                    raise
                batch = claim.receiver.read_loadable(claim, self._access, error)
                batches.append(_without_unloadable(batch, self._inputs[claim.receiver.index].sender, lost))
        if lost:
            raise UnloadableError(batches, lost)
        return batches


def _without_unloadable(batch: Batch, sender: str, lost: Unloaded) -> Batch:
    """Return a batch without the items that cannot be loaded, which are added to `lost`."""
    places = range(len(batch.items)) if batch.positions is None else batch.positions
    kept = []
    for index, (item, place) in enumerate(zip(batch.items, places, strict=True)):
        if isinstance(item, Unloadable):
            lost.append((place, sender, batch.item_number(index), item.error))
        else:
            kept.append((item, place))
    return batch.with_items([item for item, _ in kept], [place for _, place in kept])
