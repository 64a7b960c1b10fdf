"""The globals of the user's script in a worker: one set for all functions that come from there, as in the script.

No other process has the module ``__main__``, so its functions travel by value (`codec.by_value`), each with the
globals that it uses. In a worker they share one dictionary, so all of them see a value that an initializer has stored.
Each global comes with a mark of its contents and is set when the mark differs from that of the last time; otherwise the
worker's own value stays. Values with large arrays lie in memory that is theirs only as long as tasks name their
function: those of the task at hand are set each time, unless code of the worker has bound the name anew.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from pardata.errors import SerializationError

SCRIPTS: Final = ("__main__", "__mp_main__")  # the second: in processes that multiprocessing has spawned

_CONTAINERS: Final = (list, dict, set, bytearray, deque, np.ndarray)

Captured = dict[str, tuple[bytes, Any, bool]]  # globals by name: mark (b"": unknown), value, whether it lies in blocks


class Script:
    """The globals of the script in a worker. Values of its owner replace older ones; those of others only fill gaps.

    Parameters
    ----------
    owner : int
        The process that has started this worker.
    """

    def __init__(self, owner: int) -> None:
        self.globals: dict[str, Any] = {}
        self._owner = owner
        self._marks: dict[str, bytes] = {}
        self._given: dict[str, Any] = {}  # values as they have come
        self._recorded: Captured | None = None

    def receive(self, sender: int, captured: Captured) -> None:
        """Take the globals of a function that has arrived."""
        if sender == self._owner:
            if self._recorded is not None:
                self._recorded.update(captured)
            self.apply(captured)
            return
        for name, (_, value, _) in captured.items():
            self.globals.setdefault(name, value)

    def apply(self, captured: Captured) -> None:
        """Set those globals that were other ones the last time."""
        for name, (mark, value, is_placed) in captured.items():
            if mark and self._marks.get(name) == mark:
                current = self.globals.get(name)
                if current is not self._given.get(name) or not (is_placed or _is_bare(current)):
                    continue
            self._marks[name] = mark
            self.globals[name] = self._given[name] = value

    @contextlib.contextmanager
    def recording(self) -> Iterator[Captured]:
        """Give a dictionary of the globals that arrive within: `apply` can set them again."""
        self._recorded = {}
        try:
            yield self._recorded
        finally:
            self._recorded = None

    def find(self, name: str) -> Any:
        """Return an object of the script that a pickle names."""
        first, *rest = name.split(".")
        try:
            found = self.globals[first]
            for part in rest:
                found = getattr(found, part)
        except (KeyError, AttributeError):
            raise SerializationError(
                f"{name!r} of the script was pickled by its name, and a worker process does not have the script: put "
                "it into a module of its own and import it from there"
            ) from None
        return found


def _is_bare(value: object) -> bool:
    """Return whether an object has no contents that could have been changed: a sentinel object, a function.

    It is replaced as well: a default of a function that has come later must be the same object as the global.
    """
    return type(value) is object or (getattr(value, "__dict__", None) == {} and not isinstance(value, _CONTAINERS))


_script: Script | None = None


def open_script(owner: int) -> None:
    """Say that this process is a worker."""
    global _script
    _script = Script(owner)


def script() -> Script | None:
    """Return the globals of the script in this worker; None in a process that is no worker."""
    return _script


def script_globals(basics: dict[str, Any]) -> dict[str, Any]:
    """Return the globals of functions that are being unpickled; `basics`: ``__name__`` and the like."""
    if _script is None:
        return basics
    for name, value in basics.items():
        _script.globals.setdefault(name, value)
    return _script.globals


def set_function(function: Any, state: tuple[Callable[[Any, Any], None], Any, Captured, int]) -> None:
    """Give a function that is being unpickled its state, and its globals their values."""
    setter, own, captured, sender = state
    if _script is not None and function.__globals__ is _script.globals:
        _script.receive(sender, captured)
    else:
        function.__globals__.update((name, value) for name, (_, value, _) in captured.items())
    setter(function, own)
