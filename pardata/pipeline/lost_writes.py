"""A function that only fills a container of the calling process: in a worker process it would fill a copy."""

from __future__ import annotations

import dis
import inspect
from collections import deque
from types import CodeType
from typing import Any, Final

_FILLING: Final = ("add", "append", "appendleft", "extend", "insert", "setdefault", "update")
_LOADS: Final = ("LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME")


def only_filled(fn: Any) -> tuple[str, Any] | None:
    """Return a list, set, dict or deque that `fn` has captured and never reads, only fills, with its name."""
    if not inspect.isfunction(fn):
        return None
    found = inspect.getclosurevars(fn)
    for name, value in {**found.globals, **found.nonlocals}.items():
        if isinstance(value, list | set | dict | deque) and _is_only_filled(fn.__code__, name):
            return name, value
    return None


def _is_only_filled(code: CodeType, name: str) -> bool:
    if any(isinstance(part, CodeType) and _mentions(part, name) for part in code.co_consts):
        return False
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("CACHE", "PUSH_NULL", "EXTENDED_ARG")]
    uses = [at for at, step in enumerate(steps) if step.opname in _LOADS and step.argval == name]
    return bool(uses) and all(_fills(steps, at) for at in uses)


def _fills(steps: list[dis.Instruction], at: int) -> bool:
    """Return whether the container that step `at` loads is filled: ``found.append(...)``, ``found[key] = ...``."""
    behind = steps[at + 1 : at + 3]
    if behind and behind[0].opname in ("LOAD_ATTR", "LOAD_METHOD"):
        return behind[0].argval in _FILLING
    return len(behind) == 2 and behind[1].opname == "STORE_SUBSCR"


def _mentions(code: CodeType, name: str) -> bool:
    inner = (part for part in code.co_consts if isinstance(part, CodeType))
    return name in code.co_names or name in code.co_freevars or any(_mentions(part, name) for part in inner)
