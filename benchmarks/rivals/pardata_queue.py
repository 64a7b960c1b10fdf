"""`pardata.Queue` between processes of multiprocessing: what remains of a gain where only the queue is exchanged."""

from __future__ import annotations

from typing import Any

import pardata
from benchmarks.rivals.mp_queue import MAXSIZE_LARGE, MAXSIZE_SMALL
from benchmarks.rivals.queues import LARGE_BYTES, QueueRival


class Rival(QueueRival):
    def queue(self, nbytes: int, writers: int = 1) -> Any:
        return pardata.Queue(MAXSIZE_LARGE if nbytes > LARGE_BYTES else MAXSIZE_SMALL)
