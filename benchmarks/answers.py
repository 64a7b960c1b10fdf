"""The task of `start_up`, in a module of its own: a worker that has to import it does not load the whole benchmark."""

from __future__ import annotations

import os
import time

LONG_ENOUGH_S = 0.002  # so that no worker takes the tasks of all before the others are there


def answer(_: int) -> int:
    """One task: the worker's pid, once NumPy is there."""
    import numpy  # noqa: F401

    time.sleep(LONG_ENOUGH_S)
    return os.getpid()
