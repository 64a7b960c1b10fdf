"""A child that the user's code has forked in a worker is not a worker, though it has copies of the worker's channels.

It may print, and it ends where it comes back from the user's function: at the place of the script that it would go on
with there is nothing that is its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NoReturn

_STEPS: Final = (
    "attempt", "take", "try_take", "poll", "token", "choose", "count", "publish", "publish_again", "commit",
    "close_outputs", "finish",
)  # fmt: skip
_TOLD: Final = ("said", "logged")

_is_child = False


def disown(port: Any) -> None:
    """Have a child leave at its next step, or tell what it raised and leave: called in it behind `os.fork`."""
    global _is_child
    _is_child = True
    for step in _STEPS:
        setattr(port, step, _leave)
    port.report = partial(_report, port.report)


def leave_if_forked(asked: SystemExit) -> None:
    """In such a child, exit as the user's code has asked to."""
    if _is_child:
        code = asked.code
        if code is not None and not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
        _exit(code if isinstance(code, int) else int(code is not None))


def _leave(*_: object) -> NoReturn:
    _exit(0)


def _report(report: Callable[[tuple[Any, ...]], None], event: tuple[Any, ...]) -> None:
    if event[0] in _TOLD:
        report(event)
        return
    sys.stderr.write(getattr(event[1], "trace", "") if len(event) > 1 else "")
    _exit(1)


def _exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)
