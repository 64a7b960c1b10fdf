"""Handlers and filters of loggers that user code has added in a worker.

A module that sets up logging while it is imported does so in the main process, too: there its handlers get the record,
and in the worker they would write the same a second time. So the handlers and filters in force in a worker are those
that functions have added when they were called.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import weakref
from types import FrameType
from typing import Any

_of_modules: weakref.WeakSet[Any] = weakref.WeakSet()


def note_what_modules_add() -> None:
    """Tell apart from now on what modules add to loggers while they are imported."""
    of_loggers: Any = logging.Logger
    of_loggers.addHandler = _noting(of_loggers.addHandler)
    of_loggers.addFilter = _noting(of_loggers.addFilter)
    of_loggers.filter = _filter


def _noting(plain: Any) -> Any:
    def add(logger: logging.Logger, added: Any) -> None:
        if _is_importing():
            with contextlib.suppress(TypeError):  # of an object that cannot be referred to weakly
                _of_modules.add(added)
        plain(logger, added)

    return add


def _is_importing() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _filter(logger: logging.Logger, record: logging.LogRecord) -> Any:
    if not logger.filters:
        return True
    own = logging.Filterer()
    own.filters = [each for each in logger.filters if each not in _of_modules]
    return own.filter(record)


def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> bool:
    """Have the handlers in force handle a record; return whether there was one."""
    was_handled = False
    at: logging.Logger | None = logger
    while at is not None:
        for handler in list(at.handlers):
            if isinstance(handler, logging.NullHandler) or handler in _of_modules:
                continue
            was_handled = True
            if record.levelno >= handler.level:
                handler.handle(record)
        at = at.parent if at.propagate else None
    return was_handled
