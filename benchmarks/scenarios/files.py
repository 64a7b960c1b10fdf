"""A paged file of 200 MB that the system has in its cache, beside bare reads of the same bytes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Rival
from benchmarks.timing import outcome, repeat

ROWS, ROW_BYTES = 3200, 65536
READS = 4000


def _array() -> Any:
    return np.random.default_rng(0).integers(0, 255, (ROWS, ROW_BYTES), np.uint8)


def _random(rival: Rival, seconds: float) -> Outcome:
    """Seconds per page of 64 KiB."""
    numbers: list[int] = np.random.default_rng(1).integers(0, ROWS, READS).tolist()
    with rival.random_pages(_array(), numbers) as read:
        assert read() == READS
        return outcome(repeat(read, seconds, READS), READS)


def _sequential(whole: bool, rival: Rival, seconds: float) -> Outcome:
    """Seconds for all, by a reader that has not read it before."""
    with rival.all_pages(_array(), whole) as read:
        assert read() == ROWS
        return outcome(repeat(read, seconds), ROWS)


SIDES = ("pardata", "serial")

CASES = (
    Case("paged_random", "random pages of 64 KiB; os.pread", "s", SIDES, _random, quick=SIDES),
    Case("paged_sequential", "page after page; numpy.fromfile", "s", SIDES, partial(_sequential, False)),
    Case("paged_whole", "all as one new array; numpy.fromfile", "s", SIDES, partial(_sequential, True)),
)
