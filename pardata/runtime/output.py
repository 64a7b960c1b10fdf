"""The prints and logs of a worker go to the parent, which writes them to its own streams, tagged.

A worker's `sys.stdout` and `sys.stderr` are replaced by objects that send whole lines over its control socket. So it
shows where the user looks, also in a notebook, and lines of two workers do not run into each other. Warnings go through
`sys.stderr`. Log records go to the parent's logger of the same name. Of a line that is written over and over, as bars
of libraries are, the last state counts. The parent moves its own bars out of the way while it writes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from numbers import Integral, Real
from typing import Final

from pardata.runtime.events import Logged, Said, WorkerEvent, shortened
from pardata.runtime.progress import beside_bars
from pardata.runtime.worker.port import WorkerPort

_LONGEST: Final = 16_000  # characters per event: a control socket takes messages of a few pages


class _Lines(io.TextIOBase):
    """A text stream whose lines are sent as events."""

    def __init__(self, port: WorkerPort, name: str) -> None:
        self._port = port
        self._name = name
        self.begun = ""
        self._is_rewritten = False  # the line that was begun

    @property
    def name(self) -> str:
        return f"<{self._name}>"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """Return that of the main process's stream, for programs that user code starts: their output is not tagged."""
        return 1 if self._name == "stdout" else 2

    def write(self, text: str, /) -> int:
        self.begun += text.replace("\r\n", "\n")
        at = self.begun.rfind("\n") + 1
        if at or len(self.begun) > _LONGEST:
            at = at or len(self.begun)
            lines, self.begun = self.begun[:at], self.begun[at:]
            self._is_rewritten = False
            self._send(lines)
        if "\r" in self.begun:
            self._is_rewritten = True
            self.begun = self.begun[self.begun.rindex("\r") :]
        return len(text)

    def flush(self) -> None:
        if not self._is_rewritten:
            self.finish()

    def finish(self) -> None:
        """Send the line that was begun."""
        text, self.begun, self._is_rewritten = self.begun, "", False
        if text.strip("\r "):
            self._send(text)

    def _send(self, text: str) -> None:
        if "\r" in text:
            text = "".join(line.rpartition("\r")[2] for line in text.splitlines(keepends=True))
        for start in range(0, len(text), _LONGEST):
            with contextlib.suppress(Exception):  # the run is gone
                self._port.report(Said(self._name, text[start : start + _LONGEST]))


_streams: list[_Lines] = []


class _Records(logging.Handler):
    """Sends log records, with their text made up here: their arguments may not be picklable."""

    def __init__(self, port: WorkerPort) -> None:
        super().__init__()
        self._port = port

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # arguments that do not fit the text: not an error of the user's function
            message = f"{record.msg!s} {record.args!r}"
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        told = dict(record.__dict__, msg=message, args=None, exc_info=None, exc_text=None)
        kept = {key: _plain(value) for key, value in told.items()}
        with contextlib.suppress(Exception):
            self._port.report(Logged(kept))


def _plain(value: object) -> str | int | float | None:
    """Return what stands for a value of a log record where its type may not be known: numbers, else its text."""
    if value is None or isinstance(value, bool):
        return value
    try:
        if isinstance(value, Integral):
            return int(value)
        return float(value) if isinstance(value, Real) else shortened(str(value), _LONGEST)
    except Exception as error:
        return f"<its __str__ raised {type(error).__name__}>"


def forward_output(port: WorkerPort, log_level: int) -> None:
    """In a worker: from now on what is printed and logged goes to the parent.

    Parameters
    ----------
    log_level : int
        Of the parent's root logger.
    """
    sys.stdout, sys.stderr = _streams[:] = _Lines(port, "stdout"), _Lines(port, "stderr")
    root = logging.getLogger()
    root.handlers[:] = [_Records(port)]
    root.setLevel(log_level)


def flush_output() -> None:
    """In a worker: send lines that were begun, before the task's outcome."""
    for stream in _streams:
        if stream.begun:
            stream.finish()


def show(tag: str, event: WorkerEvent) -> None:
    """In the parent: write what a worker has said."""
    if isinstance(event, Said):
        stream = sys.stdout if event.stream == "stdout" else sys.stderr
        text = "".join(f"[{tag}] {line}" for line in event.text.splitlines(keepends=True))
        with contextlib.suppress(Exception), beside_bars(stream):
            stream.write(text if text.endswith("\n") else text + "\n")
            stream.flush()
    elif isinstance(event, Logged):
        record = logging.makeLogRecord(event.record)
        record.processName = tag
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            with beside_bars(sys.stderr):
                logger.handle(record)
