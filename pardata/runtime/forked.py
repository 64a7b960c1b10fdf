"""A child that the user's code has forked in a worker is not a worker, though it has copies of the worker's channels.

It may print, and it ends where it comes back from the user's function, with a result or with an exception: at the place
of the script that it would go on with there is nothing that is its own. Whoever calls the user's code looks at
`generation` before and after. A child that comes back elsewhere leaves at its next step of the worker's port.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import Any, Final, NoReturn

STEPS: Final = (
    "loaded", "attempt", "take", "try_take", "poll", "token", "choose", "count", "publish", "save_state",
    "commit", "close_outputs", "finish",
)  # fmt: skip

generation = 0  # how many forks have led to this process


def _count() -> None:
    global generation
    generation += 1


os.register_at_fork(after_in_child=_count)


def disown(port: Any) -> None:
    """Have a child leave at its next step: called in it behind `os.fork`."""
    for step in STEPS:
        setattr(port, step, _leave)


def leave_if_forked(since: int, error: BaseException | None = None) -> None:
    """In a process that was forked when `generation` was `since`, tell what it raised, or exit as it asked to.

    What the user's code runs in a child, a run or a pool of its own, has begun there: nothing happens to that.
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
    _exit(code if isinstance(code, int) else int(code is not None))


def _leave(*_: object) -> NoReturn:
    _exit(0)


def _exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)
