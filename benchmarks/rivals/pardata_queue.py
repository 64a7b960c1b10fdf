"""`pardata.Queue` between processes of multiprocessing: the gain that is left where only the queue is exchanged."""

from __future__ import annotations

from typing import Any

import pardata
from benchmarks.rivals.mp_queue import maxsize
from benchmarks.rivals.queues import QueueRival


class Rival(QueueRival):
    def queue(self, nbytes: int) -> Any:
        return pardata.Queue(maxsize(nbytes))
