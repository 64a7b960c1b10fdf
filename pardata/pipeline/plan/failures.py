"""The skipped items of a run, and the decision when there are too many. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from pardata.pipeline.plan.plan import Plan
from pardata.runtime.carried_errors import add_note
from pardata.runtime.faults import Fault
from pardata.runtime.progress import Skipped, skipped_of

_ENOUGH = 100  # a fraction of fewer items says nothing before the end


class Failures:
    """The items that failed without ending the run, and the error that has ended it.

    Attributes
    ----------
    error : str
        With its traceback, where the engine notes it; "": none.
    """

    def __init__(self, plan: Plan) -> None:
        self.error = ""
        self._limits = {stage.name: stage.node.on_error.max_errors for stage in plan.stages}
        self._skipped: dict[tuple[str, int, int], Skipped] = {}
        self._seen: set[tuple[str, int, int]] = set()
        self._failed: Counter[str] = Counter()
        self._last: dict[str, Fault] = {}

    def note(self, fault: Fault, sequence: int, is_listed: bool, items: Callable[[str], int]) -> BaseException | None:
        """Note a failed item; return the error that ends the run if that was one too many.

        `items` returns how many items a stage has taken so far.
        """
        key = (fault.stage, sequence, fault.number)
        if key in self._seen:
            return None  # a worker was killed and its successor tells it again
        self._seen.add(key)
        if is_listed:
            self._skipped[key] = skipped_of(fault)
        self._failed[fault.stage] += 1
        self._last[fault.stage] = fault
        return self._failure_of(fault.stage, items(fault.stage), _ENOUGH)

    def at_end(self, items: Callable[[str], int]) -> BaseException | None:
        """Return the error that fails a complete run with too many failed items."""
        found = (self._failure_of(stage, items(stage), 0) for stage in self._last)
        return next((failure for failure in found if failure is not None), None)

    def _failure_of(self, stage: str, items: int, enough: int) -> BaseException | None:
        limit, failed = self._limits.get(stage), self._failed[stage]
        if limit is None:
            return None
        if isinstance(limit, float) and (items < enough or failed <= limit * items):
            return None
        if not isinstance(limit, float) and failed <= limit:
            return None
        error = self._last[stage].exception()
        of = f" of {items}" if items >= failed else ""  # a worker counts its batch when it is done
        add_note(error, f"stage {stage!r}: {failed}{of} items failed, and max_errors={limit}")
        return error

    @property
    def skipped(self) -> list[Skipped]:
        """The items that were dropped, stage by stage."""
        return sorted(self._skipped.values(), key=lambda item: (item.stage, item.number))
