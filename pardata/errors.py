"""All errors that pardata raises by itself. Imports nothing of the package.

An error of the user's own code is never wrapped: it reaches the caller as its own type, with a note that names the
stage and the item, and the traceback of the worker as its ``__cause__`` (behind the causes that the user's code has
given it). Its notes, ``__cause__`` and ``__context__`` arrive with it.
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool


class PardataError(Exception):
    """Base of all errors of this package.

    Examples
    --------
    >>> try:
    ...     pardata.zeros(-1)
    ... except pardata.PardataError as error:
    ...     print(error)
    negative dimensions are not allowed: -1
    """


class ConfigError(PardataError, ValueError):
    """Arguments are wrong; raised before anything is started.

    Examples
    --------
    >>> pardata.zeros(3, object)
    Traceback (most recent call last):
    pardata.errors.ConfigError: an array of object holds Python objects or pointers: it cannot be shared
    """


class LossError(ConfigError, TypeError):
    """Values cannot be kept as they are: a mask, a unit, missing values or the dtype would be lost.

    Examples
    --------
    >>> import numpy as np
    >>> pardata.array(np.ma.masked_equal([1, 2], 2))
    Traceback (most recent call last):
    pardata.errors.LossError: pardata.array got a masked array, and its mask would be lost: give its data filled, ...
    """


class PlanError(ConfigError):
    """A graph of streams cannot be run as it is; the text names the stage and the reason. Nothing was started.

    Examples
    --------
    >>> numbers, others = pardata.source([1, 2]), pardata.source([3, 4])
    >>> pardata.zip(numbers, others).run()  # items of two sources have no numbers in common
    Traceback (most recent call last):
    pardata.errors.PlanError: zip ... pairs items by their number, so its streams must come from the same source, ...
    """


class ClosedError(PardataError):
    """An object was closed before this use: a look-up, a writer, a file or a manager.

    Examples
    --------
    >>> with pardata.SharedMemoryManager("an address") as manager:
    ...     pass
    >>> manager.SharedMemory(100)
    Traceback (most recent call last):
    pardata.errors.ClosedError: the manager 'an address' has been shut down
    """


class BrokenError(PardataError):
    """A connection or a process was ended by the other side or by the operating system.

    Its subclasses name the usual cases; a look-up whose maker has ended raises it as it is.

    Examples
    --------
    >>> issubclass(pardata.WorkerLostError, pardata.BrokenError)
    True
    """


class WorkerLostError(BrokenError, BrokenProcessPool):
    """A worker process died, and its work could not be redone.

    Attributes
    ----------
    items : range or None
        Numbers of the items (of `map_array`: rows) that the worker worked on, if a task of a pool was lost.
    status : int or None
        Exit code of the process, or minus the number of the signal that ended it.
    peak_bytes : int, bytes, or None
        The most physical memory that the process had.

    Examples
    --------
    >>> import os
    >>> with pardata.WorkerPool(1) as pool:
    ...     error = pool.submit(os._exit, 3).exception()
    >>> type(error).__name__, error.status
    ('WorkerLostError', 3)
    """

    items: range | None = None
    status: int | None = None
    peak_bytes: int | None = None


class ChecksumError(BrokenError):
    """Data in a file differ from what was written: the file is damaged or cut off. The text names the file.

    Examples
    --------
    >>> issubclass(pardata.ChecksumError, pardata.BrokenError)
    True
    """


class CapacityError(PardataError, MemoryError):
    """A limit of memory, descriptors or processes would be passed; nothing was allocated.

    The text says how much was needed, how much is free, and which limit to raise; for a memory limit also which stages
    or workers hold the rest.

    Examples
    --------
    >>> pardata.SharedMemory(create=True, size=1 << 60)
    Traceback (most recent call last):
    pardata.errors.CapacityError: a block of 1152921.5 TB (1152921504606846976 bytes) does not fit: ...
    """


class StaleBlockError(PardataError):
    """A block or a file was released, replaced or changed before this use.

    Receivers of a `SharedArray` get it if its owner was killed, or has deleted the array, before they opened it.

    Examples
    --------
    >>> issubclass(pardata.StaleBlockError, pardata.PardataError)
    True
    """


class SerializationError(PardataError, TypeError):
    """An object cannot be sent to another process: it cannot be pickled, or not unpickled there.

    Examples
    --------
    >>> import threading
    >>> with pardata.WorkerPool(1) as pool:
    ...     pool.submit(print, threading.Lock()).result()
    Traceback (most recent call last):
    pardata.errors.SerializationError: ...
    """


class DeadlineExceeded(PardataError, TimeoutError):
    """An awaited result or event did not come in time: `timeout_s=` of a task, an item, a queue or a service.

    Examples
    --------
    >>> issubclass(pardata.DeadlineExceeded, TimeoutError)
    True
    """


class MissingExtraError(PardataError, ImportError):
    """An optional package is not installed; the text names it and the command that installs it.

    Examples
    --------
    >>> issubclass(pardata.MissingExtraError, ImportError)
    True
    """


class PlatformError(PardataError, NotImplementedError):
    """This operating system lacks a facility; the text names it, and what can be used instead.

    Examples
    --------
    >>> issubclass(pardata.PlatformError, NotImplementedError)
    True
    """


class InternalError(PardataError):
    """A bug in pardata: an event or a state that cannot occur. Please report it with its text, which has the history.

    Examples
    --------
    >>> issubclass(pardata.InternalError, pardata.PardataError)
    True
    """


class RemoteTraceback(Exception):
    """The traceback of a worker as text: the last ``__cause__`` of an error that was raised there.

    Attributes
    ----------
    text : str
        The traceback, as Python prints it.

    Examples
    --------
    >>> with pardata.WorkerPool(1) as pool:
    ...     error = pool.submit(int, "x").exception()
    >>> type(error.__cause__).__name__, error.__cause__.text.splitlines()[-1]
    ('RemoteTraceback', "ValueError: invalid literal for int() with base 10: 'x'")
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class RemoteError(PardataError):
    """Stands in for an exception that could not be pickled or unpickled; its text has the type's name and text.

    In an `ExceptionGroup` or a chain of causes it stands for the one that could not be; the others are themselves.

    Examples
    --------
    >>> import threading
    >>> def fail(number):
    ...     raise ValueError(threading.Lock())
    >>> with pardata.WorkerPool(1) as pool:
    ...     print(type(pool.submit(fail, 0).exception()).__name__)
    RemoteError
    """
