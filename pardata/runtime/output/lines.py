"""A text stream, and the stream of bytes below it, that hands on whole lines."""

from __future__ import annotations

import codecs
import io
import threading
from collections.abc import Callable
from typing import Any, Final

_FD: Final = {"stdout": 1, "stderr": 2}
_LONGEST: Final = 16_000  # characters of what is handed on at a time


class Lines(io.TextIOBase):
    """Takes the place of `sys.stdout` or `sys.stderr` in a worker.

    Parameters
    ----------
    name : str
        "stdout" or "stderr".
    send : callable
        Gets whole lines, and the line that was begun at `flush`; of a long line a part, and whether it goes on.
    """

    def __init__(self, name: str, send: Callable[[str, bool], None]) -> None:
        self.begun = ""
        self.buffer = _LineBytes(self)
        self._name = name
        self._hand_on = send
        self._is_rewritten = False  # the line that was begun
        self._is_sent = False  # what was begun of a line, which may end now
        self._goes_on = False  # a long line of which a part was handed on
        self._lock = threading.RLock()  # threads of user code print too, and handlers of signals in between

    @property
    def name(self) -> str:
        return f"<{self._name}>"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    def writable(self) -> bool:
        return True

    def reconfigure(self, **_: Any) -> None:
        """Do nothing: lines are sent at once, whatever the buffering."""

    def fileno(self) -> int:
        """Return that of the main process's stream, for programs that user code starts: their output is not tagged."""
        return _FD[self._name]

    def write(self, text: str, /) -> int:
        with self._lock:
            added = text.replace("\r\n", "\n")
            if added and self._is_sent:
                added, self._is_sent = added.removeprefix("\n"), False
            self.begun += added
            at = self.begun.rfind("\n") + 1
            if at or len(self.begun) > _LONGEST:
                goes_on, at = not at, at or len(self.begun)
                lines, self.begun = self.begun[:at], self.begun[at:]
                self._is_rewritten = False
                self._send(lines, goes_on)
            if "\r" in self.begun:
                self._is_rewritten = True
                self.begun = self.begun[self.begun.rindex("\r") :]
        return len(text)

    def flush(self) -> None:
        if self.is_begun and not self._is_rewritten:
            self.finish()
            self._is_sent = True

    @property
    def is_begun(self) -> bool:
        """Whether there is a line that has not ended."""
        return bool(self.begun) or self._goes_on

    def finish(self) -> None:
        """Send the line that was begun."""
        with self._lock:
            text, self.begun, self._is_rewritten = self.begun, "", False
            if text.strip("\r ") or self._goes_on:
                self._send(text)

    def begin_anew(self) -> None:
        """Forget the line that was begun, and another thread's hold of the stream."""
        self._lock = threading.RLock()
        self.begun, self._is_rewritten, self._goes_on = "", False, False

    def _send(self, text: str, goes_on: bool = False) -> None:
        if "\r" in text:
            text = "".join(line.rpartition("\r")[2] for line in text.splitlines(keepends=True))
        self._goes_on = goes_on
        while len(text) > _LONGEST:
            part, text = text[:_LONGEST], text[_LONGEST:]
            self._hand_on(part, not part.endswith("\n"))
        self._hand_on(text, goes_on)


class _LineBytes(io.BufferedIOBase):
    """Bytes of UTF-8 for the text stream above."""

    def __init__(self, text: Lines) -> None:
        self._text = text
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def write(self, data: Any, /) -> int:
        view = memoryview(data)
        self._text.write(self._decoder.decode(bytes(view)))
        return view.nbytes

    def flush(self) -> None:
        self._text.flush()
