"""Finds the part of a function or an object that cannot be pickled."""

from __future__ import annotations

import functools
import inspect
import io
import mmap
import socket
import types
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from pardata.codec.by_value import dumps
from pardata.codec.exits import EXITS
from pardata.data.registry import is_of_format

_DEEPEST: Final = 8

# Handles of what belongs to one process, and what is sent in their place.
_WAYS: Final = (
    (io.IOBase, "an open file: send its path, and open it there"),
    (mmap.mmap, "a mapped file: send its path, or a numpy.memmap, which is opened there by its path"),
    (socket.socket, "a connection: send the address, and connect there"),
    (types.GeneratorType, "a running function: send its items, as a list"),
    (
        types.CoroutineType,
        "what a coroutine function returns and nobody awaits: call asyncio.run in the function",
    ),
    (np.ufunc, "a ufunc that was made at run time: use numpy.vectorize, or make it in the function"),
)


def is_picklable(obj: object) -> bool:
    """Return whether `obj` can be pickled, by value where need be."""
    try:
        dumps(obj)
    except Exception:
        return False
    return True


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    """Yield what `obj` would take along: (where it is, part)."""
    if inspect.ismethod(obj):
        yield "its object", obj.__self__
        return
    if inspect.isfunction(obj):
        for name, cell in zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True):
            yield f"the captured variable {name!r}", cell.cell_contents
        for name in obj.__code__.co_names:
            if name in obj.__globals__:
                yield f"the global variable {name!r}", obj.__globals__[name]
        for index, value in enumerate(obj.__defaults__ or ()):
            yield f"default value {index}", value
        return
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield f"key {key!r}", value
        return
    if isinstance(obj, list | tuple | set):
        for index, value in enumerate(obj):
            yield f"element {index}", value
        return
    if isinstance(obj, functools.partial):
        yield "the function of the partial", obj.func
        yield "the arguments of the partial", (*obj.args, *obj.keywords.values())
    if not isinstance(obj, type):  # of a class, that is the method of its objects
        try:
            obj.__reduce_ex__(5)
        except (Exception, *EXITS):
            return  # it refuses by itself: its attributes are not the reason
    for name, value in getattr(obj, "__dict__", {}).items():
        yield f"the attribute {name!r}", value


def why_unpicklable(obj: object) -> str | None:
    """Return why `obj` cannot be pickled; None if it can."""
    try:
        dumps(obj)
    except Exception as error:
        return f"{explain_unpicklable(obj)} ({error})"
    return None


def explain_unpicklable(obj: object) -> str:
    """Return which part of `obj` cannot be pickled, as a path from the outside in."""
    path: list[str] = []
    for _ in range(_DEEPEST):
        try:
            culprit = next(((where, part) for where, part in _parts(obj) if not is_picklable(part)), None)
        except ValueError:  # an empty cell
            culprit = None
        if culprit is None:
            break
        where, obj = culprit
        path.append(where)
    kind = f"{type(obj).__module__}.{type(obj).__qualname__}".removeprefix("builtins.")
    way = next((f", as it is {way}" for kinds, way in _WAYS if isinstance(obj, kinds)), "")
    if not way and is_of_format(obj):
        way = ", as it is part of an open file: send its path, and call pardata.open(path, key=...) in the function"
    return f"{' -> '.join(path) or 'it'} is a {kind}, which cannot be pickled{way}"
