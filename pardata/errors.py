"""Every error that pardata raises of its own. Imports nothing.

An error of the user's own code is never wrapped: it reaches the caller as its own type, with a note that names the
stage and the item, and the traceback of the worker as its ``__cause__``.
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool


class PardataError(Exception):
    """Base of all errors of this package."""


class ConfigError(PardataError, ValueError):
    """Wrong arguments, found before anything was started."""


class LossError(ConfigError, TypeError):
    """Values that cannot be kept as they are: a mask, a unit, missing values or the dtype would be lost."""


class PlanError(ConfigError):
    """A graph of streams that cannot be run as it is."""


class ClosedError(PardataError):
    """The object was closed before this use."""


class BrokenError(PardataError):
    """The other side, or the operating system, ended it."""


class WorkerLostError(BrokenError, BrokenProcessPool):
    """A worker process died and its work could not be redone.

    Attributes
    ----------
    items : range or None
        Numbers of the items (of `map_array`: rows) that it worked on, if a task of a pool was lost.
    status : int or None
        Exit code, or minus the signal.
    peak_bytes : int or None
        The most physical memory the process had.
    """

    items: range | None = None
    status: int | None = None
    peak_bytes: int | None = None


class ChecksumError(BrokenError):
    """Data in a file are not what was written there: damaged, or cut off."""


class CapacityError(PardataError, MemoryError):
    """The memory limit would be passed: what was needed, what is free, who holds it."""


class StaleBlockError(PardataError):
    """A block was used after its release."""


class SerializationError(PardataError, TypeError):
    """An object cannot cross a process boundary."""


class DeadlineExceeded(PardataError, TimeoutError):
    """Something awaited did not come in time."""


class MissingExtraError(PardataError, ImportError):
    """An optional package is not installed."""


class PlatformError(PardataError, NotImplementedError):
    """This operating system has not what that needs: what it is, and what can be used here."""


class InternalError(PardataError):
    """pardata broke a promise to itself: please report it."""


class RemoteTraceback(Exception):
    """The traceback of a worker, as text; the ``__cause__`` of the error that was raised there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class RemoteError(PardataError):
    """Stands in for an exception that could not be pickled or unpickled: its type's name and its text."""
