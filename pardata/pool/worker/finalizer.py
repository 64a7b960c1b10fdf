"""A pool's finalizer: called in every worker that ends in peace."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

from pardata.process import forked_child
from pardata.process.forked_child import leave_if_forked


def finalize(finalizer: Callable[..., object] | None, finalargs: tuple[Any, ...]) -> None:
    """Call it, if there is one. Its error is shown, as nobody waits for it, and has no other consequence."""
    if finalizer is None:
        return
    here = forked_child.generation
    try:
        finalizer(*finalargs)
        leave_if_forked(here)
    except BaseException as error:  # as SystemExit: the worker ends anyway
        leave_if_forked(here, error)
        sys.stderr.write("the pool's finalizer raised:\n" + "".join(traceback.format_exception(error)))
