"""The globals of functions that travel by value, in a worker: one set for all that come from one module, as there.

No other process has the module ``__main__``, so functions of the user's script travel by value (`codec.by_value`), each
with the globals that it uses. In a worker they share one dictionary, so all of them see a value that an initializer has
stored. The same is true of other modules that go by value, whose globals are those of a module of that name, and of
attributes that were set in the user's modules (`modules.look`).
Each global comes with a mark of its contents and is set when the mark differs from that of the last time; otherwise the
worker's own value stays. Values with large arrays lie in memory that is theirs only as long as tasks name their
function: those of the task at hand are set each time, unless code of the worker has bound the name anew.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from pardata.errors import SerializationError
from pardata.modules.own import SCRIPTS, reach
from pardata.modules.plain import is_equal

_CONTAINERS: Final = (list, dict, set, bytearray, deque, np.ndarray)

_ABSENT: Final = object()

# By module and name, or class.attribute: mark (b"": unknown), value, whether it lies in blocks.
Captured = dict[tuple[str, str], tuple[bytes, Any, bool]]


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
        self._marks: dict[tuple[str, str], bytes] = {}
        self._given: dict[tuple[str, str], Any] = {}  # values as they have come
        self._kept: set[tuple[str, str]] = set()
        self._recorded: Captured | None = None

    def globals_of(self, module: str) -> dict[str, Any]:
        """Return the globals of a module."""
        return self.globals if module in SCRIPTS else vars(module_of(module, module in reach.by_value))

    def keep(self, attributes: Iterable[tuple[str, str]]) -> None:
        """Note attributes of modules that code of this worker assigns: from now on they are its own."""
        self._kept.update(attributes)

    def receive(self, sender: int, captured: Captured) -> None:
        """Take the globals of a function that has arrived."""
        if sender == self._owner:
            if self._recorded is not None:
                self._recorded.update(captured)
            self.apply(captured)
            return
        for (module, name), (_, value, _) in captured.items():
            self.globals_of(module).setdefault(name, value)

    def apply(self, captured: Captured) -> None:
        """Set those globals that were other ones the last time."""
        for key, (mark, value, is_placed) in captured.items():
            module, name = key
            is_script = module in SCRIPTS
            names = self.globals if is_script else self.globals_of(module)
            owner = None
            if "." in name:
                owner, name = _owner_of(names, name)
                names = vars(owner)
            current = names.get(name, _ABSENT)
            is_known = mark and self._marks.get(key) == mark
            if is_known and (current is not self._given.get(key) or not (is_placed or _is_bare(current))):
                continue
            if not is_script and current is not _ABSENT and (key in self._kept or is_equal(current, value)):
                value = current
            self._marks[key] = mark
            self._given[key] = value
            if owner is None:
                names[name] = value
            elif value is not current:
                setattr(owner, name, value)

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


def _owner_of(names: dict[str, Any], path: str) -> tuple[Any, str]:
    """Return a class among globals, or a class in it, and the name of an attribute of it."""
    first, *inner, name = path.split(".")
    return functools.reduce(getattr, inner, names[first]), name


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


def module_of(name: str, may_make: bool = True) -> types.ModuleType:
    """Return a module. If this process cannot import it, an empty one that can be filled, or the error is raised."""
    found = sys.modules.get(name)
    if found is not None:
        return found
    try:
        return importlib.import_module(name)
    except Exception:
        if not may_make:
            raise
    reach.add_by_value({name})
    made = sys.modules[name] = types.ModuleType(name)
    parent, _, last = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], last, made)
    return made


def script_globals(basics: dict[str, Any]) -> dict[str, Any]:
    """Return the globals of functions that are being unpickled; `basics`: ``__name__`` and the like."""
    if _script is None:
        return basics
    name = basics["__name__"]
    found = _script.globals if name in SCRIPTS else vars(module_of(name))
    for name, value in basics.items():
        found.setdefault(name, value)
    return found


def set_function(function: Any, state: tuple[Callable[[Any, Any], None], Any, Captured, int]) -> None:
    """Give a function that is being unpickled its state, and its globals their values."""
    setter, own, captured, sender = state
    if _script is not None:
        _script.receive(sender, captured)
    else:
        function.__globals__.update((name, value) for (_, name), (_, value, _) in captured.items())
    setter(function, own)


def set_module(module: types.ModuleType, state: tuple[Captured, int]) -> None:
    """Fill a module that goes by value. In a process that is no worker it is there, and stays as it is."""
    captured, sender = state
    if _script is not None:
        _script.receive(sender, captured)
