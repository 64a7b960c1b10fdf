"""Standard output and error of the main process, for code in workers that writes to descriptors directly.

The fork server has those that the main process had when it was started. What C libraries and started programs print is
to go where it would go from the main process, also when that was changed since: by a test's capture, or by a daemon.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

STREAMS: Final = (1, 2)


@contextlib.contextmanager
def standard_streams() -> Iterator[list[int]]:
    """Give descriptors of both streams to send to a worker; the null device stands for one that is closed."""
    null: int | None = None
    found = []
    try:
        for fd in STREAMS:
            try:
                os.fstat(fd)
            except OSError:
                null = os.open(os.devnull, os.O_RDWR) if null is None else null
                fd = null
            found.append(fd)
        yield found
    finally:
        if null is not None:
            os.close(null)


def take_streams(fds: list[int]) -> None:
    """In a worker: have received descriptors as standard output and error."""
    for fd, stream in zip(fds, STREAMS, strict=True):
        os.dup2(fd, stream)
        if fd not in STREAMS:
            os.close(fd)
