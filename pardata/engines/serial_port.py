"""The port of the serial engine: it counts, and has nothing to wait for."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from pardata.pipeline.plan.failures import Failures
from pardata.runtime.events import CutPassed, ItemSkipped
from pardata.runtime.progress import StageStatistics


class TooManyErrors(BaseException):
    """Leaves a stage that has failed too often; `failure` is what ends the run."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__()
        self.failure = failure


class SerialPort:
    """The counting half of a port, enough for `ItemProgram.process`."""

    index = 0
    is_thread = True

    def __init__(
        self,
        statistics: StageStatistics,
        failures: Failures,
        items_of: Callable[[str], int],
        on_cut: Callable[[CutPassed], None] | None,
    ) -> None:
        self._statistics = statistics
        self._failures = failures
        self._items_of = items_of
        self._on_cut = on_cut
        self._turns = itertools.count()

    def count(self, items: int, dropped: int = 0, failed: int = 0) -> None:
        self._statistics.items += items
        self._statistics.dropped += dropped
        self._statistics.failed += failed

    def attempt(self, sequence: int, number: int) -> None:
        pass

    def step(self, item: tuple[int, int]) -> None:
        pass

    def pause(self) -> None:
        pass

    def report(self, event: ItemSkipped | CutPassed) -> None:
        if isinstance(event, CutPassed):
            assert self._on_cut is not None
            self._on_cut(event)
            return
        failure = self._failures.note(event.fault, event.sequence, event.is_listed, self._items_of)
        if failure is not None:
            raise TooManyErrors(failure)

    def choose(self, branches: int) -> int:
        return next(self._turns) % branches
