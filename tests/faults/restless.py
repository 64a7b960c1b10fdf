"""Workers of stages with workers="auto" that begin and rest at each look, 500 times a second."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

from pardata.runtime.allotment import Allotment, StageCounts


class Restless(Allotment):
    """Gives all stages another number of workers at each look: up to all that they may have, and back to one."""

    steps = itertools.count()

    def look(self, at_s: float, counts: Sequence[StageCounts]) -> bool:
        step = next(self.steps)
        self.workers = [
            shape.fewest + (step + index) % (shape.most - shape.fewest + 1) for index, shape in enumerate(self._shapes)
        ]
        return True


@contextmanager
def restless_workers() -> Iterator[None]:
    """Have the workers of all runs begin and rest all the time."""
    with mock.patch("pardata.engines.tuner.Allotment", Restless), mock.patch("pardata.engines.tuner.LOOK_S", 0.002):
        yield
