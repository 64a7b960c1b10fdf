"""A worker's side of `Reach.homes`: modules are found where the process that has started the worker has them."""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
import types
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import Final

from pardata.modules.own import Home, reach


class HomeFinder:
    """A finder for `sys.meta_path` that knows modules by their files."""

    def __init__(self) -> None:
        self.homes: dict[str, Home] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that has a home."""
        if name not in self.homes:
            return None
        file, locations = self.homes[name]
        if file is None:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = list(locations or ())
            return spec
        found = importlib.util.spec_from_file_location(name, file, submodule_search_locations=locations)
        if found is None:  # no suffix of a module
            loader = SourceFileLoader(name, file)
            found = importlib.util.spec_from_file_location(name, file, loader=loader)
        return found


_finder: Final = HomeFinder()
_followed: Final = [b""]


def follow(places: bytes) -> None:
    """Have this process find modules as another one does; `places`: see `Reach`."""
    if places == _followed[-1]:
        return
    _followed[-1] = places
    path, directory, homes, by_value = pickle.loads(places)
    if homes and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.homes |= homes
    reach.add_by_value(by_value)
    missing = [entry for entry in path if entry not in sys.path]
    sys.path[:0] = missing if directory == _here() else [os.path.join(directory, entry) for entry in missing]


def replace_other(name: str, file: str) -> None:
    """Have a module imported anew, from `file`, if the one that is known here is of another file.

    The calling process has let go of that one, and has imported this one under the same name.
    """
    known = getattr(sys.modules.get(name), "__file__", None)
    if known and os.path.realpath(known) != os.path.realpath(file):
        is_package = os.path.basename(file).startswith("__init__.")
        _finder.homes[name] = file, [os.path.dirname(file)] if is_package else None
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        del sys.modules[name]


def _here() -> str:
    """Return the working directory; "" if it was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
