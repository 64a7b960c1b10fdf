"""Several messages, or answers, that travel together: a call or a write costs as much for one as for many."""

from __future__ import annotations

import pickle
from collections import deque
from typing import Final

from pardata.cluster.port import Frames
from pardata.cluster.wire import count_bytes

Bundle = list[tuple[int, Frames]]  # messages, or answers, with their numbers

BUNDLE_BYTES: Final = 1 << 20  # no more are added to a bundle that has so many: the next one carries them meanwhile


def take_bundle(waiting: deque[tuple[int, Frames]], inline_bytes: int = 0) -> Bundle:
    """Take what goes together from those that wait.

    Parameters
    ----------
    inline_bytes : int
        What has so many costs its carrier less: nothing is added that would take it beyond.
    """
    bundle: Bundle = []
    nbytes = 0
    while waiting and nbytes < BUNDLE_BYTES:
        more = count_bytes(waiting[0][1])
        if bundle and nbytes <= inline_bytes < nbytes + more:
            break
        bundle.append(waiting.popleft())
        nbytes += more
    return bundle


def pack(bundle: Bundle) -> Frames:
    """Return the frames of a bundle: bytes, and arrays of uint8 behind them."""
    arrays = [part for _, frames in bundle for part in frames if not isinstance(part, bytes)]
    head = [(number, [part if isinstance(part, bytes) else None for part in frames]) for number, frames in bundle]
    return [pickle.dumps(head, 5), *arrays]


def unpack(packed: Frames) -> Bundle:
    """Return a bundle; its arrays are those of its frames."""
    head, *arrays = packed
    rest = iter(arrays)
    return [
        (number, [next(rest) if part is None else part for part in frames]) for number, frames in pickle.loads(head)
    ]
