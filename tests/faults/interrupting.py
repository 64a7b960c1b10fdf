"""Ctrl-C at a line of pardata's."""

import _thread
import signal
import sys
import threading
from pathlib import Path

import pardata
from pardata.process import interrupts

PACKAGE = str(Path(pardata.__file__).parent)


def _traced(on_line, call):
    """Call a function; `on_line` hears of each line of pardata's that this thread comes to."""

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            on_line((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return call()
    finally:
        sys.settrace(before)


def lines_of(call, counts=lambda: True):
    """Return what a call returns, and the lines of pardata's that this thread comes to while they count, each once."""
    lines = {}
    made = _traced(lambda line: lines.setdefault(line) if counts() else None, call)
    return made, list(lines)


def interrupt_at(line, call, number=signal.SIGINT):
    """Call a function; a signal, SIGINT as a rule, comes at this line, the first time."""
    lines = [line]

    def on_line(at):
        if at in lines:
            lines.remove(at)
            signal.raise_signal(number)

    return _traced(on_line, call)


class Starters:
    """Stands for `_thread`: knows the threads that are still starting others."""

    def __init__(self):
        self._begun = []

    def start_new_thread(self, function, arguments):
        """As that of `_thread`."""
        is_over = interrupts.Latch()
        self._begun.append(is_over)

        def run():
            try:
                function(*arguments)
            finally:
                is_over.open()

        return _thread.start_new_thread(run, ())

    def join(self):
        """Wait until the threads of pardata that end by themselves have ended."""
        for is_over in self._begun:
            is_over.wait()
        self._begun.clear()
        for thread in threading.enumerate():
            if thread.name.startswith("pardata-"):
                thread.join()
