"""A child that the user's code has forked in a worker is not a worker, though it has copies of the worker's channels.

It may print, and it ends where it returns from the user's function, with a result or with an exception: behind that
comes the worker's loop, in which nothing is the child's. The callers of user code compare `generation` before and
after. A child that returns elsewhere exits at its next step of the worker's port.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import Any, NoReturn

from pardata.process.system import at_fork

generation = 0  # the number of forks that have led to this process


def _count() -> None:
    global generation
    generation += 1


at_fork(after_in_child=_count)


def leave_if_forked(since: int, error: BaseException | None = None) -> None:
    """Exit if this process was forked since `generation` was `since`: print the error, or use the exit code asked for.

    A run or a pool that the user's code runs in the child has begun there, with the child's `generation`, and goes on.
    """
    if generation == since:
        return
    code: Any = None
    if isinstance(error, SystemExit):
        code = error.code
        if code is not None and not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
    elif error is not None:
        sys.stderr.write("".join(traceback.format_exception(error)))
        code = 1
    exit_child(code if isinstance(code, int) else int(code is not None))


def exit_child(code: int = 0) -> NoReturn:
    """Exit this child, without exit functions: they are its parent's."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)
