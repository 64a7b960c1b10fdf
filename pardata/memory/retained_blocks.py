"""The arrays of a run that is over: the blocks that the user keeps, and the pages that go back without them."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pardata.memory.arena import Span
from pardata.memory.array import Anchor
from pardata.memory.shared_heap import SharedHeap


class RetainedBlocks:
    """The spans of a run that is over, while the user keeps arrays in them. Their anchors call `append`.

    Parameters
    ----------
    live : (lease, offset, extent) triples, in bytes
        Blocks that are still held. All other pages of the spans are given back now.
    lent : anchors
        Blocks that the run had borrowed; each that lies outside of the spans is kept as long as a lease on it. (A block
        that a thread of the main process has passed on lies in them: it has a lease of its own, and would keep itself
        until the garbage collector runs.)
    """

    def __init__(
        self, heap: SharedHeap, spans: list[Span], live: Iterable[tuple[Any, int, int]], lent: Iterable[Anchor] = ()
    ) -> None:
        self._heap = heap
        self._spans = spans
        self._pid = os.getpid()
        self._blocks = {lease: (offset, extent) for lease, offset, extent in live}
        self._readers = Counter(self._blocks.values())
        self._lent = {(block.offset, block.extent_bytes): block for block in lent}
        self._lent = {
            place: block
            for place, block in self._lent.items()
            if place in self._readers and not any(_is_inside(place[0], span) for span in spans)
        }
        self._lock = threading.RLock()
        self._depth = 0
        if not self._blocks:
            heap.return_spans(spans)
            return
        for span in spans:
            position = span.offset
            for offset, extent in sorted(self._readers):
                if _is_inside(offset, span):
                    heap.segment.punch(position, offset - position)
                    position = offset + extent
            heap.segment.punch(position, span.offset + span.size_bytes - position)

    def append(self, lease: Any, /) -> None:
        """End a lease. The last lease of a block gives its pages back, the last lease of all gives the spans back."""
        if os.getpid() != self._pid:
            return  # in a forked child: the pages are the parent's
        with self._lock:
            block = self._blocks.pop(lease, None)
            if block is None:
                return
            self._readers[block] -= 1
            self._depth += 1
            if not self._readers[block] and self._lent.pop(block, None) is None:
                self._heap.segment.punch(*block)  # another anchor may die in here and call this method
            self._depth -= 1
            spans: list[Span] = []
            # By the outermost call alone, behind its `punch`: a span that somebody has taken anew is not to lose a
            # page.
            if not self._blocks and not self._depth:
                spans, self._spans = self._spans, []
        self._heap.return_spans(spans)


def _is_inside(offset: int, span: Span) -> bool:
    return span.offset <= offset < span.offset + span.size_bytes
