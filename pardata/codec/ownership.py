"""Sole ownership of objects: an array that nothing else holds need not be copied, since nothing else can write to it.

CPython counts the references to an object. The count of an object with a single owner depends on how it is reached and
on the version: from 3.14 on a variable lends its object to a call without counting it, before that it does not. So the
question is asked in two shapes only, for an element of a list and for the base of an array, each by one function of
this file, and their counts are measured on the interpreter that runs. The probes are objects with a single owner, and
objects that something else holds in each way that user code can. If the counts do not tell the two apart, no object is
taken for solely owned: everything is copied then, which is slower and right.

A caller must not have the object in a variable of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple
from weakref import getweakrefcount

import numpy as np

from pardata.memory.array import Anchor
from pardata.memory.shared_array import is_array

Array = np.ndarray[Any, Any]
Items = list[Any]
Find = Callable[[Items], Any]  # the object in question
Count = Callable[[Items], int]  # its references, in one of the two shapes

_CONTAINERS: Final = (list, tuple, dict)
_MOST_PARTS: Final = 500  # looked at in 30 us, in which 300 KB are copied
_ROUNDS: Final = 40  # a function that has run some times is specialized: it must count alike before and after
_MOST: Final = 2  # the owner's reference, and that of the call which counts
_OFF: Final = 0  # no object that can be asked about has so few references


class Sole(NamedTuple):
    """The counts of an object with a single owner in each shape; that of a generator's variable on top; 0: unknown."""

    element: int
    base: int
    variable: int


def _count_element(items: Items, index: int) -> int:
    return sys.getrefcount(items[index])


def _count_base(array: Any) -> int:
    return sys.getrefcount(array.base)


# -- the questions -----------------------------------------------------------------------------------------------------


def is_sole_owner(items: Items, index: int = -1) -> bool:
    """Return whether nothing but `items` holds ``items[index]``."""
    return not getweakrefcount(items[index]) and _count_element(items, index) == sole.element


def is_held_by(items: Items, index: int, holders: int) -> bool:
    """Return whether only `items` and so many other objects, which the caller knows of, hold ``items[index]``."""
    if sole.element == _OFF or getweakrefcount(items[index]):
        return False
    return _count_element(items, index) == sole.element + holders


def is_sole_owner_of_base(array: Any) -> bool:
    """Return whether nothing but `array` holds its base."""
    return not getweakrefcount(array.base) and _count_base(array) == sole.base


def places_in(items: Items) -> dict[int, int]:
    """Return how often each array stands in lists, tuples and dicts, by its id.

    They are followed from `items` on, each held by nothing but what it stands in. An array that something else holds as
    well has more references than places. A message of very many parts is not looked through to its end: the look would
    take longer than the copies.
    """
    found: dict[int, int] = {}
    containers: dict[int, list[Any]] = {}  # each with its places so far
    waiting: list[Any] = [items]
    seen = 0
    while waiting and seen < _MOST_PARTS:
        holder = waiting.pop()
        if len(holder) > _MOST_PARTS:
            continue
        seen += len(holder)
        part: Any = None
        met: list[list[Any]] = []
        for part in holder.values() if type(holder) is dict else holder:
            if type(part) is np.ndarray:
                found[id(part)] = found.get(id(part), 0) + 1
            elif type(part) in _CONTAINERS:
                met.append(containers.setdefault(id(part), [part, 0]))
                met[-1][1] += 1
        del part, holder  # references are counted
        for container in met:
            if is_held_by(container, 0, container[1]):
                waiting.append(container[0])
    return found


def is_sole_view(array: Any, known: int) -> bool:
    """Return whether nothing but `array` holds its block or an array between the two. Others may hold `array` itself.

    `known` is the number of further references to the block's anchor that the caller knows of.
    """
    while is_array(array.base):
        if not is_sole_owner_of_base(array):
            return False
        array = array.base
    is_block = type(array.base) is Anchor and array.base.drop is not None  # not a part of one
    return is_block and sole.base != _OFF and _count_base(array) == sole.base + known


