"""Queue: a look-alike of `multiprocessing.Queue` in which arrays travel by address.

    put  --pack-->  [pipe: packets]  --unpack-->  get       any number of each, in any processes
      |  no room: buffer, feeder thread ^             |
      +--<-- [pipe: a byte per free place] <----------+     only if there is a most (`maxsize`)

Every process that has the queue has the read end; those that may still put have a write end. A process whose threads
all wait in `get` gives its write end up and takes one again *before* it reads, so it has one whenever it has an item
in its hands: the kernel's end of file says that nothing is left and that nobody is left to put.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import threading
import weakref
from collections import deque
from multiprocessing import context, util
from multiprocessing.reduction import DupFd
from queue import Empty, Full
from time import monotonic
from typing import Any, Final

from tqdm import TMonitor

from pardata.channel.packets import PacketPipe, unread_bytes, wait_for
from pardata.channel.parcel import pack, unpack
from pardata.memory.addresses import forget_the_gone, is_awaited
from pardata.memory.exports import Address

_SOON: Final = 0.001  # s; the write end is not given up for less (3.3 us with taking it again, and it wakes others)
_LOOK_AGAIN: Final = 0.05  # s; nothing tells that a thread has ended
_MOST_PLACES: Final = 1 << 19  # the largest pipe of any user has 1 MiB, see `_token_pipe`
_RECOUNT: Final = 1.0  # s without a place before the places are counted


class Queue:
    """A queue for processes and threads, in which arrays travel by address: else as `multiprocessing.Queue`.

    It is handed to processes as an argument of `multiprocessing.Process` (fork, spawn or forkserver). Any number of
    processes and threads may put and get; each item is got once, those of one producer in their order. What is put is
    pickled at once, so an object that cannot be pickled is an error of `put`.

    Arrays of 16 KiB and more are copied once, into memory of the sender, and come out as writable ordinary arrays over
    that memory. A `SharedArray` is not copied at all: both sides have the same memory.

    When nothing is left and nobody can put any more, `get` raises `EOFError`. Those who can put are the processes
    that have the queue, but for those that have ended, that were killed, that have called `close`, and those all of
    whose threads wait in `get`. So workers that put new tasks end by themselves, and a process that starts workers
    and has other threads calls `close` after their start; it can go on getting.

    A process that was killed blocks nobody, and small items that it had put (pickles of up to 4 KiB) are still there.
    Larger ones lie in its memory: `get` raises `StaleBlockError` for each and then goes on. For the same reason a
    process does not end before its larger items have been received, unless nobody is left who could, or it has called
    `cancel_join_thread`. Linux only.

    Parameters
    ----------
    maxsize : int
        The most items in the queue, 0 for any number.
    """

    def __init__(self, maxsize: int = 0) -> None:
        if maxsize > _MOST_PLACES:
            raise ValueError(f"maxsize is at most {_MOST_PLACES}, or 0 for any number of items: {maxsize}")
        tokens = _token_pipe(maxsize) if maxsize > 0 else -1
        self._set_up(PacketPipe.create(), max(0, maxsize), tokens)

    def _set_up(self, pipe: PacketPipe, maxsize: int, tokens: int) -> None:
        self._pipe, self._maxsize, self._tokens = pipe, maxsize, tokens
        self._lent: list[tuple[weakref.ref[Any], int]] = []  # write ends for processes that are being started
        self._reset()
        forget_the_gone()
        for left in list(_leaving):
            left._dispose_if_received()
        _queues.add(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._buffer: deque[bytes] = deque()  # what the pipe had no room for
        self._feeder: threading.Thread | None = None  # there is one while there is something in the buffer
        self._waiting: set[int] = set()  # threads
        self._sent: list[Address] = []  # in memory of ours
        self._most_sent = 64
        self._is_closed = self._has_ended = self._is_cancelled = False

    # -- putting -------------------------------------------------------------------------------------------------------

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an object.

        Raises
        ------
        ValueError
            This process has closed the queue.
        queue.Full
            `maxsize` items are in it, and none was taken within `timeout` seconds (at once if not `block`).
        """
        self._check_open()
        self._take_place(_deadline(block, timeout))
        is_done = True
        try:
            packet = self._pack(obj)
            with self._lock:
                self._check_open()
                is_done = self._send(packet)
        finally:
            if is_done and self._maxsize:
                self._pipe.leave()

    def put_nowait(self, obj: Any) -> None:
        """As ``put(obj, False)``."""
        self.put(obj, False)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError(f"{self!r} is closed")

    def _pack(self, obj: Any) -> bytes:
        try:
            packet, sent = pack(obj)
        except BaseException:
            self._give_place()
            raise
        if sent:
            self._sent += sent
            if len(self._sent) > self._most_sent:
                self._sent = list(filter(is_awaited, self._sent))
                self._most_sent = max(64, 2 * len(self._sent))
        return packet

    def _send(self, packet: bytes) -> bool:
        """Write a packet; False: the feeder will. With the lock held."""
        self._has_ended = False
        self._pipe.hold_writer()
        if not self._buffer and self._pipe.write(packet):
            return True
        self._buffer.append(packet)
        if self._feeder is None:
            self._feeder = threading.Thread(target=self._feed, name="pardata-queue", daemon=True)
            self._feeder.start()
        return False

    def _feed(self) -> None:
        while True:
            wait_for(self._pipe.writer, select.POLLOUT, None)
            with self._lock:
                try:
                    while self._buffer and self._pipe.write(self._buffer[0]):
                        self._buffer.popleft()
                        if self._maxsize:
                            self._pipe.leave()
                except BrokenPipeError:  # at the end of this process: nobody is left to read
                    self._buffer.clear()
                if not self._buffer:
                    self._feeder = None
                    self._settle()
                    return

    def _take_place(self, deadline: float | None) -> None:
        """Wait for a free place and be in between: until the packet is in the pipe, nobody is to count."""
        while self._maxsize:
            self._pipe.enter()
            try:
                os.read(self._tokens, 1)
                return
            except BlockingIOError:
                self._pipe.leave()
            left = _left(deadline)
            if left <= 0:
                raise Full
            if not wait_for(self._tokens, select.POLLIN, min(left, _RECOUNT)):
                self._recount()

    def _give_place(self) -> None:
        if self._maxsize:
            os.write(self._tokens, b".")

    def _recount(self) -> None:
        """Give back the places that killed processes had taken."""
        alone = self._pipe.try_alone()
        if alone >= 0:
            missing = self._maxsize - self._pipe.packets - unread_bytes(self._tokens)
            os.write(self._tokens, b"." * missing)
            os.close(alone)

    # -- getting -------------------------------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next object. Also after `close`.

        Raises
        ------
        EOFError
            Nothing is left, and nobody is left who could put.
        queue.Empty
            Nothing came within `timeout` seconds (at once if not `block`).
        StaleBlockError
            The object was in memory of a process that was killed; it is lost.
        """
        deadline = _deadline(block, timeout)
        self._has_ended = False
        while True:
            with self._lock:
                if not self._is_closed and not self._has_ended:
                    self._pipe.hold_writer()  # before the read: who has an item may put others
            self._pipe.enter()
            try:
                packet = self._pipe.read()
                if packet:
                    self._has_ended = False
                    self._give_place()
                    return unpack(packet)
            finally:
                self._pipe.leave()
            if packet is not None:
                self._has_ended = True
                raise EOFError("nothing is left in the queue, and nobody is left who could put")
            self._wait(deadline)

    def get_nowait(self) -> Any:
        """As ``get(False)``."""
        return self.get(False)

    def _wait(self, deadline: float | None) -> None:
        """Return when there is something to read, or the end."""
        if wait_for(self._pipe.reader, select.POLLIN, min(_left(deadline), _SOON)) & select.POLLIN:
            return
        thread = threading.get_ident()
        self._waiting.add(thread)
        try:
            while True:
                with self._lock:
                    is_alone = self._settle()
                left = min(_left(deadline), float("inf") if is_alone else _LOOK_AGAIN)
                events = wait_for(self._pipe.reader, select.POLLIN, None if left == float("inf") else left)
                if events:
                    self._has_ended = not events & select.POLLIN
                    return
                if _left(deadline) <= 0:
                    raise Empty
        finally:
            self._waiting.discard(thread)
            with self._lock:
                self._settle()

    def _settle(self) -> bool:
        """Have a write end if this process may put. Return whether that can only change by what it does itself."""
        is_lending = self._return_lent()
        may_put = not self._is_closed and not self._has_ended and not self._all_wait()
        self._pipe.hold_writer(may_put or self._feeder is not None)
        return not may_put and not is_lending

    def _all_wait(self) -> bool:
        """Whether all threads of this process wait in `get`: none of them can put, or start one that could."""
        return bool(self._waiting) and all(
            thread.ident in self._waiting
            or not thread.is_alive()
            or thread.name.startswith("pardata-")
            or isinstance(thread, TMonitor)
            for thread in threading.enumerate()
        )

    # -- looking -------------------------------------------------------------------------------------------------------

    def qsize(self) -> int:
        """Return how many items can be got, those that this process has still to write included."""
        return self._pipe.packets + len(self._buffer)

    def empty(self) -> bool:
        """Whether there is nothing to get at this moment."""
        return not self.qsize()

    def full(self) -> bool:
        """Whether `maxsize` items are in the queue at this moment."""
        return bool(self._maxsize) and not unread_bytes(self._tokens)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<pardata.Queue, {state}, {self.qsize()} items, maxsize {self._maxsize}>"

    # -- ending --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Say that this process puts nothing more; what it has put still arrives. Happens by itself at its end."""
        with self._lock:
            self._is_closed = True
            self._settle()

    def join_thread(self) -> None:
        """Wait until all that this process has put is in the pipe. Only after `close`."""
        if not self._is_closed:
            raise ValueError(f"{self!r} is not closed")
        feeder = self._feeder
        if feeder is not None:
            feeder.join()

    def cancel_join_thread(self) -> None:
        """Let this process end without waiting for what it has put: that may be lost."""
        self._is_cancelled = True

    def _is_awaited(self) -> bool:
        return not self._is_cancelled and any(map(is_awaited, self._sent))

    def _leave(self) -> None:
        """At the end of this process: what it has put leaves the buffer, and its memory, if somebody can have it."""
        if self._is_cancelled or (self._feeder is None and not self._is_awaited()):
            return
        with self._lock:
            self._pipe.hold_writer()
            if not self._waiting:
                self._pipe.close_reader()
        feeder = self._feeder
        if feeder is not None:
            feeder.join()
        pause = 0.001
        while self._is_awaited() and not self._is_given_up():
            # Who receives tells it to the block, not to us; a poll for no event ends when the last reader is gone.
            wait_for(self._pipe.writer, 0, pause)
            pause = min(2 * pause, _LOOK_AGAIN)

    def _is_given_up(self) -> bool:
        """Whether nobody can receive what has been sent: no reader is left, or one was killed with it in its hands."""
        if wait_for(self._pipe.writer, 0, 0):
            return True
        alone = self._pipe.try_alone() if not self._pipe.packets else -1
        if alone >= 0:
            os.close(alone)
        return alone >= 0

    def __del__(self) -> None:
        if not hasattr(self, "_is_closed"):
            return  # it was not made
        self.close()
        if self._is_awaited():
            _leaving.add(self)
        else:
            self._dispose()

    def _dispose_if_received(self) -> None:
        if not self._is_awaited():
            _leaving.discard(self)
            self._dispose()

    def _dispose(self) -> None:
        self._pipe.dispose()
        for fd in [self._tokens, *[fd for _, fd in self._lent]]:
            if fd >= 0:
                os.close(fd)
        self._lent.clear()
        self._tokens = -1

    # -- in other processes --------------------------------------------------------------------------------------------

    def __getstate__(self) -> Any:
        context.assert_spawning(self)
        writer = self._pipe.open_writer()  # so that there is one until the other process has its own
        with self._lock:
            self._lent.append((weakref.ref(context.get_spawning_popen()), writer))
        tokens = DupFd(self._tokens) if self._maxsize else None
        return DupFd(self._pipe.reader), DupFd(writer), self._maxsize, tokens

    def __setstate__(self, state: Any) -> None:
        reader, writer, maxsize, tokens = state
        fds = [given.detach() if given is not None else -1 for given in (reader, writer, tokens)]
        for fd in fds:
            if fd >= 0:
                os.set_inheritable(fd, False)
        self._set_up(PacketPipe(fds[0], fds[1]), maxsize, fds[2])

    def _return_lent(self) -> bool:
        """Close the write ends whose processes have been started. Return whether there are others."""
        waiting = []
        for popen, writer in self._lent:
            started = popen()
            if started is not None and not hasattr(started, "pid"):
                waiting.append((popen, writer))
            else:
                os.close(writer)
        self._lent = waiting
        return bool(waiting)

    def _after_fork(self, writer: int) -> None:
        for _, lent in self._lent:
            os.close(lent)
        self._lent.clear()
        self._pipe.after_fork(writer)
        self._reset()


