"""The main process's side: a thread of its own writes what the workers of one run or pool say.

      workers --- one socket, a message each ---> Console's thread -> sys.stdout, sys.stderr, warnings, loggers, bars
      main ------ marks: all before is out ----^        |-> the calls that waited for that: `after`

The caller's thread may be in the body of its loop for long, and a pool's thread must not wait for a terminal: so
neither of them writes. If standard output is stopped (a pager, Ctrl-S), this thread waits in its write, the socket
fills, and the workers wait at their next print; nothing is kept in memory, and nothing is lost. A run or pool ends when
everything is out; only a lock that holds the thread up is not waited for (`relief`).
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from functools import partial
from typing import Final

from pardata.memory.shared_heap import SharedHeap
from pardata.process.interrupts import Latch, start_thread
from pardata.runtime.bars import TaskBars
from pardata.runtime.events import BarChanged, Logged, Spoken
from pardata.runtime.output.forwarding import ConsoleSpec, present_filters
from pardata.runtime.output.levels import tell_if_stale, tell_levels
from pardata.runtime.output.output_socket import Call, OutputSocket
from pardata.runtime.output.relief import Relief
from pardata.runtime.output.show import Shower

_STUCK_S: Final = 1.0  # a stream that takes nothing for so long is not waited for after Ctrl-C, nor at the exit


class Console:
    """Shows output, from its making to `close`. Made where no signal handler runs.

    Parameters
    ----------
    tell : callable, optional
        Is told what workers say, in place of the streams here: of an island, whose home is elsewhere.

    Attributes
    ----------
    sock : socket
        The workers' end; they send on it, and nobody receives.
    """

    def __init__(self, heap: SharedHeap, tell: Callable[[Spoken], object] | None = None) -> None:
        self._heap = heap
        self._teller = tell
        tell_levels(heap)
        self._socket = OutputSocket()
        self.sock = self._socket.sock
        self._is_hurried = False
        self._is_closing = False
        self._has_come = threading.Event()  # the last of what was said, or the call behind it has passed what is stuck
        self._is_dropped = False  # a thread that is stuck ends when its stream goes on, or with the process
        self._has_told = False
        self._bars = TaskBars()
        self._shower = Shower()
        self._thread = threading.Thread(target=self._run, name="pardata-console", daemon=True)
        self._relief = Relief(self._socket, self._thread)
        try:
            start_thread(self._thread)
        except BaseException:
            self._socket.close()
            raise

    # -- for the main process's other threads ----------------------------------------------------------------------

    def after(self, call: Callable[[], object]) -> None:
        """Have a call made when all that was said until now is out. Does not wait."""
        if self._is_dropped:
            call()
        else:
            self._socket.after(call)

    def catch_up(self) -> None:
        """Return when all that was said until now is out. A handler of log records, which is called here, goes on."""
        if threading.current_thread() is self._thread or self._socket.is_over or not self._is_behind():
            return
        latch = Latch()
        self.after(latch.open)
        latch.wait()

    def _is_behind(self) -> bool:
        # In this order: what is no longer in the socket was taken out behind `is_writing`.
        try:
            return self._socket.wait(0) or self._relief.is_writing
        except (OSError, ValueError):  # it was closed at this moment
            return False

    def show(self, event: Spoken) -> None:
        """Show what a worker of another machine has said, behind all that was said here until now."""
        self._socket.after(partial(self._show, event), can_pass=False)

    def close_bars(self, tag: str) -> None:
        """Take the bars of a worker away that has died, behind all that it has said."""
        self._socket.after(partial(self._end_of, tag), can_pass=False)

    def hurry(self) -> None:
        """Have `close` not wait for a stream that takes nothing: the user has interrupted the program."""
        self._is_hurried = True

    def close(self) -> None:
        """Return when everything is out, or waits for a lock. The workers are gone."""
        if not self._is_closing:
            self._is_closing = True
            self._socket.last(self._has_come.set)
        taken = -1
        while self._thread.is_alive() and not (self._has_come.is_set() and self._relief.is_needed):
            if self._is_hurried and taken == self._socket.taken:
                self._is_dropped = True
                return
            taken = self._socket.taken
            if self._has_come.wait(_STUCK_S) and not self._relief.is_needed:
                self._thread.join(_STUCK_S)
        if self._thread.is_alive():
            _left.add(self)

    def write_rest(self) -> None:
        """Wait a moment for what is left, at the exit."""
        self._thread.join(_STUCK_S)

    def spec(self, tag: str) -> ConsoleSpec:
        """Return what a worker of that name needs to know."""
        return ConsoleSpec(tag, bool(logging.getLogger().handlers), present_filters())

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._socket.is_over and not self._is_dropped:
            self._socket.wait()
            self._relief.begin()
            # SYNC POINT: read ahead. Whatever may have held this thread up, it takes once more before it waits.
            while not self._is_dropped and ((found := self._socket.take()) is not None or self._shower.is_due):
                self._show(found)
            self._relief.rest()
        self._relief.begin()
        self._show(self._finish)
        self._bars.close_all()
        self._relief.end()
        self._socket.close()  # before the wait: a call that is made in place of this thread may wait for another one
        self._relief.join()

    def _show(self, found: Spoken | Call | None) -> None:
        try:
            if found is None:
                self._shower.flush()
            elif callable(found):
                self._shower.flush()
                found()
            elif self._teller is not None:
                self._teller(found)
            elif isinstance(found, BarChanged):
                self._bars.show(found.tag, found.key, found.state)
            else:
                if isinstance(found, Logged):
                    tell_if_stale(self._heap)
                self._shower.show(found)
        except OSError:  # as of a terminal that is gone
            pass
        except BaseException as error:  # this thread has to go on
            self._tell(error)

    def _end_of(self, tag: str) -> None:
        self._shower.finish(tag)
        self._bars.close(tag)

    def _finish(self) -> None:
        self._shower.finish()
        self._shower.flush()

    def _tell(self, error: BaseException) -> None:
        """Tell once of an exception of the user's code for output, as of a log handler that exits."""
        if not self._has_told:
            self._has_told = True
            with contextlib.suppress(BaseException):
                print(
                    f"pardata: output of a worker could not be shown, as the code for it raised {error!r}; later ones "
                    f"are not told. Raised at:\n{''.join(traceback.format_tb(error.__traceback__))}",
                    file=sys.stderr,
                )


_left: weakref.WeakSet[Console] = weakref.WeakSet()  # closed while a lock held them up


@atexit.register
def _write_rest() -> None:
    for console in list(_left):
        console.write_rest()


def tag_of(name: str, index: int, workers: int) -> str:
    """Return the name of a worker of a stage, before its lines."""
    return name if workers == 1 else f"{name} {index}"
