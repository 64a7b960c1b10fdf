"""A child that the user's code has forked in a worker leaves at its next step of the worker's port."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from pardata.process.forked_child import exit_child

STEPS: Final = (
    "loaded", "attempt", "take", "try_take", "poll", "token", "choose", "count", "publish", "save_state",
    "commit", "close_outputs", "finish",
)  # fmt: skip


def disown(port: Any) -> None:
    """Have a child leave at its next step: called in it behind `os.fork`."""
    for step in STEPS:
        setattr(port, step, _leave)


def _leave(*_: object) -> NoReturn:
    exit_child()
