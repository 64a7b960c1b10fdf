"""The parts of the user's modules that a function uses, as they were when it was looked at."""

from __future__ import annotations

import operator
import sys
import types
from itertools import chain, repeat
from typing import Any, Final

from pardata.modules.changes import source_of
from pardata.modules.source import ModuleSource

Attribute = tuple[str, str]  # a module, and a name in it

ABSENT: Final = object()  # the value of an attribute that a module does not have

_values_of: Final = operator.methodcaller("values")
_code_of: Final = operator.attrgetter("__code__")


class Reads:
    """The parts of the user's modules that a function uses.

    Attributes
    ----------
    sent : dict
        By (module, name): the attributes that a worker is to have as they are here.
    modules : list
        Those that travel whole, by value.
    kept : set of (module, name)
        The attributes that the function assigns itself: those of a worker are its own.
    """

    def __init__(self) -> None:
        # Parallel lists, so that `is_same` takes few calls.
        self.sent: dict[Attribute, Any] = {}
        self.modules: list[types.ModuleType] = []
        self.kept: set[Attribute] = set()
        self.dicts: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.values: list[Any] = []
        self.functions: list[types.FunctionType] = []
        self.codes: list[types.CodeType] = []
        self.classes: list[type] = []
        self.members: list[Any] = []
        self.contents: list[Any] = []  # of containers that may be changed in place
        self.copies: list[Any] = []
        self.sources: dict[str, tuple[ModuleSource, bool]] = {}  # and whether it was edited

        self.marks: dict[Attribute, Any] = {}  # of those of `sent` that can be changed by nobody unnoticed

    def add(self, other: Reads) -> None:
        """Take in what another function uses."""
        self.sent |= other.sent
        self.kept |= other.kept
        self.sources |= other.sources
        self.modules += [module for module in other.modules if module not in self.modules]
        for ours, theirs in zip(self._lists(), other._lists(), strict=True):
            ours += theirs

    def _lists(self) -> list[list[Any]]:
        lists: list[list[Any]] = [self.dicts, self.names, self.values, self.functions, self.codes]
        return [*lists, self.classes, self.members, self.contents, self.copies]

    def is_same(self) -> bool:
        """Return whether nothing of it has changed. Few calls, however much there is: each submit asks."""
        return (
            all(map(operator.is_, map(dict.get, self.dicts, self.names, repeat(ABSENT)), self.values))
            and all(map(operator.is_, map(_code_of, self.functions), self.codes))
            and self.contents == self.copies
            and (not self.classes or self._has_same_members())
        )

    def _has_same_members(self) -> bool:
        members = list(chain.from_iterable(map(_values_of, map(vars, self.classes))))
        return len(members) == len(self.members) and all(map(operator.is_, members, self.members))

    def is_as_in_files(self) -> bool:
        """Return whether no file of these modules was edited since they were looked at."""
        return all(
            source_of(source.module) is source and source.edited == was_edited
            for source, was_edited in self.sources.values()
        )


NOTHING: Final = Reads()


def in_order(sent: dict[Attribute, Any]) -> dict[Attribute, Any]:
    """Return attributes in the order in which workers can import their modules, also if these import each other.

    `sys.modules` has a module behind those that it has imported, so they begin at its end.
    """
    order = {name: place for place, name in enumerate(sys.modules)}
    return dict(sorted(sent.items(), key=lambda entry: -order.get(entry[0][0], 0)))