def is_owned_with(generator: object, items: Items, index: int) -> bool:
    """Return whether only `items` and one variable of a suspended generator hold an item that the generator yielded."""
    frame = getattr(generator, "gi_frame", None)
    if frame is None or sole.variable == _OFF or getweakrefcount(items[index]):
        return False
    if _count_element(items, index) != sole.element + sole.variable:
        return False
    variables = frame.f_locals
    found = any(value is items[index] for value in variables.values())
    if isinstance(variables, dict):
        variables.clear()  # before Python 3.13 a copy that the frame keeps, and with it the array
    return found


# -- the counts of this interpreter ------------------------------------------------------------------------------------


def _make() -> Array:
    made = np.empty(1)
    return made


def _make_view() -> Array:
    return _make()[:]


def _yields_argument(array: Array) -> Generator[Array, None, None]:
    yield array


def _yields_variable() -> Generator[Array, None, None]:
    made = np.empty(1)
    yield made


class _Object:
    def __init__(self, held: object) -> None:
        self.held = held


def _closure(held: object) -> Callable[[], object]:
    return lambda: held


def _suspended(held: Array) -> Generator[Array, None, None]:
    generator = _yields_argument(held)
    next(generator)
    return generator


# The ways in which user code can hold an array, besides variables: each returns the holder.
_HOLDERS: Final[tuple[Callable[[Any], object], ...]] = (
    _Object,
    _closure,
    _suspended,
    _yields_argument,  # not started
    memoryview,
    lambda held: [held],
    lambda held: held[:],
)


def _count_with_argument(held: object, items: Items, count: Count) -> int:
    return count(items)


def _counts_if_held(items: Items, find: Find, count: Count) -> list[int]:
    """Return the counts of an object that something else holds as well, in each way; first by a variable."""
    held = find(items)
    counts = [count(items), _count_with_argument(held, items, count)]
    del held
    for hold in _HOLDERS:
        holder = hold(find(items))
        counts.append(count(items))
        del holder
    return counts


def _measure_shape(make: Callable[[], Array], find: Find, count: Count) -> int:
    """Return the count of an object with a single owner; 0 if one that is held by others may have the same count."""
    alone, variable, held = set(), set(), set()
    for _ in range(_ROUNDS):
        alone.add(count([make()]))
        counts = _counts_if_held([make()], find, count)
        variable.add(counts[0])
        held.update(counts)
    owned = min(alone)
    return owned if alone == {owned} and owned <= _MOST and variable == {owned + 1} and min(held) > owned else _OFF


def _measure_generator(element: int) -> int:
    """Return the count that the variable of a suspended generator adds to the object it yielded; 0 if that varies."""
    found = set()
    for _ in range(_ROUNDS):
        generator = _yields_variable()
        items = [next(generator)]
        found.add(_count_element(items, 0) - element)
    return 1 if element != _OFF and found == {1} else _OFF


def _may_differ_later() -> bool:
    """Return whether this interpreter may count otherwise later than it does now.

    Threads without a lock count apart from each other, and a compiler may leave out counts that the interpreter makes.
    """
    jit = getattr(sys, "_jit", None)
    return "free-threading" in sys.version or (jit is not None and jit.is_enabled())


def measure() -> Sole:
    """Return the counts of objects with a single owner on this interpreter."""
    if _may_differ_later() or not hasattr(sys, "getrefcount"):
        return Sole(_OFF, _OFF, _OFF)
    element = _measure_shape(_make, lambda items: items[0], lambda items: _count_element(items, 0))
    base = _measure_shape(_make_view, lambda items: items[0].base, lambda items: _count_base(items[0]))
    return Sole(element, base, _measure_generator(element))


sole: Sole = measure()  # when this file is imported: workers are forked from a process that has
