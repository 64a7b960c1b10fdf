"""The items that have failed in a stage with ``errors="stream"``, as they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pardata.runtime.carried_errors import pack_error, unpack_error
from pardata.runtime.faults import Fault


@dataclass(frozen=True)
class DeadLetter:
    """An item that has failed in a stage with ``errors="stream"``.

    Attributes
    ----------
    stage, number
        The name of the stage, and the number of the item (counted from 0 at its source).
    item : object
        The item itself; None if it does not exist any more: it was changed in place, or it is the result that could
        not be sent on.
    error : BaseException
        The exception that was raised; `WorkerLostError` or `DeadlineExceeded` if the item has cost a worker its life.
    traceback : str
        That of the worker, as text.

    Examples
    --------
    >>> good = pardata.source(["1", "x"]).map(int, errors="stream")
    >>> told = good.failed.map(lambda letter: f"item {letter.number}: {letter.error}")
    >>> list(pardata.merge(good, told, policy="ordered").iterate(engine="serial"))
    [1, "item 1: invalid literal for int() with base 10: 'x'"]
    """

    stage: str
    number: int
    item: Any
    error: BaseException
    traceback: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _letter, (self.stage, self.number, self.item, pack_error(self.error), self.traceback)


def letter_of(fault: Fault, item: Any) -> DeadLetter:
    """Return the letter for a fault."""
    return DeadLetter(fault.stage, fault.number, item, fault.carried(), fault.trace)


def _letter(stage: str, number: int, item: Any, error: bytes, trace: str) -> DeadLetter:
    return DeadLetter(stage, number, item, unpack_error(error), trace)
