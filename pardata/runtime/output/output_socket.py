"""The socket that all workers of a run or pool speak over, and the calls that wait for what was said before them."""

from __future__ import annotations

import contextlib
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from pardata.channel.channel import socket_pair
from pardata.runtime.events import Marked, Spoken, decode, encode

Call = Callable[[], object]

_MOST_BYTES: Final = 1 << 18  # of a message
_MARK: Final = encode(Marked())


class OutputSocket:
    """Gives what was said in its order, and each call at its place.

    One thread shows what it takes by `take`. While it is held up, another one reads ahead for it by `read_ahead`.

    Attributes
    ----------
    sock : socket
        The workers' end; they send on it, and nobody receives.
    taken : int
        How often `take` was called.
    is_over : bool
        Everything was taken, up to `last`.
    is_passing : bool
        A call is being made that `read_ahead` has returned.
    """

    def __init__(self) -> None:
        self.sock, self._ours = socket_pair()
        self.taken = 0
        self._kept: deque[Spoken | Call] = deque()  # read ahead
        self._calls: deque[tuple[Call, bool]] = deque()  # each for the mark of its turn
        self._unsent = 0  # marks for which there was no room yet
        self._is_last = False
        self.is_over = False
        self.is_passing = False
        self._lock = threading.Lock()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until there is something to be read; return whether there is."""
        poll = select.poll()  # one for each wait: a poll object is not to be used by two threads
        poll.register(self._ours, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))

    def after(self, call: Call, can_pass: bool = True) -> None:
        """Put a call behind all that was said until now; if all is over, make it. `can_pass`: see `read_ahead`."""
        with self._lock:
            if not self.is_over:
                self._calls.append((call, can_pass))
                self._unsent += 1
                self._mark()
                return
        call()

    def last(self, call: Call) -> None:
        """Put a call behind all that will have been said. The workers are gone."""
        with self._lock:
            self._is_last = True
        self.after(call)

    def take(self) -> Spoken | Call | None:
        """Return the next of what was said, or a call to be made now; None if there is nothing at this moment."""
        with self._lock:
            self.taken += 1
            found = self._kept.popleft() if self._kept else self._read()
            self.is_over = found is None and self._is_last and not self._calls
            return found

    def read_ahead(self, taken: int) -> Call | None:
        """Read for the thread that has called `take` so often; return a call to be made, None if there is nothing.

        What is read is kept for that thread, but for calls that can pass it. SYNC POINT: read ahead. That thread takes
        once more before it waits for the socket, so it finds what is kept.
        """
        with self._lock:
            self.is_passing = False
            while self.taken == taken:
                can_pass = not self._calls or self._calls[0][1]
                found = self._read()
                if found is None:
                    break
                if callable(found) and can_pass:
                    self.is_passing = True
                    return found
                self._kept.append(found)
            return None

    def wake(self) -> None:
        """End the `wait` of another thread, when nobody reads any more."""
        with contextlib.suppress(BlockingIOError):  # then there is something to be read
            self.sock.send(_MARK)

    def close(self) -> None:
        """Close the socket, and make the calls that are left."""
        with self._lock:
            self.is_over = True
            self.sock.close()
            self._ours.close()
        while self._calls:
            self._calls.popleft()[0]()

    def _read(self) -> Spoken | Call | None:
        try:
            data = self._ours.recv(_MOST_BYTES)
        except BlockingIOError:
            return None
        if self._unsent:
            self._mark()
        event: Spoken | Marked = decode(data)
        return self._calls.popleft()[0] if isinstance(event, Marked) else event

    def _mark(self) -> None:
        """Put marks into the socket. If it is full, it is done when a message was taken out."""
        while self._unsent:
            try:
                self.sock.send(_MARK)
            except BlockingIOError:
                return
            self._unsent -= 1
