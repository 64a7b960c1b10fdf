"""The pools that are open in this process: closed with it, and given up in its forked children."""

from __future__ import annotations

import os
import sys
from typing import Protocol

from pardata.process.system import at_fork


class OpenBackend(Protocol):
    """The part of a `Backend` that is about its end."""

    def close(self, wait: bool, kill: bool = False) -> None:
        """Take no more jobs; end when those that are here are done, or at once."""

    def end_now(self) -> None:
        """Close at once, and return when everything is gone: for a caller that was interrupted.

        Within seconds, and at once after another Ctrl-C; a third one is raised without a further wait. Threads that are
        at the user's code cannot be ended, and are not waited for.
        """

    def forget(self, error: BaseException) -> None:
        """In a forked child: wait for nothing of the parent's, and refuse with `error` what is asked for."""


# The backends whose threads run, also after their handles are gone. Not weak references: these have callbacks, which
# may be called in the main thread, and a Ctrl-C at that moment gets lost.
open_backends: set[OpenBackend] = set()


def _forget_all() -> None:
    while open_backends:
        told = f"it belongs to the process of which process {os.getpid()} was forked: make a pool here"
        open_backends.pop().forget(RuntimeError(told))


at_fork(after_in_child=_forget_all)


def close_all() -> None:
    """At the end of the interpreter wait for submitted tasks, unless an exception ends it."""
    failed = getattr(sys, "last_value", None) is not None
    for backend in list(open_backends):
        try:
            backend.close(wait=True, kill=failed)
        except KeyboardInterrupt:  # it is to end now, and a traceback would tell nothing
            failed = True
            backend.end_now()
