"""Explains an error about a read-only array: which array it is, and what makes it writable."""

from __future__ import annotations

import linecache
import re
import types
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from pardata.codec.access import contents_of
from pardata.runtime.carried_errors import text_of
from pardata.runtime.faults import NO_ITEM

_Named = tuple[str, Any]  # the name by which user code knows an array, and the array

_ABOUT: Final = re.compile(r"read-?only|WRITEBACKIFCOPY|WRITEABLE")
_MOST_PARTS: Final = 10_000  # of an item that are looked at
_COPY: Final = "change a copy (array.copy()), or"


def explain_read_only(error: BaseException, item: object, way_out: str, name: str = "the item") -> None:
    """Add notes to an error about a read-only array: the name of the array, and the two ways out.

    The array is one that the line of the innermost frame names and that is a part of the item or of the function's own
    state; if that cannot be told, all of those are named.

    Parameters
    ----------
    item : object
        The argument of the function; `NO_ITEM`: it is not known.
    way_out : str
        The way to get arrays that may be changed.
    name : str
        Of the item, for people.
    """
    if not isinstance(error, ValueError) or not _ABOUT.search(text_of(error)):
        return
    traces = _traces(error.__traceback__)
    received = list(_received(item, name))
    state = [named for trace in traces[:1] for named in _visible(trace.tb_frame)]
    if item is NO_ITEM:
        received, state = state, []
    state = [named for named in state if not _names([named[1]], received)]
    guilty = next((named for trace in reversed(traces) if (named := _in_line(trace, received + state))), None)
    arrays = [array for _, array in received + state] if guilty is None else guilty
    if names := _names(arrays, received):
        error.add_note(f"{names} is read-only, as others may read it as well. Two ways out: {_COPY} {way_out}")
    if names := _names(arrays, state):
        error.add_note(
            f"{names} is read-only: frozen or in shared memory, for all workers. Two ways out: {_COPY} leave it "
            "unfrozen, then each worker has its own"
        )


def _traces(trace: types.TracebackType | None) -> list[types.TracebackType]:
    traces = []
    while trace is not None:
        traces.append(trace)
        trace = trace.tb_next
    return traces


def _is_read_only(value: object) -> bool:
    return isinstance(value, np.ndarray) and not value.flags.writeable


def _names(arrays: list[Any], named: list[_Named]) -> str:
    """Return the names of the arrays that share memory with `arrays`."""
    found = [name for name, array in named if any(np.may_share_memory(array, one) for one in arrays)]
    return ", ".join(dict.fromkeys(found))


def _in_line(trace: types.TracebackType, known: list[_Named]) -> list[Any]:
    """Return the known arrays that the line at work names; all that are visible there if its text cannot be read."""
    visible = [named for named in _visible(trace.tb_frame) if _names([named[1]], known)]
    line = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    words = set(re.findall(r"\w+", line))
    return [array for name, array in visible if not line or re.findall(r"\w+", name)[-1] in words]


def _received(item: object, name: str) -> Iterator[_Named]:
    """Yield the read-only arrays of an item, which has this name."""
    waiting: list[_Named] = [(name, item)]
    for _ in range(_MOST_PARTS):
        if not waiting:
            return
        name, part = waiting.pop()
        if _is_read_only(part):
            yield name, part
        elif type(part) is dict:
            waiting += [(f"{name}[{key!r}]", value) for key, value in part.items()]
        elif (inner := contents_of(part)) is not None:
            waiting += [(f"{name}[{index}]", value) for index, value in enumerate(inner)]


def _visible(frame: types.FrameType) -> Iterator[_Named]:
    """Yield the read-only arrays that code names: variables, captured ones, globals, attributes of its object."""
    code, variables = frame.f_code, frame.f_locals
    captured = {f"the captured {name}": variables.get(name) for name in code.co_freevars}
    own = {f"the variable {name}": value for name, value in variables.items() if name not in code.co_freevars}
    used = {f"the global {name}": frame.f_globals.get(name) for name in code.co_names}
    attributes = {f"self.{name}": value for name, value in getattr(variables.get("self"), "__dict__", {}).items()}
    for name, value in {**captured, **own, **used, **attributes}.items():
        if _is_read_only(value):
            yield name, value
