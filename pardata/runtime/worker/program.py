"""The exceptions that end a worker's program, and the name of the thread that may run beside it."""

from __future__ import annotations

import time
from typing import Final, NoReturn

from pardata.codec.batch_codec import Batch
from pardata.errors import SerializationError
from pardata.runtime.faults import Fault
from pardata.runtime.header import EXITS_NS

TIMER_NAME: Final = "pardata-flusher"  # the thread of a source that sends batches which were begun and not filled


class Cancelled(BaseException):
    """The parent has cancelled the run: leave."""


def leave(words: memoryview) -> NoReturn:
    """Raise `Cancelled`; a word tells the parent since when the user's `finally` and `close` have been running.

    The first time counts: code that catches the exception and goes on gets no more time.
    """
    words[EXITS_NS] = words[EXITS_NS] or time.monotonic_ns()
    raise Cancelled


class Leaving(BaseException):
    """This process makes room for a fresh one, which goes on: leave."""


class MemoryShort(BaseException):
    """There is no memory for a batch now, and its worker does not wait for it where it asks; nothing was handed on.

    Parameters
    ----------
    needed_bytes : int
        Of the blocks of the batch that are known to be needed.
    """

    def __init__(self, needed_bytes: int) -> None:
        super().__init__(f"{needed_bytes} bytes are needed")
        self.needed_bytes = needed_bytes


class StageFailure(Exception):
    """The user's code raised; carries the fault to tell the parent."""

    def __init__(self, fault: Fault, original: BaseException) -> None:
        super().__init__(fault.error)
        self.fault = fault
        self.original = original


class UnloadableError(Exception):
    """Some items of a batch were pickled by the stage before, and cannot be unpickled here.

    Parameters
    ----------
    batches : list of Batch
        The batches that were taken, without these items.
    lost : (place, sender, number, error) tuples
        The place of each in its batch, the stage that has sent it, its number and its error.
    """

    def __init__(self, batches: list[Batch], lost: list[tuple[int, str, int, BaseException]]) -> None:
        super().__init__(f"{len(lost)} items cannot be loaded")
        self.batches = batches
        self.lost = lost

    def faults(self, stage: str | None = None) -> list[tuple[int, Fault]]:
        """Return the place of each, and its fault: as one of `stage`, or of its sender."""
        return [
            (place, Fault.of(_refusal(sender, number, error), stage or sender, number))
            for place, sender, number, error in self.lost
        ]

    def failure(self) -> StageFailure:
        """Return the failure that ends the run."""
        _, fault = self.faults()[0]
        return StageFailure(fault, fault.exception())


def _refusal(sender: str, number: int, error: BaseException) -> SerializationError:
    made = SerializationError(
        f"the result of stage {sender!r} for item {number} cannot be loaded in another process: it pickles, but "
        f"unpickling it raised {type(error).__name__}: {error}"
    )
    return made.with_traceback(error.__traceback__)
