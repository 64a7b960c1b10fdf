"""The two joins by number: both make one batch of several batches of the same numbers."""

from __future__ import annotations

from pardata.codec.batch_codec import Batch
from pardata.pipeline.plan.ordering import Policy


def join_batches(batches: list[Batch], policy: Policy) -> Batch:
    """Return the one batch that a stage makes of those it takes at once."""
    return weave_batches(batches) if policy == "ordered" else zip_batches(batches)


def zip_batches(batches: list[Batch]) -> Batch:
    """Pair the items of batches of the same numbers; a number that is missing in one is missing in the result."""
    first = batches[0]
    if len(batches) == 1:
        return first
    if all(batch.positions is None for batch in batches):
        return first.with_items(list(zip(*(batch.items for batch in batches), strict=True)), None)
    tables = [
        dict(zip(range(batch.count) if batch.positions is None else batch.positions, batch.items, strict=True))
        for batch in batches
    ]
    places = range(first.count) if first.positions is None else first.positions
    common = [position for position in places if all(position in table for table in tables)]
    return first.with_items([tuple(table[position] for table in tables) for position in common], common)


def weave_batches(batches: list[Batch]) -> Batch:
    """Put the items of all batches in the order of their numbers; of one number, in the order of the batches.

    A second item of a number stands at number + count, a third at number + 2 x count: so each has a place of its own,
    and the remainder by `count` is the number.
    """
    first = batches[0]
    found = [
        (position % first.count, edge, index)
        for edge, batch in enumerate(batches)
        for index, position in enumerate(range(batch.count) if batch.positions is None else batch.positions)
    ]
    found.sort()
    positions: list[int] = []
    for place, _, _ in found:
        is_another = bool(positions) and positions[-1] % first.count == place
        positions.append(positions[-1] + first.count if is_another else place)
    return first.with_items([batches[edge].items[index] for _, edge, index in found], positions)
