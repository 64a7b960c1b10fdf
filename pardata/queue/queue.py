"""Queue: a look-alike of `multiprocessing.Queue` in which arrays travel by address.

    put  --pack-->  [pipe: packets]  --unpack-->  get       any number of each, in any processes
      |  no room: buffer, feeder thread ^             |
      +--<-- [pipe: a byte per free place] <----------+     only if there is a most (`maxsize`)

Every process that has the queue has the read end; those that may still put have a write end. A process whose threads
all wait in `get` gives its write end up and takes one again *before* it reads, so it has one whenever it has an item
in its hands: the kernel's end of file says that nothing is left and that nobody is left to put.
"""

from __future__ import annotations

import operator
import os
import select
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from multiprocessing import context, util
from multiprocessing.reduction import DupFd
from queue import Empty
from typing import Any, Final

from pardata.memory.exchange.addresses import forget_the_gone
from pardata.process.interrupts import Uninterrupted
from pardata.process.system import at_fork
from pardata.queue import waiters
from pardata.queue.free_slots import MOST, FreeSlots, make_free_slots
from pardata.queue.packet_codec import Sent, pack, unpack
from pardata.queue.packet_pipe import PacketPipe, deadline_of, in_flight, landed, seconds_left, wait_for

_SOON: Final = 0.001  # s; the write end is not given up for less (3.3 us with taking it again, and it wakes others)
_LONGEST_PAUSE: Final = 0.05  # s; between looks at the end of a process whose arrays have not been received


