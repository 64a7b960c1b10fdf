"""The main process's side: a thread of its own writes what the workers of one run or pool say.

      workers --- one socket, a message each ---> Console's thread -> sys.stdout, sys.stderr, warnings, loggers, bars
      main ------ Marked: all before it is out --^        |-> the calls that waited for that: `after`

The caller's thread may be in the body of its loop for long, and a pool's thread must not wait for a terminal: so
neither of them writes. If standard output is stopped (a pager, Ctrl-S), this thread waits in its write, the socket
fills, and the workers wait at their next print; nothing is kept in memory, and nothing is lost. A run or pool ends when
everything is out.
"""

from __future__ import annotations

import contextlib
import logging
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from pardata.channel.channel import socket_pair
from pardata.memory.shared_heap import SharedHeap
from pardata.process.interrupts import Latch, start_thread
from pardata.runtime.bars import TaskBars
from pardata.runtime.events import BarChanged, Logged, Marked, OutputEvent, decode, encode
from pardata.runtime.output.forwarding import ConsoleSpec, present_filters
from pardata.runtime.output.levels import tell_if_stale, tell_levels
from pardata.runtime.output.show import Shower

_MOST_BYTES: Final = 1 << 18  # of a message
_MARK: Final = encode(Marked())
_STUCK_S: Final = 1.0  # a stream that takes nothing for so long is not waited for after Ctrl-C


class Console:
    """Shows output, from its making to `close`. Made where no signal handler runs.

    Attributes
    ----------
    sock : socket
        The workers' end; they send on it, and nobody receives.
    """

    def __init__(self, heap: SharedHeap) -> None:
        self._heap = heap
        tell_levels(heap)
        self.sock, self._ours = socket_pair()
        self._poll = select.poll()
        self._poll.register(self._ours, select.POLLIN)
        self._is_writing = False
        self._is_over = False
        self._is_hurried = False
        self._handled = 0  # messages
        self._waiting: deque[Callable[[], object]] = deque()  # each for the mark of its turn
        self._unsent = 0  # marks for which there was no room yet
        self._lock = threading.Lock()
        self._bars = TaskBars()
        self._shower = Shower()
        self._thread = threading.Thread(target=self._run, name="pardata-console", daemon=True)
        try:
            start_thread(self._thread)
        except BaseException:
            self._close_sockets()
            raise

    # -- for the main process's other threads ----------------------------------------------------------------------

    def after(self, call: Callable[[], object]) -> None:
        """Have a call made when all that was said until now is out. Does not wait."""
        if self._is_over:
            call()
            return
        with self._lock:
            self._waiting.append(call)
            self._unsent += 1
        self._mark()

    def catch_up(self) -> None:
        """Return when all that was said until now is out. A handler of log records, which is called here, goes on."""
        if threading.current_thread() is self._thread or self._is_over or not self._is_behind():
            return
        latch = Latch()
        self.after(latch.open)
        latch.wait()

    def _is_behind(self) -> bool:
        poll = select.poll()  # one of its own: a poll object is not to be used by two threads
        poll.register(self._ours, select.POLLIN)
        # In this order: what is no longer in the socket was taken out behind `_is_writing`.
        return bool(poll.poll(0)) or self._is_writing

    def close_bars(self, tag: str) -> None:
        """Take the bars of a worker away that has died, behind all that it has said."""
        self.after(lambda: self._bars.close(tag))

    def hurry(self) -> None:
        """Have `close` not wait for a stream that takes nothing: the user has interrupted the program."""
        self._is_hurried = True

    def close(self) -> None:
        """Return when everything is out. The workers are gone."""
        if self._is_over:
            return
        self.after(self._end)
        handled = -1
        while self._thread.is_alive() and handled != self._handled:
            handled = self._handled
            self._thread.join(_STUCK_S if self._is_hurried else None)
        self._is_over = True  # a thread that is stuck ends when its stream goes on, or with the process

    def spec(self, tag: str) -> ConsoleSpec:
        """Return what a worker of that name needs to know."""
        return ConsoleSpec(tag, bool(logging.getLogger().handlers), present_filters())

    def _end(self) -> None:
        self._is_over = True

    def _close_sockets(self) -> None:
        self.sock.close()
        self._ours.close()

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_over:
            self._poll.poll()
            self._is_writing = True
            while not self._is_over and (event := self._next()) is not None:
                self._handle(event)
            self._shower.flush()
            self._is_writing = False
        self._bars.close_all()
        self._close_sockets()

    def _next(self) -> OutputEvent | None:
        try:
            data = self._ours.recv(_MOST_BYTES)
        except BlockingIOError:
            return None
        if self._unsent:
            self._mark()
        event: OutputEvent = decode(data)
        return event

    def _handle(self, event: OutputEvent) -> None:
        self._handled += 1
        with contextlib.suppress(BaseException):  # as of a terminal that is gone, or a handler that exits
            if isinstance(event, Marked):
                self._shower.flush()
                self._waiting.popleft()()
            elif isinstance(event, BarChanged):
                self._bars.show(event.tag, event.key, event.state)
            else:
                if isinstance(event, Logged):
                    tell_if_stale(self._heap)
                self._shower.show(event)

    def _mark(self) -> None:
        """Put marks into the socket. If it is full, this thread does it when it has taken a message out."""
        with self._lock:
            while self._unsent:
                try:
                    self.sock.send(_MARK)
                except BlockingIOError:
                    return
                self._unsent -= 1


def tag_of(name: str, index: int, workers: int) -> str:
    """Return the name of a worker of a stage, before its lines."""
    return name if workers == 1 else f"{name} {index}"
