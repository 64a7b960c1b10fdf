"""The items of a queue, until somebody puts the last one."""

from __future__ import annotations

import enum
import inspect
import pickle
import queue
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from pardata.errors import ConfigError, WorkerLostError
from pardata.queue.forms import EndOfQueueError

# A thread that waits for an item looks this often whether its run is over: of most queues nothing else can wake it.
_LOOK_S: Final = 0.1
_ENDS: Final = (EndOfQueueError, getattr(queue, "ShutDown", EndOfQueueError))  # the latter came with Python 3.13
_COMPARED: Final = (str, bytes, int, float, enum.Enum, np.generic)  # by ==; all else by identity


def is_queue(items: object) -> bool:
    """Return whether `items` is a queue whose `get` takes a timeout, or the proxy of one."""
    return (
        callable(getattr(items, "get_nowait", None))
        and callable(getattr(items, "put", None))
        and not hasattr(items, "__iter__")
        and not inspect.iscoroutinefunction(items.get)  # type: ignore[attr-defined]
    )


class QueueItems:
    """The items of a queue up to the first one that is `until`.

    Parameters
    ----------
    items : queue.Queue, multiprocessing.Queue, pardata.Queue or their like
    until : object
        None, a text, a number, a member of an enum, or another object that keeps its identity on its way.

    Raises
    ------
    ConfigError
        `until` would not be recognized.
    """

    def __init__(self, items: Any, until: Any) -> None:
        self._queue = items
        self._until = until
        crosses = not isinstance(items, queue.Queue | queue.SimpleQueue)
        if until is not None and not isinstance(until, _COMPARED) and crosses and not _keeps_identity(until):
            raise ConfigError(
                f"source({type(items).__name__}, until={type(until).__name__}): what another process puts arrives as a "
                f"copy, which is not this object: take None, a text or a number"
            )

    def __iter__(self) -> Iterator[Any]:
        return self.reading(_go_on)

    def reading(self, poll: Callable[[], None]) -> Iterator[Any]:
        """Yield the items; `poll` is called while there are none, and may raise."""
        until, get = self._until, self._queue.get
        while True:
            try:
                item = get(timeout=_LOOK_S)
            except _ENDS:
                return
            except queue.Empty:
                poll()
                continue
            except (EOFError, OSError) as error:
                if _is_proxy(self._queue):
                    # Without its frames: the garbage collector complains of a buffer that multiprocessing's have.
                    raise WorkerLostError(
                        "the manager whose queue this source reads has ended, or was killed; the items that were still "
                        "in the queue are lost with it"
                    ) from error.with_traceback(None)
                if isinstance(error, EOFError):  # nobody is left who could put
                    return
                raise
            if item is until or (isinstance(until, _COMPARED) and isinstance(item, _COMPARED) and item == until):
                return
            yield item
            del item


def _go_on() -> None:
    """Do nothing: a serial run waits in the thread that Ctrl-C interrupts."""


def _is_proxy(items: object) -> bool:
    """Return whether a queue is in the process of a manager, which is then at the other end of a connection."""
    managers = sys.modules.get("multiprocessing.managers")  # whoever has a proxy has loaded them
    return managers is not None and isinstance(items, managers.BaseProxy)


def _keeps_identity(obj: object) -> bool:
    try:
        return pickle.loads(pickle.dumps(obj)) is obj
    except Exception:
        return False
