"""Tells the user's own modules from those of Python and of installed packages, and where a worker finds them.

A worker imports a module under its name, as this process has. Where the path does not lead to the file that this
process has loaded, the worker is told the file (`Reach.homes`). A module without a file, or whose file is gone, goes by
value (`Reach.by_value`), as the script does.
"""

from __future__ import annotations

import os
import pickle
import site
import sys
import sysconfig
import types
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from typing import Any, Final, TypeGuard

SCRIPTS: Final = ("__main__", "__mp_main__")  # the second: in processes that multiprocessing has spawned

_PACKAGE: Final = __name__.partition(".")[0]
_FOLDERS: Final = {"site-packages", "dist-packages"}

Home = tuple[str | None, list[str] | None]  # the file of a module, and where its submodules are


@cache
def _roots() -> tuple[str, ...]:
    """Return the folders of Python and of installed packages, each with a separator at its end."""
    paths = {
        *(sysconfig.get_paths().get(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
    return tuple(os.path.join(os.path.realpath(path), "") for path in paths if path)


@lru_cache(4096)
def _is_own_file(file: str) -> bool:
    file = os.path.realpath(file)
    return not (file.startswith(_roots()) or _FOLDERS.intersection(file.split(os.sep)))


def is_own(module: Any) -> TypeGuard[types.ModuleType]:
    """Return whether a module is the user's: not the script, and not a part of Python or of an installed package."""
    if type(module) is not types.ModuleType:
        return False
    names = vars(module)
    name, file, spec = str(names.get("__name__")), names.get("__file__"), names.get("__spec__")
    parent, _, _ = name.rpartition(".")
    if name in SCRIPTS or name.partition(".")[0] == _PACKAGE:
        return False
    if isinstance(file, str):
        return _is_own_file(file)
    if getattr(spec, "origin", None) in ("built-in", "frozen"):
        return False
    locations = list(getattr(spec, "submodule_search_locations", None) or ())
    if locations:
        return _is_own_file(locations[0])
    return is_own(sys.modules.get(parent)) if parent else True


def is_of_user(kind: type) -> bool:
    """Return whether a class is of the script, or of a module of the user's."""
    return kind.__module__ in SCRIPTS or is_own(sys.modules.get(kind.__module__))


def _directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return "/"


def is_installed(name: str) -> bool:
    """Return whether a module is a part of Python or of an installed package; pardata counts as the user's here."""
    if name in SCRIPTS or name.partition(".")[0] == _PACKAGE:
        return False
    return not is_own(sys.modules.get(name))


class Reach:
    """The user's modules to which the path does not lead.

    Attributes
    ----------
    homes : dict
        By name: the file, and the folders of submodules.
    by_value : frozenset of str
        Those that no process can import. A worker adds those that it has got.
    whole : frozenset of str
        Those of them that have no file, and travel with all that is in them.
    own : dict
        All of the user's modules that were there at the last look; `state`: tells whether that is old.
    places : bytes
        All that a worker needs to find modules, pickled: path, directory, homes, and the names of those by value.
    needles : tuple of bytes
        The same, as a pickle names them.
    """

    def __init__(self) -> None:
        self.homes: dict[str, Home] = {}
        self.by_value: frozenset[str] = frozenset()
        self.whole: frozenset[str] = frozenset()
        self.needles: tuple[bytes, ...] = ()
        self.places = b""
        self.own: dict[str, Any] = {}
        self._seen: set[str] = set()
        self.state: Any = None

    def refresh(self) -> None:
        """Look at modules that have come since the last time, and at all of the user's if the path is another one."""
        path = (tuple(sys.path), _directory())
        state = (len(sys.modules), path)
        if state == self.state:
            return
        new = set(sys.modules) - self._seen
        own = {name: module for name in new if is_own(module := sys.modules.get(name))}
        if self.state is not None and path != self.state[1]:
            own = {**{name: sys.modules[name] for name in self.own if name in sys.modules}, **own}
        self._seen |= new
        self.own |= own
        homes, by_value = dict(self.homes), set(self.whole)
        for name, module in own.items():
            homes.pop(name, None)
            if _leads_to(name, module):
                continue
            home = _home_of(module)
            if home is None:
                by_value.add(name)
            else:
                homes[name] = home
        for name in list(homes):
            _add_parents(name, homes, by_value)
        self.homes = homes
        self.state = state
        self.whole |= by_value
        self.add_by_value(by_value)
        self._pickle()

    def add_by_value(self, names: Iterable[str]) -> None:
        """Have what belongs to these modules go by value."""
        if not self.by_value.issuperset(names):
            self.by_value |= frozenset(names)
            self.needles = tuple(name.encode() for name in self.by_value)
            self._pickle()

    def _pickle(self) -> None:
        self.places = pickle.dumps((list(sys.path), _directory(), self.homes, sorted(self.by_value)), 5)


def _home_of(module: types.ModuleType) -> Home | None:
    """Return the home of a module that was imported from a file; `runpy.run_path` imports none, and runs a script."""
    file = vars(module).get("__file__")
    if vars(module).get("__spec__") is None or not (isinstance(file, str) and os.path.isfile(file)):
        return None
    locations = getattr(module, "__path__", None)
    return os.path.abspath(file), None if locations is None else [os.path.abspath(each) for each in locations]


def _leads_to(name: str, module: types.ModuleType) -> bool:
    """Return whether the path leads to the file that a module was loaded from."""
    parent, _, _ = name.rpartition(".")
    try:
        path = [os.path.abspath(each) for each in (sys.modules[parent].__path__ if parent else sys.path)]
        found = PathFinder.find_spec(name, path)
    except Exception:  # there is no such package, or a finder of the user's fails
        return False
    if found is None:
        return False
    file = vars(module).get("__file__")
    if found.origin is None or file is None:
        return found.origin is file and bool(found.submodule_search_locations)
    return os.path.realpath(found.origin) == os.path.realpath(str(file))


def _add_parents(name: str, homes: dict[str, Home], by_value: set[str]) -> None:
    """Make a package of each parent that is none on the disk: pytest makes such ones."""
    parent, _, _ = name.rpartition(".")
    while parent:
        if parent not in homes and (parent in by_value or parent not in sys.modules):
            homes[parent] = None, []
        parent, _, _ = parent.rpartition(".")


reach = Reach()
