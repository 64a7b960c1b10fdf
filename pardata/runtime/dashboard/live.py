"""A page that follows a report: drawn for those who look, and only then."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from html import escape
from typing import Any, Final

from pardata.runtime.recording.style import page

_REFRESH_S: Final = 1.0
_SHARE: Final = 20  # drawing takes at most so small a part of the time of this process

_RUNNING: Final = "This page follows it while it runs."
# `open` is of the lists of the page that the reader has unfolded; they are told apart by their order.
_SCRIPT: Final = """
const state = document.getElementById("state"), main = document.querySelector("main"), all = new EventSource("events");
function show(event) {
  const open = [...main.querySelectorAll("details")].map(each => each.open);
  main.innerHTML = JSON.parse(event.data);
  main.querySelectorAll("details").forEach((each, at) => { each.open = open[at] || false; });
}
all.addEventListener("page", event => { state.textContent = "%s"; show(event); });
all.addEventListener("last", event => { state.textContent = "It has ended: this is its last page."; show(event);
  all.close(); });
all.onerror = () => { state.textContent = "Nothing is heard of it any more: its process has ended, or is stopped."; };
"""


class LivePage:
    """A page, drawn anew while somebody reads it; all readers get the same.

    Parameters
    ----------
    draw : callable
        Returns a report as the body of a page.

    Attributes
    ----------
    report : callable
        Returns the report of this moment; None: there is none yet. Called by the readers' threads, one at a time.
    """

    def __init__(self, draw: Callable[[Any], str]) -> None:
        self.report: Callable[[], Any] = lambda: None
        self._draw = draw
        self._body = ""
        self._due_s = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._readers = 0
        self._left = threading.Condition()

    def document(self, nonce: str) -> str:
        """Return the whole page, whose script shows what comes later; `nonce`: by which the browser knows it."""
        script = f'<script nonce="{nonce}">{_SCRIPT % _RUNNING}</script>'
        return page("pardata, live", f'<p id="state" class="soft">{_RUNNING}</p>\n<main>{self.body()}</main>{script}')

    def body(self) -> str:
        """Return the body: drawn now, or a moment ago."""
        with self._lock:
            if time.monotonic() >= self._due_s:
                begin_s = time.monotonic()
                self._body = self._drawn()
                end_s = time.monotonic()
                self._due_s = end_s + max(_REFRESH_S, _SHARE * (end_s - begin_s))
            return self._body

    def _drawn(self) -> str:
        try:
            report = self.report()
            return self._draw(report) if report is not None else "<h1>It is about to begin</h1>"
        except Exception:  # a page that cannot be drawn is no reason to end anything
            return f"<h1>The page could not be drawn</h1><pre>{escape(traceback.format_exc())}</pre>"

    def events(self) -> Iterator[bytes]:
        """Yield a server-sent event with each new body, the last one when the report is final."""
        with self._left:
            self._readers += 1
        try:
            while not self._ended.is_set():
                body = self.body()
                if not self._ended.is_set():
                    yield _event("page", body)
                    self._ended.wait(max(0.0, self._due_s - time.monotonic()))
            yield _event("last", self.body())
        finally:
            with self._left:
                self._readers -= 1
                self._left.notify_all()

    def end(self, report: Any) -> None:
        """Have all readers get a last page, of the final report, and no more; None: it is the one of this moment."""
        with self._lock:
            if report is not None:
                self.report = lambda: report
            self._due_s = 0.0
        self._ended.set()

    def wait_for_readers(self, timeout_s: float) -> None:
        """Wait until all readers have got the last page, at most so long."""
        with self._left:
            self._left.wait_for(lambda: not self._readers, timeout_s)


def _event(kind: str, body: str) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(body)}\n\n".encode("utf-8", "backslashreplace")
