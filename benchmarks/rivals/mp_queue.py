"""`multiprocessing.Queue`. Bounds measured on 2 cores for a chain of three stages (items/s):

maxsize         1        2        4       16       64
800 B       5,900    8,800   12,100   16,300   15,200
80 KB       3,000    4,000    4,200    4,300    4,500
8 MB         24.9     27.0     27.2     14.5     13.6
80 MB         1.8      1.8      2.0      2.0      1.2
"""

from __future__ import annotations

from typing import Any

from benchmarks.rivals import queues

MAXSIZE_LARGE, MAXSIZE_SMALL = 4, 32


def maxsize(nbytes: int) -> int:
    """The bound that is best for items of this size."""
    return MAXSIZE_LARGE if nbytes > queues.LARGE_BYTES else MAXSIZE_SMALL


class Rival(queues.QueueRival):
    def queue(self, nbytes: int) -> Any:
        return self.context.Queue(maxsize(nbytes))
