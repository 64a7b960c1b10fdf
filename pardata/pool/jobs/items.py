"""The items of a map: those that are there, and more of them that are taken from an iterator."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pardata.pool.jobs.chunking import TARGET_S, Chunks

_SLOW_S: Final = 1e-3  # per item
_CHUNKS_PER_WORKER: Final = 4  # of an endless iterable: taken from it, and not yet with the consumer


class MapItems:
    """Consecutive items by their numbers; those in front are forgotten as they are done.

    Parameters
    ----------
    given : sequence
        The first items.
    chunks : Chunks
        Knows how long an item takes.
    source : iterator, optional
        Gives more items.
    window : int, optional
        How many items may be taken from `source` and not yet be with the consumer. By default a few chunks per worker.

    Attributes
    ----------
    is_complete : bool
        Nothing more is in the source.
    is_slow : bool
        The source has taken long for its items, of late.
    """

    def __init__(
        self, given: Sequence[Any], chunks: Chunks, source: Iterator[Any] | None = None, window: int | None = None
    ) -> None:
        self._items = given
        self._first = 0
        self._chunks = chunks
        self._source = source
        self._window = window
        self.is_complete = source is None
        self.is_slow = False

    def cut(self, begin: int, end: int) -> Sequence[Any]:
        """Return the items ``[begin, end)``."""
        assert begin >= self._first, f"item {begin} is forgotten"
        return self._items[begin - self._first : end - self._first]

    def forget(self, below: int) -> None:
        """Forget the items below a number."""
        if isinstance(self._items, list) and 2 * (below - self._first) > len(self._items):
            del self._items[: below - self._first]
            self._first = below

    def lift_window(self) -> None:
        """Let `pull` take all that there is, however slow the source is."""
        self._window = sys.maxsize
        self.is_slow = False

    def pull(self, on_their_way: int) -> int:
        """Take items from the source while no more than the window are on their way; return how many.

        Errors of the source are raised here.
        """
        if self._source is None:
            return 0
        window = self._window
        if window is None:
            item_s = max(self._chunks.item_s or TARGET_S, 1e-7)
            window = max(1, int(_CHUNKS_PER_WORKER * max(1.0, TARGET_S / item_s))) * self._chunks.workers
        wanted = window - on_their_way
        if wanted <= 0 or (self._window is None and wanted < window // 4):
            return 0
        items = []
        begin = time.monotonic()
        for item in self._source:
            items.append(item)
            if len(items) == wanted or time.monotonic() - begin > TARGET_S:
                break
        else:
            self._source, self.is_complete = None, True
        self.is_slow = time.monotonic() - begin > _SLOW_S * max(1, len(items)) and self._window != sys.maxsize
        assert isinstance(self._items, list)
        self._items += items  # all at once: meanwhile the pool's thread may forget those in front
        return len(items)
