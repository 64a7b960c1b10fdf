"""faster-fifo: a ring buffer in shared memory, told the bytes it holds when it is made, as its README shows.

Room is given for as many items as the queue of the standard library gets; `get` waits until something comes.
"""

from __future__ import annotations

from typing import Any

import faster_fifo

from benchmarks.rivals.mp_queue import maxsize
from benchmarks.rivals.queues import QueueRival

HEAD_BYTES = 500  # a pickled array's, and the queue's own
FOR_EVER_S = 1e6  # its own default is ten seconds, then `queue.Empty`


class Fifo:
    """Its queue, with waits that do not end."""

    def __init__(self, nbytes: int) -> None:
        self._queue = faster_fifo.Queue(max_size_bytes=nbytes)

    def put(self, x: Any) -> None:
        self._queue.put(x, timeout=FOR_EVER_S)

    def get(self) -> Any:
        return self._queue.get(timeout=FOR_EVER_S)


class Rival(QueueRival):
    def queue(self, nbytes: int) -> Any:
        return Fifo(maxsize(nbytes) * (nbytes + HEAD_BYTES))
