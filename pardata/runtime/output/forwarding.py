"""A worker's side: its prints, warnings and log records go to the main process, over a socket that all workers share.

      print, sys.stdout.buffer -> Lines ---+
      warnings.warn -> showwarning --------+--> OutputSender -- one message each --> Console of the main process
      logging -> Logger.callHandlers ------+        (waits while the socket is full)

So it shows where the user looks, also in a notebook, and lines of two workers do not run into each other. Of a line
that is written over and over, as bars of libraries are, the last state counts. A message is sent at once: whatever a
worker has said before it dies arrives.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import socket
import sys
import warnings
from dataclasses import dataclass
from typing import Any, Final

import pardata.errors
from pardata.memory.segment import Segment
from pardata.process.system import at_fork
from pardata.runtime import bars
from pardata.runtime.events import BarChanged, Logged, OutputEvent, Said, Warned, send_event
from pardata.runtime.output.levels import Levels
from pardata.runtime.output.lines import Lines
from pardata.runtime.output.logged_here import call_handlers, note_what_modules_add
from pardata.runtime.output.records import pack_record, pack_warning

_PACKAGE: Final = os.path.dirname(pardata.errors.__file__) + os.sep
_Filter = tuple[str, str | None, str, str | None, int]


@dataclass(frozen=True)
class ConsoleSpec:
    """The settings of a worker for its output; its socket is the last one that it gets.

    Attributes
    ----------
    tag : str
        Name of the worker, before its lines.
    has_handlers : bool
        The main process's root logger had handlers when the worker was started.
    filters : list
        The filters of warnings at that time.
    """

    tag: str
    has_handlers: bool
    filters: list[_Filter]


def present_filters() -> list[_Filter]:
    """Return the filters of warnings of this process that can be told by name: those of Python's own categories.

    None of them makes an error of a warning: a module that the main process has imported before it had that filter may
    warn when a worker imports it.
    """
    found = []
    for action, message, category, module, line in warnings.filters:
        if isinstance(category, type) and category.__module__ == "builtins":
            texts: Any = [getattr(each, "pattern", each) for each in (message, module)]
            found.append(("default" if action == "error" else action, texts[0], category.__name__, texts[1], line))
    return found


class OutputSender:
    """Sends what a worker says.

    Attributes
    ----------
    has_sent : bool
        Something was sent since the last time that the worker's program has set this to False.
    """

    def __init__(self, sock: socket.socket, tag: str) -> None:
        self.tag = tag
        self.has_sent = False
        self._sock = sock

    def send(self, event: OutputEvent) -> None:
        """Send an event, if the run is not gone."""
        self.has_sent = True
        with contextlib.suppress(Exception):
            send_event(self._sock, event)


_sender: OutputSender | None = None
_lines: list[Lines] = []


def forward_output(sock: socket.socket, spec: ConsoleSpec, segment: Segment) -> OutputSender:
    """In a worker: from now on what is printed, warned of and logged goes to the main process."""
    global _sender
    sender = _sender = OutputSender(sock, spec.tag)

    def lines_of(name: str) -> Lines:
        return Lines(name, lambda text, goes_on: sender.send(Said(sender.tag, name, text, goes_on)))

    def draw(key: int, state: bars.BarState | None) -> None:
        sender.send(BarChanged(sender.tag, key, state))

    bars.say = draw
    sys.stdout, sys.stderr = _lines[:] = lines_of("stdout"), lines_of("stderr")
    _forward_records(sender, spec, segment)
    _forward_warnings(sender, spec.filters)
    return sender


def _forward_records(sender: OutputSender, spec: ConsoleSpec, segment: Segment) -> None:
    root = logging.getLogger()
    root.handlers[:] = [logging.NullHandler()] if spec.has_handlers else []  # `basicConfig` does nothing if there are
    levels = Levels(segment)
    levels.install()
    note_what_modules_add()

    def forward(logger: logging.Logger, record: logging.LogRecord) -> None:
        is_sure, packed = levels.are_present, pack_record(record)  # handlers may change it
        was_handled = levels.let_through(logger, record.levelno) and call_handlers(logger, record)
        sender.send(Logged(sender.tag, packed, is_sure, was_handled))

    of_loggers: Any = logging.Logger
    of_loggers.callHandlers = forward


def _forward_warnings(sender: OutputSender, filters: list[_Filter]) -> None:
    if filters != present_filters():  # else there is nothing to compile
        with contextlib.suppress(Exception):
            for action, message, category, module, line in reversed(filters):
                kind = getattr(builtins, category)
                warnings.filterwarnings(action, message or "", kind, module or "", line)  # type: ignore[arg-type]

    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        if issubclass(category, ResourceWarning) and filename.startswith(_PACKAGE):
            return  # of the worker's own sockets, at its end
        packed, own = pack_warning(message, category)
        sender.send(Warned(sender.tag, packed, own, filename, lineno))

    warnings.showwarning = show


def flush_output() -> bool:
    """In a worker: send lines that were begun. Return whether anything was said since the last call."""
    for lines in _lines:
        if lines.is_begun:
            lines.finish()
    sender = _sender
    if sender is None or not sender.has_sent:
        return False
    sender.has_sent = False
    return True


def _begin_anew() -> None:
    """In a child that user code has forked: lines that were begun are its parent's."""
    for lines in _lines:
        lines.begin_anew()


at_fork(after_in_child=_begin_anew)
