"""The functions, classes and module attributes that a function uses, directly or by way of others.

A function of a module that a worker can import goes by its name. What it finds there may be something else than here:
the module was reloaded, edited or patched since its import, or an attribute was set at run time. `look` follows a
function through the user's modules and returns its `Reads`: the attributes that a worker is to get from here, and what
tells quickly whether any of that has changed.
"""

from __future__ import annotations

import types
from typing import Any, Final

import numpy as np

from pardata.modules.names import parts_of
from pardata.modules.own import is_of_user, reach
from pardata.modules.plain import is_simple
from pardata.modules.reads import NOTHING, Reads, in_order
from pardata.modules.walk import MOST_PARTS, reads_of

_OPAQUE: Final = (type, types.BuiltinFunctionType, np.ufunc, np.ndarray)


def look(root: Any) -> Reads:
    """Return what a function, or any object that holds functions, uses of the user's modules."""
    reach.refresh()
    if not reach.own:
        return NOTHING
    found = [reads for leaf in _code_in(root) if (reads := reads_of(leaf)) is not NOTHING]
    if len(found) < 2:
        return found[0] if found else NOTHING
    joined = Reads()
    for each in found:
        joined.add(each)
    joined.sent = in_order(joined.sent)
    return joined


def _code_in(root: Any) -> list[Any]:
    """Return the functions and the user's classes that are parts of an object; itself if it is one."""
    found: dict[int, Any] = {}
    seen: dict[int, Any] = {}
    waiting = [root]
    while waiting and len(seen) < MOST_PARTS:
        part = waiting.pop()
        if type(part) is types.FunctionType or (isinstance(part, type) and is_of_user(part)):
            found[id(part)] = part
        elif id(part) not in seen and not is_simple(part) and not isinstance(part, _OPAQUE):
            seen[id(part)] = part
            waiting += parts_of(part)
    return list(found.values())
