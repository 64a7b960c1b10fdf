"""Exceptions that end programs, out of the user's code that pickles or unpickles an object: `__reduce__` and the like.

They are an error of that object. As they are they would end a worker, or the pool, of which others have work.
"""

from __future__ import annotations

import threading
from typing import Final

from pardata.codec.main_globals import script
from pardata.errors import SerializationError

EXITS: Final = (SystemExit, KeyboardInterrupt, GeneratorExit)


def may_be_ctrl_c(error: BaseException) -> bool:
    """Return whether an exception may be a Ctrl-C: workers ignore it, and other threads do not get it."""
    return (
        isinstance(error, KeyboardInterrupt)
        and script() is None
        and threading.current_thread() is threading.main_thread()
    )


def refuse_exit(error: BaseException, action: str) -> None:
    """Raise SerializationError in place of one of `EXITS`, out of "pickling" or "unpickling"; a Ctrl-C is let pass."""
    if not may_be_ctrl_c(error):
        raise SerializationError(f"{action} it raised {error!r}") from error
