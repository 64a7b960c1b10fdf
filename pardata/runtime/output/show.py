"""Writes what a worker has said to the main process's own streams, filters of warnings and loggers, as they are now."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from typing import Any, Final

from pardata.runtime.events import Logged, Said, Warned
from pardata.runtime.line_bar import beside_bars
from pardata.runtime.output.records import unpack_record, unpack_warning

_LONGEST: Final = 1 << 24  # characters of a line: of a longer one the parts are lines


class Shower:
    """Shows one event after the other. Nothing of the user's, as a handler that raises, comes out of it."""

    def __init__(self) -> None:
        self._unflushed: Any = None  # the stream that was written to last
        self._has_complained = False
        self._begun: dict[tuple[str, str], list[str]] = {}  # of long lines, by worker and stream

    def show(self, event: Said | Logged | Warned) -> None:
        """Write what a worker has said; `flush` is due afterwards."""
        if isinstance(event, Said):
            self._say(event)
        elif isinstance(event, Logged):
            self._log(event)
        else:
            self._warn(event)

    def _say(self, event: Said) -> None:
        parts = self._begun.pop((event.tag, event.stream), [])
        parts.append(event.text)
        if event.goes_on and sum(map(len, parts)) < _LONGEST:
            self._begun[event.tag, event.stream] = parts
            return
        lines = "".join(parts).splitlines(keepends=True)
        self._write(event.stream, "".join(f"[{event.tag}] {line}" for line in lines).rstrip("\n") + "\n")

    def finish(self, tag: str | None = None) -> None:
        """Write the long lines that have not ended; `tag`: those of a worker that has died."""
        for key in [key for key in self._begun if tag in (key[0], None)]:
            self._say(Said(*key, ""))

    @property
    def is_due(self) -> bool:
        """Return whether something is to be flushed."""
        return self._unflushed is not None

    def flush(self) -> None:
        """Flush the stream that was written to."""
        stream, self._unflushed = self._unflushed, None
        if stream is not None:
            try:
                stream.flush()
            except Exception as error:
                self._complain(error)

    def _write(self, name: str, text: str) -> None:
        stream = getattr(sys, name)
        if stream is None:  # as `print` then does nothing
            return
        if stream is not self._unflushed:
            self.flush()
            self._unflushed = stream
        try:
            with beside_bars(stream):
                _write_all(stream, text)
        except Exception as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Say once that lines are lost."""
        if not self._has_complained:
            self._has_complained = True
            text = f"pardata: what workers print cannot be written here ({type(error).__name__}: {error})\n"
            for stream in (sys.stderr, sys.__stderr__):
                try:
                    if stream is not None:
                        stream.write(text)
                        stream.flush()
                        return
                except Exception:
                    continue

    def _log(self, event: Logged) -> None:
        record = unpack_record(event.record, event.tag)
        logger = logging.getLogger(record.name)
        if not event.is_sure and not logger.isEnabledFor(record.levelno):
            return
        if event.was_handled and not logger.hasHandlers():
            return
        self.flush()
        try:
            with beside_bars(sys.stderr):
                logger.handle(record)
        except Exception:
            if logging.raiseExceptions:
                self._write("stderr", f"--- Logging error ---\n{traceback.format_exc()}")

    def _warn(self, event: Warned) -> None:
        message = unpack_warning(event.message, event.category)
        module = _module_of(event.filename)
        place: tuple[Any, ...] = ()  # a module that is None would be one at the end of the interpreter: no warning
        if module is not None:
            place = module.__name__, module.__dict__.setdefault("__warningregistry__", {})
        self.flush()
        try:
            with beside_bars(sys.stderr):
                warnings.warn_explicit(message, type(message), event.filename, event.lineno, *place)
        except Warning as error:  # a filter makes it an error; the function that has warned has gone on
            text = warnings.formatwarning(error, type(error), event.filename, event.lineno)
            self.show(Said(event.tag, "stderr", text))


def _module_of(filename: str) -> Any:
    """Return the module of a file: its filters count, and a warning is shown once for all workers."""
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get("__file__") == filename:  # not `getattr`: some import at the first look
            return module
    return None


def _write_all(stream: Any, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
