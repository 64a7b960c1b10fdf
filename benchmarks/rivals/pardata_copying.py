"""pardata with ``PARDATA_BORN=0``: results are copied into shared memory, and NumPy has its own allocator."""

from __future__ import annotations

import os

from benchmarks.rivals import pardata

os.environ["PARDATA_BORN"] = "0"  # read when the first worker starts


class Rival(pardata.Rival):
    """All as there."""