class End(EOFError, Empty):
    """Nothing is left in a queue, and nobody is left who could put. Also a `queue.Empty`, which such code expects."""


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
        count = max(0, operator.index(maxsize))
        if count > MOST:
            raise ValueError(f"maxsize is at most {MOST}, or 0 for any number of items: {count}")
        with Uninterrupted():  # descriptors that are nobody's yet would stay open
            self._set_up(PacketPipe.create(), count, make_free_slots(count) if count else -1)

    def _set_up(self, pipe: PacketPipe, count: int, places: int) -> None:
        self._pipe, self._free_slots = pipe, FreeSlots(pipe, count, places)
        self._lent: list[tuple[weakref.ref[Any], int]] = []  # write ends for processes that are being started
        self._reset()
        forget_the_gone()
        for left in list(_leaving):
            left._dispose_if_received()
        _queues[id(self)] = self

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._buffer: deque[bytes] = deque()  # what the pipe had no room for
        self._feeder: threading.Thread | None = None  # there is one while there is something in the buffer
        self._waiters = waiters.Waiters()
        self._sent = Sent()
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
        self._free_slots.take(deadline_of(block, timeout))
        is_done = True
        try:
            packet = self._pack(obj)
            with self._lock:
                self._check_open()
                is_done = self._send(packet)
        finally:
            if is_done:
                self._free_slots.filled()

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
            self._free_slots.give_back()
            raise
        self._sent.add(sent)
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
            wait_for(self._pipe.writer, select.POLLOUT)
            with self._lock:
                try:
                    while self._buffer and self._pipe.write(self._buffer[0]):
                        self._buffer.popleft()
                        self._free_slots.filled()
                except BrokenPipeError:  # at the end of this process: nobody is left to read
                    self._buffer.clear()
                if not self._buffer:
                    self._feeder = None
                    self._settle()
                    return

    # -- getting -------------------------------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next object. Also after `close`.

        Raises
        ------
        EOFError
            Nothing is left, and nobody is left who could put. It is a `queue.Empty` as well.
        queue.Empty
            Nothing came within `timeout` seconds (at once if not `block`).
        StaleBlockError
            The object was in memory of a process that was killed; it is lost.
        """
        deadline = deadline_of(block, timeout)
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
                    self._free_slots.give_back()
                    return unpack(packet)
            finally:
                self._pipe.leave()
            if packet is not None:
                self._has_ended = True
                if _is_exiting and threading.current_thread().daemon:
                    threading.Event().wait()  # the program ends, not the queue: this thread ends with it, silently
                raise End("nothing is left in the queue, and nobody is left who could put")
            self._wait(deadline)

    def get_nowait(self) -> Any:
        """As ``get(False)``."""
        return self.get(False)

    def _wait(self, deadline: float | None) -> None:
        """Return when there is something to read, or the end."""
        if wait_for(self._pipe.reader, select.POLLIN, min(seconds_left(deadline), _SOON)) & select.POLLIN:
            return
        self._waiters.add()
        try:
            self._settle()
            events = wait_for(self._pipe.reader, select.POLLIN, seconds_left(deadline))
            if not events:
                raise Empty
            self._has_ended = not events & select.POLLIN
        finally:
            self._waiters.discard()
            self._settle()

    def _settle(self) -> None:
        """Have a write end if this process may put."""
        with self._lock:
            self._return_lent()
            others = self._waiters.others() if self._waiters else []
            all_wait = bool(self._waiters) and not others
            may_put = not self._is_closed and not self._has_ended and not all_wait
            self._pipe.hold_writer(may_put or self._feeder is not None)
        if may_put:
            waiters.watch(others, _settle_all)

    # -- looking -------------------------------------------------------------------------------------------------------

    def qsize(self) -> int:
        """Return how many items can be got, those that this process has still to write included."""
        return self._pipe.packets + len(self._buffer)

    def empty(self) -> bool:
        """Whether there is nothing to get at this moment."""
        return not self.qsize()

    def full(self) -> bool:
        """Whether `maxsize` items are in the queue at this moment."""
        return self._free_slots.are_taken

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<pardata.Queue, {state}, {self.qsize()} items, maxsize {self._free_slots.count}>"

    # -- ending --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Say that this process puts nothing more; what it has put still arrives. Happens by itself at its end."""
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
        return not self._is_cancelled and self._sent.are_awaited

    def _leave(self) -> None:
        """At the end of this process: what it has put leaves the buffer, and its memory, if somebody can have it."""
        if not self._is_cancelled and (self._feeder is not None or self._is_awaited()):
            self._wait_for_readers()
        self._sent.give_up()

    def _wait_for_readers(self) -> None:
        with self._lock:
            self._pipe.hold_writer()
            if not self._waiters:
                self._pipe.close_reader()
        feeder = self._feeder
        if feeder is not None:
            feeder.join()
        pause = 0.001
        while self._is_awaited() and not self._is_given_up():
            # Who receives tells it to the block, not to us, and no event tells that it was killed before. A poll for no
            # event ends when the last reader is gone.
            wait_for(self._pipe.writer, 0, pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _is_given_up(self) -> bool:
        """Whether nobody can receive what has been sent: no reader is left, or one was killed with it in its hands."""
        if wait_for(self._pipe.writer, 0, 0):
            return True
        alone = self._pipe.try_alone() if not self._pipe.packets else -1
        if alone >= 0:
            os.close(alone)
        return alone >= 0

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if _is_over() or not hasattr(self, "_is_closed"):
            return  # it was not made, or was seen off at the exit
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
        self._free_slots.dispose()
        self._close_lent()

    def _close_lent(self) -> None:
        while self._lent:
            os.close(self._lent.pop()[1])

    # -- in other processes --------------------------------------------------------------------------------------------

    def __getstate__(self) -> Any:
        if context.get_spawning_popen() is None:
            raise RuntimeError(
                "a Queue is handed over when a process is started (args= of multiprocessing.Process, initializer= and "
                "initargs= of its pools), not with a task; workers of pardata's own pools and streams return results"
            )
        lent = in_flight(self._pipe.open_writer())
        with self._lock:
            self._lent.append((weakref.ref(context.get_spawning_popen()), lent))
        places = DupFd(self._free_slots.fd) if self._free_slots.count else None
        return DupFd(self._pipe.reader), DupFd(lent), self._free_slots.count, places

    def __setstate__(self, state: Any) -> None:
        reader, lent, count, places = state
        fds = [reader.detach(), landed(lent.detach()), places.detach() if places is not None else -1]
        for fd in fds:
            if fd >= 0:
                os.set_inheritable(fd, False)
        self._set_up(PacketPipe(fds[0], fds[1]), count, fds[2])

    def _return_lent(self) -> None:
        """Close what was lent to processes that have been started."""
        for entry in list(self._lent):
            started = entry[0]()
            if started is None or hasattr(started, "pid"):
                self._lent.remove(entry)
                os.close(entry[1])

    def _after_fork(self, writer: int) -> None:
        self._close_lent()
        self._pipe.after_fork(writer)
        self._reset()


_queues: weakref.WeakValueDictionary[int, Queue] = weakref.WeakValueDictionary()
_leaving: set[Queue] = set()  # dropped, while what they have sent is on its way
_fork_lock = threading.RLock()  # of the thread that forks: what is done before and after is for one fork
_at_fork: list[tuple[Queue, int]] = []
_is_exiting = False


def _living() -> list[Queue]:
    """Return all queues of this process, also while another thread makes one: a weak set cannot be read then."""
    return [queue for known in _queues.valuerefs() if (queue := known()) is not None]


def _before_fork() -> None:
    _fork_lock.acquire()
    for queue in _living():
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
    _fork_lock.release()


def _after_fork_in_child() -> None:
    global _fork_lock, _is_exiting
    _fork_lock, _is_exiting = threading.RLock(), False
    waiters.after_fork()
    while _leaving:
        _leaving.pop()._dispose()  # what they wait for is the parent's
    while _at_fork:
        queue, writer = _at_fork.pop()
        queue._after_fork(writer)


def _settle_all() -> None:
    for queue in _living():
        queue._settle()


def _close_all() -> None:
    global _is_exiting
    _is_exiting = True
    for queue in _living():
        queue.close()


def _leave_all() -> None:
    for queue in {*_living(), *_leaving}:
        queue._leave()


def _at_exit(_: object) -> None:
    """As multiprocessing's queues do: close before the children are joined, wait for the rest after that."""
    util.Finalize(None, _close_all, exitpriority=10)
    util.Finalize(None, _leave_all, exitpriority=-5)


at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
util.register_after_fork(_at_exit, _at_exit)  # a child of multiprocessing begins with an empty list
_at_exit(None)
