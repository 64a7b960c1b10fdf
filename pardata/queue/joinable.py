"""JoinableQueue: a queue that knows when all that was put into it has been worked on.

    put ------> [counter: put] ------------------------.
    task_done -> [counter: done] --event--> join: until both are equal, or what is missing was lost

The counters are eventfds that nobody reads: they only grow, and outlive every process. An item that is not done is in
the pipe or in the hands of a process: of one that puts it, or that has got it. A process with something in its hands
holds a shared lock, which ends with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import weakref
from multiprocessing.reduction import DupFd
from typing import Any, Final

from pardata.errors import WorkerLostError
from pardata.memory.exchange.range_locks import is_locked, lock_range
from pardata.process.capacity import check_descriptors
from pardata.process.interrupts import Uninterrupted
from pardata.process.system import check_linux, module
from pardata.queue.free_slots import FreeSlots
from pardata.queue.packet_pipe import PacketPipe
from pardata.queue.queue import Queue

fcntl: Any = module("fcntl")

_HANDS: Final = (1, 1)  # offset and bytes of the lock, behind that of `PacketPipe.enter`
_LOOK_S: Final = 1.0  # without an event, until it is asked whether somebody was killed: that tells nobody


class _Counter:
    """A number that all processes which have it see, and can only raise."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def create(cls) -> _Counter:
        return cls(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))

    def add(self, count: int = 1) -> None:
        os.eventfd_write(self.fd, count)

    @property
    def value(self) -> int:
        with open(f"/proc/self/fdinfo/{self.fd}") as file:  # to read the eventfd would set it to 0
            return next(int(line.split()[1], 16) for line in file if line.startswith("eventfd-count"))

    def dispose(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class _Counts:
    """The numbers of items that were put, and that are done."""

    def __init__(self, put: _Counter, done: _Counter) -> None:
        self.put = put
        self.done = done

    def dispose(self) -> None:
        self.put.dispose()
        self.done.dispose()


class _TakingSlots(FreeSlots):
    """Also tells the queue that a packet has been read, while its process is in between (`PacketPipe.enter`)."""

    def __init__(self, pipe: PacketPipe, count: int, fd: int, queue: JoinableQueue) -> None:
        super().__init__(pipe, count, fd)
        self._queue = weakref.ref(queue)

    def emptied(self) -> None:
        queue = self._queue()
        if queue is not None:
            queue._take()
        super().emptied()


class JoinableQueue(Queue):
    """A `Queue` with `task_done` and `join`: else as `multiprocessing.JoinableQueue`.

    A consumer calls `task_done` once for each item that it has got, when its work on it is done; `join` waits for all.
    A consumer that ends, or is killed, before that has lost the item: when no other one is at work, `join` raises
    `WorkerLostError` about a second later, in place of waiting for ever. Call it again to wait for the rest. Items that
    nobody gets are waited for: a consumer may be started yet.

    Parameters
    ----------
    maxsize : int
        The most items in the queue, 0 for any number.

    Examples
    --------
    >>> import pardata, threading
    >>> queue = pardata.JoinableQueue()
    >>> queue.put_many([1, 2, 3])
    >>> def work():
    ...     for _ in range(3):
    ...         queue.get()
    ...         queue.task_done()
    >>> threading.Thread(target=work).start()
    >>> queue.join()
    >>> queue.unfinished
    0
    """

    _may_have_pipes_places = False  # an item is counted before it is written, and cannot come back from there

    def __init__(self, maxsize: int = 0) -> None:
        with Uninterrupted():  # descriptors that no object has yet would stay open
            check_linux("a queue between processes")
            check_descriptors("a queue", 8)
            self._counts = _Counts(_Counter.create(), _Counter.create())
            try:
                super().__init__(maxsize)
            except BaseException:
                self._counts.dispose()
                raise

    def _set_up(self, pipe: PacketPipe, count: int, places: int) -> None:
        super()._set_up(pipe, count, places)
        self._free_slots = _TakingSlots(pipe, count, places, self)

    def _reset(self) -> None:
        super()._reset()
        self._got = 0
        self._has_hands_full = False
        self._call = threading.local()  # of `get`, in each thread

    def __getstate__(self) -> Any:
        return super().__getstate__(), DupFd(self._counts.put.fd), DupFd(self._counts.done.fd)

    def __setstate__(self, state: Any) -> None:
        ends, *counters = state
        fds = [counter.detach() for counter in counters]
        for fd in fds:
            os.set_inheritable(fd, False)
        self._counts = _Counts(*map(_Counter, fds))
        super().__setstate__(ends)

    def _dispose(self) -> None:
        super()._dispose()
        self._counts.dispose()

    # -- hands ---------------------------------------------------------------------------------------------------------

    def _hold_hands(self, is_putting: bool = False) -> None:
        """Hold the lock while this process has something in its hands. SYNC POINT: hands.

        With the lock of the threads held, and uninterrupted, as the counts that it goes by.
        """
        are_full = is_putting or bool(self._got or self._buffer)
        if are_full != self._has_hands_full:
            self._has_hands_full = are_full
            lock_range(self._pipe.locks, fcntl.F_RDLCK if are_full else fcntl.F_UNLCK, *_HANDS)

    def _update_ends(self) -> None:
        super()._update_ends()
        with self._lock, Uninterrupted():
            if self._has_hands_full:  # the feeder may have emptied the buffer
                self._hold_hands()

    def _send(self, packet: bytes) -> bool:
        with Uninterrupted():
            self._hold_hands(is_putting=True)  # SYNC POINT: hands. In front of the count
            self._counts.put.add()  # before anybody can call `task_done` for it
            try:
                return super()._send(packet)
            except BaseException:  # it is not in the queue
                self._counts.done.add()
                raise
            finally:
                self._hold_hands()

    def _take(self) -> None:
        """Note that this thread has read a packet."""
        with self._lock, Uninterrupted():
            self._got += 1
            self._hold_hands()
            self._call.has_taken = True

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next object, as `Queue.get`. For one that is lost nothing is to be called."""
        self._call.has_taken = False
        try:
            return super().get(block, timeout)
        except BaseException:
            if self._call.has_taken:  # it cannot be opened, or was interrupted
                self.task_done()
            raise

    # -- joining -------------------------------------------------------------------------------------------------------

    @property
    def unfinished(self) -> int:
        """The number of items that were put and are not done."""
        done = self._counts.done.value  # first: what was done had been put
        return self._counts.put.value - done

    def task_done(self) -> None:
        """Say that the work on an item that was got is done. Raises ValueError if none is left."""
        with self._lock, Uninterrupted():
            if self.unfinished <= 0:
                raise ValueError("task_done() called too many times")
            self._counts.done.add()
            self._got = max(0, self._got - 1)  # the item may be one that another process has got
            self._hold_hands()  # SYNC POINT: hands. Behind the count

    def join(self) -> None:
        """Wait until `task_done` was called for every item that was put.

        Raises
        ------
        WorkerLostError
            Processes have ended with items for which they had not called it, or before they had sent them, or Ctrl-C
            has come while `get` took an item. Those count as done from here on.
        """
        with contextlib.closing(select.epoll()) as news:
            # By edges: nobody reads the counter, so it is readable all the time. What is counted between `unfinished`
            # and `poll` is an edge that waits.
            news.register(self._counts.done.fd, select.EPOLLIN | select.EPOLLET)
            while self.unfinished > 0:
                if news.poll(_LOOK_S):
                    continue
                lost = self._write_off()
                if lost:
                    raise WorkerLostError(
                        f"{lost} of the items that were put were in the hands of a process that has ended, was killed, "
                        f"or was interrupted in get, before it called task_done: their work may not have been done"
                    )

    def _write_off(self) -> int:
        """Return how many items are lost, and count them as done."""
        with Uninterrupted():
            alone = self._pipe.try_alone()  # SYNC POINT: between. Nobody takes a packet out of the pipe meanwhile
            if alone < 0:
                return 0
            try:
                put = self._counts.put.value
                # SYNC POINT: hands. If nobody has anything in his hands, all that is not done is in the pipe, and
                # cannot leave it now. What is put meanwhile is in the pipe and not in `put`: too few are found lost,
                # never too many.
                if is_locked(alone, *_HANDS):
                    return 0
                lost = max(0, put - self._counts.done.value - self._pipe.packets)
                if lost:
                    self._counts.done.add(lost)
                return lost
            finally:
                os.close(alone)
