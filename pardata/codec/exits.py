"""Exceptions that end programs, out of the user's code that pickles or unpickles an object: `__reduce__` and the like.

They are an error of that object. As they are they would end a worker, or the pool, of which others have work.
"""

from __future__ import annotations

import threading
from typing import Final

from pardata.codec.main_globals import script
from pardata.errors import SerializationError

EXITS: Final = (SystemExit, KeyboardInterrupt, GeneratorExit)
EXITS_AND_DEPTH: Final = (
    *EXITS,
    RecursionError,
)  # the last would not say that it is about an object, and which way leads out


def may_be_ctrl_c(error: BaseException) -> bool:
    """Return whether an exception may be a Ctrl-C: workers ignore it, and other threads do not get it."""
    return (
        isinstance(error, KeyboardInterrupt)
        and script() is None
        and threading.current_thread() is threading.main_thread()
    )


def refuse_exit(error: BaseException, action: str) -> None:
    """Raise SerializationError in place of an exception out of "pickling" or "unpickling"; a Ctrl-C is let pass."""
    if isinstance(error, RecursionError):
        raise SerializationError(
            f"{action} it takes more calls within calls than Python allows: its objects refer to each other too "
            f"deeply. Those of a mock (unittest.mock) often do: give a plain function in its place"
        ) from None
    if not may_be_ctrl_c(error):
        raise SerializationError(f"{action} it raised {error!r}") from error
