"""The exceptions that end a worker's program, and the name of the thread that may run beside it."""

from __future__ import annotations

import time
from typing import Any, Final, NoReturn

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


class FailedItem:
    """Stands in a batch for an item that has failed and ends the run, where a stage behind may not want the item.

    A stage that reads it fails as the sender did. It cannot be unpickled: so a receiver is told by the error of its
    message (`UnloadableError`), and messages without one need no look.
    """

    __slots__ = ("__weakref__", "failure")

    def __init__(self, failure: StageFailure) -> None:
        self.failure = failure

    def __reduce__(self) -> tuple[Any, ...]:
        return _fail, (self.failure.fault,)


def _fail(fault: Fault) -> NoReturn:
    raise StageFailure(fault, fault.exception())


class UnloadableError(Exception):
    """Some items of a batch were pickled by the stage before, and cannot be unpickled here; or they have failed there.

    Parameters
    ----------
    batches : list of Batch
        The batches that were taken, without these items.
    lost : (place, sender, number, error) tuples
        The place of each in its batch, the stage that has sent it, its number and its error; that of a `FailedItem` is
        its failure.
    """

    def __init__(self, batches: list[Batch], lost: list[tuple[int, str, int, BaseException]]) -> None:
        super().__init__(f"{len(lost)} items cannot be loaded")
        self.batches = batches
        self.lost = lost

    def faults(self, stage: str) -> list[tuple[int, Fault]]:
        """Return the place of each that `stage` could not load, and its fault."""
        return [
            (place, Fault.of(_refusal(sender, number, error), stage, number))
            for place, sender, number, error in self.lost
            if not isinstance(error, StageFailure)
        ]

    def failures(self, of_all: bool = True) -> list[tuple[int, StageFailure]]:
        """Return places and failures that end the run, in order: of all items, or of those that have failed before."""
        found = []
        for place, sender, number, error in sorted(self.lost, key=lambda lost: lost[0]):
            if isinstance(error, StageFailure):
                found.append((place, error))
            elif of_all:
                fault = Fault.of(_refusal(sender, number, error), sender, number)
                found.append((place, StageFailure(fault, fault.exception())))
        return found

    def failure(self) -> StageFailure:
        """Return the failure that ends the run."""
        return self.failures()[0][1]


def _refusal(sender: str, number: int, error: BaseException) -> SerializationError:
    made = SerializationError(
        f"the result of stage {sender!r} for item {number} cannot be loaded in another process: it pickles, but "
        f"unpickling it raised {type(error).__name__}: {error}"
    )
    return made.with_traceback(error.__traceback__)
