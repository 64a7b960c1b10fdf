"""Pairs the items of independent streams by their numbers; keeps what is early, as their messages have other sizes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from pardata.codec.batch_codec import Batch
from pardata.errors import LossError


class Paired(NamedTuple):
    """A stream that is paired with others: the name of its last stage, the numbering of its items, and the first."""

    name: str
    sequence: int
    begin: int = 0


class Pairing:
    """behind -> add -> ... -> end.

    The stream that is behind is read, so at most one message of each other stream is kept.

    `may_be_uneven`: pairs are made up to the end of the shortest stream, and the others are read to their ends.
    """

    def __init__(self, streams: Collection[Paired], may_be_uneven: bool = False) -> None:
        self._may_be_uneven = may_be_uneven
        self._names = [stream.name for stream in streams]
        self._edges = {stream.sequence: edge for edge, stream in enumerate(streams)}
        self._reached = [stream.begin for stream in streams]  # numbers below have come
        self._kept: list[dict[int, Any]] = [{} for _ in self._names]

    def behind(self, ended: Collection[int]) -> int | None:
        """Return the stream to be read next, of those that have not ended; None: all have."""
        open_ = [edge for edge in range(len(self._names)) if edge not in ended]
        return min(open_, key=self._reached.__getitem__, default=None)

    def add(self, batch: Batch) -> Batch:
        """Return the pairs that are whole with `batch`, out of which the items are taken.

        Raises `LossError` if it is ahead of another stream: that has ended.
        """
        edge = self._edges[batch.sequence]
        if self._reached[edge] > min(self._reached) and not self._may_be_uneven:
            raise LossError(self._uneven(edge))
        items, batch.items = batch.items, []
        places = range(batch.count) if batch.positions is None else batch.positions
        self._kept[edge] = {batch.number + place: item for place, item in zip(places, items, strict=True)}
        del items
        self._reached[edge] = batch.number + batch.count
        return self._whole(batch)

    def _whole(self, batch: Batch) -> Batch:
        """Take out the pairs of which no part is missing. What is kept behind them waits for its partner."""
        level = min(self._reached)
        pairs, positions = [], []
        for place in range(level - batch.number):
            parts = [kept.pop(batch.number + place, _DROPPED) for kept in self._kept]
            if not any(part is _DROPPED for part in parts):
                pairs.append(tuple(parts))
                positions.append(place)
            del parts
        return batch.with_items(pairs, positions)

    def end(self) -> None:
        """Raise `LossError` if the streams have not ended evenly and must."""
        if len(set(self._reached)) > 1 and not self._may_be_uneven:
            raise LossError(self._uneven(None))

    def _uneven(self, open_: int | None) -> str:
        counts = [
            f"{name!r} {'more than ' if edge == open_ else ''}{reached}"
            for edge, (name, reached) in enumerate(zip(self._names, self._reached, strict=True))
        ]
        return (
            f"zip pairs items by position, and its streams have different numbers of items: {', '.join(counts)} "
            f'(those that a filter or errors="skip" has dropped count): cut the longer one off with take(n)'
        )


_DROPPED = object()
