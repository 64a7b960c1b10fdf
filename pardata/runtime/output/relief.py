"""Looks after the console's thread: if a lock holds it up, the program goes on all the same.

The thread that waits for the workers may hold a lock that a stream or a handler takes: `sys.stdout` has one in its
`write`, or a handler of log records was locked. The console's thread then waits for that lock, and the workers or the
run wait for the console. Whoever holds a lock cannot be found out; that the console's thread waits for one can. What
the workers say is kept in memory then, and shown when the lock is free.

A pager that is not read is no such case: there the thread sits in a write, or descriptors cannot be written to.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import select
import sys
import threading
from typing import Final

from pardata.runtime.output.output_socket import OutputSocket

_LOOK_S: Final = 1.0  # a wait for a lock is one that has lasted between two looks
_FUTEX: Final = {"x86_64": "202", "aarch64": "98", "riscv64": "98"}  # the system call that waits for a lock


class Relief:
    """Lets pass what waits for a console that a lock holds up.

    Attributes
    ----------
    is_writing : bool
        The console's thread is at work, between `begin` and `rest`.
    """

    def __init__(self, socket: OutputSocket, console: threading.Thread) -> None:
        self.is_writing = False
        self._socket = socket
        self._console = console
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._has_told = False
        self._held_at: int | None = None  # `taken` of the socket, when a lock held the console's thread up

    @property
    def is_needed(self) -> bool:
        """Return whether a lock holds the console's thread up, or a call is made meanwhile in its place."""
        return self._socket.taken == self._held_at or self._socket.is_passing

    # -- for the console's thread ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Look after the calling thread, until `rest`."""
        with self._lock:
            self.is_writing = True
            if self._thread is None:
                thread = threading.Thread(target=self._watch, name="pardata-relief", daemon=True)
                with contextlib.suppress(RuntimeError):  # at the exit of the interpreter
                    thread.start()
                    self._thread = thread

    def rest(self) -> None:
        """Let the calling thread wait as long as it likes."""
        self.is_writing = False

    def end(self) -> None:
        """End the watch: the calling thread is at its end."""
        self._over.set()
        self._socket.wake()

    def join(self) -> None:
        """Wait for the end of the watch."""
        thread = self._thread
        if thread is not None:
            thread.join()

    # -- the thread ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        before = None
        while not self._over.wait(_LOOK_S):
            with self._lock:
                if not self.is_writing:
                    self._thread = None
                    return
            now = self._place()
            if now is not None and now == before and not _is_blocked():
                self._relieve(now[0])
            before = now

    def _place(self) -> tuple[int, int, int] | None:
        """Return the place at which the console's thread waits for a lock; None if it does not."""
        taken = self._socket.taken
        frame = sys._current_frames().get(self._console.ident or 0)
        if frame is None or not _waits_for_lock(self._console.native_id):
            return None
        return taken, id(frame), frame.f_lasti

    def _relieve(self, taken: int) -> None:
        self._held_at = taken
        self._tell()
        while self._socket.taken == taken and not self._over.is_set():
            while (call := self._socket.read_ahead(taken)) is not None:
                with contextlib.suppress(BaseException):
                    call()
            with contextlib.suppress(OSError, ValueError):  # it was closed at this moment
                self._socket.wait(_LOOK_S)

    def _tell(self) -> None:
        """Say once what happens: to the descriptor, as `sys.stderr` may be what is locked."""
        if not self._has_told and sys.__stderr__ is not None:
            self._has_told = True
            with contextlib.suppress(Exception):
                os.write(
                    sys.__stderr__.fileno(),
                    b"pardata: what workers print and log waits for a lock of a stream or handler. If the thread that "
                    b"waits for the workers holds it, neither would go on: so the program goes on without that output, "
                    b"which appears when the lock is free\n",
                )


def _waits_for_lock(thread: int | None) -> bool:
    """Return whether a thread of this process waits for a lock, as far as the system tells."""
    number = _FUTEX.get(platform.machine())
    try:
        with open(f"/proc/self/task/{thread}/syscall") as file:
            return number is None or file.read().split()[0] == number
    except (OSError, IndexError):
        return True


def _is_blocked() -> bool:
    """Return whether a stream cannot be written to: the lock may be that of a thread which waits for its reader."""
    poll = select.poll()
    wanted = {1, 2}
    for stream in (sys.stdout, sys.stderr):
        if type(stream) is io.TextIOWrapper:
            with contextlib.suppress(Exception):
                wanted.add(stream.fileno())
    for fd in wanted:
        poll.register(fd, select.POLLOUT)
    return len(poll.poll(0)) < len(wanted)
