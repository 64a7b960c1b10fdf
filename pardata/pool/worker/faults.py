"""Errors of the user's function, as a worker describes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from pardata.modules.function_name import function_name
from pardata.runtime.faults import NO_ITEM, Fault, exit_as_error
from pardata.runtime.read_only import explain_read_only

_WORKER: Final = os.path.dirname(__file__)
_OWN: Final = (_WORKER, os.path.join(os.path.dirname(_WORKER), "arrays"))


def fault_of(error: BaseException, fn: Callable[..., Any], number: int = -1, item: object = NO_ITEM) -> Fault:
    """Describe an error of the user's function, without the pool's own files in its traceback.

    Parameters
    ----------
    number, item
        Of the item that the call was for; a single call has no number, and its item is its arguments.
    """
    error = _explained(error, item, "say writable=True to the pool or its map, for copies of its own", "the item")
    name = function_name(fn)
    return Fault.of(error, name, number, item, place=f"the call of {name!r}")


def fault_of_rows(error: BaseException, fn: Callable[..., Any], inputs: list[Any], begin: int, end: int) -> Fault:
    """Describe an error of a function of rows; `inputs` are the whole arrays, and the call was for ``[begin, end)``."""
    given = inputs if len(inputs) > 1 else inputs[0]
    error = _explained(error, given, "have foreach_array(fn, array) change an array in place", "the block")
    name = function_name(fn)
    return Fault.of(error, name, place=f"the call of {name!r} for rows {begin} to {end}")


def _explained(error: BaseException, item: object, way_out: str, name: str) -> BaseException:
    try:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OWN):
            trace = trace.tb_next
        error = exit_as_error(error.with_traceback(trace))
        explain_read_only(error, item, way_out, name)
    except Exception as failure:  # the class of the error does not let us look at it
        return failure
    return error
