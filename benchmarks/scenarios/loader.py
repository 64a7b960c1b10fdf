"""A training loop is fed: the batches of a dataset, made by two workers that stay for the next epoch.

    dataset --> two workers: items, put together --> a loop that looks at each batch

Each batch is looked at, not computed with: what the loop itself does is the same for all sides.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Rival
from benchmarks.timing import outcome, repeat

WORKERS = 2
BATCH = 64
BATCHES = 24  # per epoch


class Pictures:
    """Pictures of 602 kB in memory, each multiplied by a number."""

    def __init__(self) -> None:
        self.pictures = np.random.default_rng(0).random((8, 224, 224, 3), np.float32)

    def __len__(self) -> int:
        return BATCH * BATCHES

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.pictures[index % 8] * np.float32(0.5), index


class Photographs:
    """Pictures of 256 kB that are decoded from JPEG files in memory."""

    def __init__(self) -> None:
        from PIL import Image

        steps = np.random.default_rng(0).normal(size=(296, 288, 3))
        smooth = 128 + 8 * steps.cumsum(0).cumsum(1) / 100
        file = io.BytesIO()
        Image.fromarray(smooth.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        self.file = file.getvalue()

    def __len__(self) -> int:
        return BATCH * BATCHES

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        return np.array(Image.open(io.BytesIO(self.file))), index


def _look_at(batches: Any) -> None:
    """Look at each batch of an epoch; check that all items have come, in order."""
    begin = 0
    for pictures, indices in batches:
        assert pictures[:, ::64, ::64].sum() > 0, "a batch is empty"
        assert indices.tolist() == list(range(begin, begin + BATCH)), "the batches are not in order"
        begin += BATCH
    assert begin == BATCH * BATCHES, f"{begin} items came"


def _rate(make: Callable[[], Any], rival: Rival, seconds: float) -> Outcome:
    """Items per second of whole epochs, after one that starts the workers."""
    dataset = make()
    with rival.loader(dataset, BATCH, WORKERS) as epoch:
        taken = repeat(lambda: _look_at(epoch()), seconds)
    return outcome([len(dataset) / each for each in taken], len(dataset))


def _first_batch(make: Callable[[], Any], rival: Rival, seconds: float) -> Outcome:
    """Seconds from the beginning of an epoch that is not the first until its first batch is there."""
    taken = []
    with rival.loader(make(), BATCH, WORKERS) as epoch:
        _look_at(epoch())
        end = time.perf_counter() + seconds
        while not taken or time.perf_counter() < end:
            begin = time.perf_counter()
            batches = epoch()
            first = next(batches)
            taken.append(time.perf_counter() - begin)
            del first
            for _ in batches:  # to the end of the epoch
                pass
    return outcome(taken)


SIDES = ("pardata", "torch")

CASES = (
    Case("loader_pictures", "batches of 64 pictures of 602 kB", "items/s", SIDES, partial(_rate, Pictures), quick=()),
    Case(
        "loader_jpeg",
        "batches of 64 JPEG files of 256 kB each",
        "items/s",
        SIDES,
        partial(_rate, Photographs),
        quick=(),
    ),
    Case("loader_first", "first batch of a later epoch", "s", SIDES, partial(_first_batch, Pictures), quick=()),
)