def _deadline(block: bool, timeout: float | None) -> float | None:
    return (None if timeout is None else monotonic() + timeout) if block else 0.0


def _left(deadline: float | None) -> float:
    return float("inf") if deadline is None else deadline - monotonic()


def _token_pipe(maxsize: int) -> int:
    """Return a descriptor for both ends of a pipe with this many bytes in it."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # A page that was read in part takes no more bytes, so there is to be more room than bytes.
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, max(2 * maxsize, 2 * mmap.PAGESIZE))
        os.write(writer, b"." * maxsize)
        return os.open(f"/proc/self/fd/{reader}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(reader)
        os.close(writer)


_queues: weakref.WeakSet[Queue] = weakref.WeakSet()
_leaving: set[Queue] = set()  # dropped, while what they have sent is on its way
_at_fork: list[tuple[Queue, int]] = []


def _before_fork() -> None:
    for queue in list(_queues):
        queue._lock.acquire()
        try:
            writer = queue._pipe.open_writer()
        except OSError:  # no descriptor is left: the child opens one when it puts
            writer = -1
        _at_fork.append((queue, writer))


def _after_fork_in_parent() -> None:
    while _at_fork:
        queue, writer = _at_fork.pop()
        if writer >= 0:
            os.close(writer)
        queue._lock.release()


def _after_fork_in_child() -> None:
    while _leaving:
        _leaving.pop()._dispose()  # what they wait for is the parent's
    while _at_fork:
        queue, writer = _at_fork.pop()
        queue._after_fork(writer)


def _close_all() -> None:
    for queue in list(_queues):
        queue.close()


def _leave_all() -> None:
    for queue in {*_queues, *_leaving}:
        queue._leave()


def _at_exit(_: object) -> None:
    """As multiprocessing's queues do: close before the children are joined, wait for the rest after that."""
    util.Finalize(None, _close_all, exitpriority=10)
    util.Finalize(None, _leave_all, exitpriority=-5)


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
util.register_after_fork(_at_exit, _at_exit)  # a child of multiprocessing begins with an empty list
_at_exit(None)
