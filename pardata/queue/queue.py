"""Queue: a look-alike of `multiprocessing.Queue` in which arrays travel by address.

    put  --pack-->  [pipe: packets]  --unpack-->  get       any number of each, in any processes
      |  no room: buffer, feeder thread ^             |
      +--<-- [pipe: a byte per free place] <----------+     only for a `maxsize` that the pipe cannot have

Every process that has the queue has the read end; those that may still put have a write end. A process whose threads
all wait in `get` gives its write end up and takes one again *before* it reads (SYNC POINT: end of file), so it has one
whenever it has an item in its hands. The kernel's end of file then means that the pipe is empty and no process can put.
"""

from __future__ import annotations

import operator
import select
import sys
import threading
from collections.abc import Callable
from queue import Empty
from typing import Any, Final

from pardata.memory.exchange.addresses import forget_the_gone
from pardata.memory.exchange.exports import BlockAddress
from pardata.process.capacity import explained
from pardata.process.interrupts import Uninterrupted, join
from pardata.queue import fork_and_exit, waiters
from pardata.queue.ends import QueueEnds
from pardata.queue.forms import EndOfQueueError, OtherForms
from pardata.queue.free_slots import MOST, make_pipes
from pardata.queue.packet_codec import pack, unpack
from pardata.queue.packet_pipe import PacketPipe, deadline_of, seconds_left, wait_for
from pardata.queue.sent import Sent, taken_back_if_full, wait_until_received

_SOON: Final = 0.001  # s; the write end is not given up for less (3.3 us with taking it again, and it wakes others)


class Queue(QueueEnds, OtherForms):
    """A queue for processes and threads, in which arrays travel by address: else as `multiprocessing.Queue`.

    It is handed to processes as an argument of `multiprocessing.Process` (fork, spawn or forkserver). Any number of
    processes and threads may put and get; each item is got once, those of one producer in their order. What is put is
    pickled at once, so an object that cannot be pickled is an error of `put`.

    Arrays of 16 KiB and more are copied once, into memory of the sender, and come out as writable ordinary arrays over
    that memory. A `SharedArray` is not copied at all: both sides have the same memory.

    When nothing is left and no process can put any more, `get` raises `EOFError`. A process that has the queue can put
    until it has ended, was killed or has called `close`, and while not all of its threads wait in `get`. So workers
    that put new tasks end by themselves, and a process that starts workers and has other threads calls `close` after
    their start; it can go on getting.

    A process that was killed blocks nobody, and small items that it had put (pickles of up to 4 KiB) are still there.
    Larger ones lie in its memory: `get` raises `StaleBlockError` for each and then goes on. For the same reason a
    process does not end before its larger items have been received, unless no process is left that could, or it has
    called `cancel_join_thread`. Linux only.

    Parameters
    ----------
    maxsize : int
        The most items in the queue, 0 for any number.

    Examples
    --------
    >>> queue = pardata.Queue()
    >>> queue.put(np.arange(3))
    >>> print(queue.get())
    [0 1 2]
    """

    def __init__(self, maxsize: int = 0) -> None:
        if not hasattr(maxsize, "__index__"):
            raise TypeError(f"maxsize must be an int (0: for any number of items), not {maxsize!r}")
        count = max(0, operator.index(maxsize))
        if count > MOST:
            raise ValueError(f"maxsize is at most {MOST}, or 0 for any number of items: {count}")
        with Uninterrupted():  # descriptors that no object has yet would stay open
            self._set_up(*make_pipes(count, self._may_have_pipes_places))

    def _set_up(self, pipe: PacketPipe, count: int, places: int) -> None:
        super()._set_up(pipe, count, places)
        forget_the_gone()
        for left in list(fork_and_exit.leaving):
            left._dispose_if_received()
        fork_and_exit.queues[id(self)] = self

    def _reset(self) -> None:
        super()._reset()
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
        SerializationError
            The object cannot be pickled; it is not in the queue.
        """
        self._check_open()
        deadline = deadline_of(block, timeout)
        try:
            self._free_slots.take(deadline)
            packet, sent = self._pack(obj)
            while not self._try_send(packet):  # another producer was faster
                with taken_back_if_full(sent):
                    self._free_slots.take(deadline)
            self._free_slots.filled()
        except BaseException:  # also one of a signal, which may come between any two lines
            self._free_slots.filled()
            raise

    def _try_send(self, packet: bytes) -> bool:
        with self._lock:
            self._check_open()
            return self._send(packet)

    def _check_open(self) -> None:
        if self._is_closed:
            self._update_ends()  # one that waited for a place may have taken a write end
            raise ValueError(f"{self!r} is closed")

    def _pack(self, obj: Any) -> tuple[bytes, list[BlockAddress]]:
        try:
            packet, sent = pack(obj)
        except BaseException:
            self._free_slots.give_back()
            raise
        self._sent.add(sent)
        return packet, sent

    def _send(self, packet: bytes) -> bool:
        """Write a packet, or leave it to the feeder; if it raises, neither. With the lock held.

        Return False, and do neither, if the places are those of the pipe and none is free.
        """
        self._has_ended = False  # the end of file that `get` saw is past
        self._pipe.hold_writer()
        if not self._buffer and self._pipe.write(packet):  # behind those in the buffer, as they were put
            return True
        if self._free_slots.are_pipes:
            return False
        if self._feeder is None:
            self._start_feeder()
        self._buffer.append(packet)
        return True

    def _start_feeder(self) -> None:
        feeder = threading.Thread(target=self._feed, name="pardata-queue", daemon=True)
        with Uninterrupted(), explained("a queue"):
            self._free_slots.stay()
            try:
                feeder.start()
                self._feeder = feeder
            finally:
                if self._feeder is None:  # the system has no thread left
                    self._free_slots.emptied_buffer()

    def _feed(self) -> None:
        while True:
            wait_for(self._pipe.writer, select.POLLOUT)  # `_update_ends` keeps it for the feeder
            with self._lock:
                try:
                    while self._buffer and self._pipe.write(self._buffer[0]):
                        self._buffer.popleft()
                except BrokenPipeError:  # at the end of this process: no reader is left
                    self._buffer.clear()
                if not self._buffer:
                    self._feeder = None
                    self._free_slots.emptied_buffer()
                    self._update_ends()
                    return

    # -- getting -------------------------------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next object. Also after `close`.

        Raises
        ------
        EOFError
            Nothing is left, and no process is left that could put. It is a `queue.Empty` as well.
        queue.Empty
            Nothing came within `timeout` seconds (at once if not `block`).
        StaleBlockError, SerializationError
            The object is lost: it was in memory of a killed process; it pickles, but cannot be unpickled.
        """
        deadline = deadline_of(block, timeout)
        self._has_ended = False
        try:
            while True:
                with self._lock:
                    if not self._is_closed and not self._has_ended:
                        self._pipe.hold_writer()  # SYNC POINT: end of file. Before the read: user code may put for it
                self._pipe.enter()  # SYNC POINT: between
                packet = self._pipe.read()
                if packet:
                    self._has_ended = False
                    self._free_slots.emptied()  # killed before it: `_recount` finds the place
                    obj = unpack(packet)  # in between still: the sender keeps the arrays until they are open
                    self._pipe.leave()
                    return obj
                self._pipe.leave()
                if packet is not None:
                    self._has_ended = True
                    fork_and_exit.end_with_program()
                    raise EndOfQueueError("nothing is left in the queue, and nobody is left who could put")
                self._wait(deadline)
        except BaseException:  # also one of a signal, which may come between any two lines
            self._waiters.discard()
            self._pipe.leave()
            raise

    def _wait(self, deadline: float | None) -> None:
        """Return when there is something to read, or the end."""
        if wait_for(self._pipe.reader, select.POLLIN, min(seconds_left(deadline), _SOON)) & select.POLLIN:
            return
        try:
            self._waiters.add()
            self._update_ends()
            events = wait_for(self._pipe.reader, select.POLLIN, seconds_left(deadline))
            if not events:
                raise Empty
            self._has_ended = not events & select.POLLIN
        finally:
            self._waiters.discard()
            self._update_ends()

    def _update_ends(self) -> None:
        """Hold a write end if this process may put, else none. SYNC POINT: end of file."""
        with self._lock:
            self._lent.close_delivered()
            others = self._waiters.others() if self._waiters else []
            all_wait = bool(self._waiters) and not others
            may_put = not self._is_closed and not self._has_ended and not all_wait
            self._pipe.hold_writer(may_put or self._feeder is not None)
        if may_put:
            waiters.watch(others, fork_and_exit.update_all)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<pardata.Queue, {state}, {self.qsize()} items, maxsize {self._free_slots.count}>"

    # -- ending --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Say that this process puts nothing more; earlier items still arrive. Happens by itself at its end."""
        self._is_closed = True
        self._update_ends()

    def join_thread(self) -> None:
        """Wait until all items that this process has put are in the pipe. Only after `close`."""
        if not self._is_closed:
            raise ValueError(f"{self!r} is not closed")
        feeder = self._feeder
        if feeder is not None:
            join(feeder)

    def cancel_join_thread(self) -> None:
        """Let this process end without waiting for the items that it has put: they may be lost."""
        self._is_cancelled = True

    def _is_awaited(self) -> bool:
        return not self._is_cancelled and self._sent.are_awaited

    def _leave(self) -> None:
        """At the end of this process: wait until its items have left buffer and memory, or no reader is left."""
        if not self._is_cancelled and (self._feeder is not None or self._is_awaited()):
            self._wait_for_readers()
        self._sent.write_off()

    def _wait_for_readers(self) -> None:
        with self._lock:
            self._pipe.keep_writer()  # it tells whether a reader is left, also when the feeder has ended
            if not self._waiters:
                self._pipe.close_reader()
        if (feeder := self._feeder) is not None:
            join(feeder)
        wait_until_received(self._pipe, self._is_awaited)

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if _is_over() or not hasattr(self, "_is_closed"):
            return  # its constructor has raised, or the hooks of the exit have closed it
        self.close()
        if self._is_awaited():
            fork_and_exit.leaving.add(self)
        else:
            self._dispose()

    def _dispose_if_received(self) -> None:
        if not self._is_awaited():
            fork_and_exit.leaving.discard(self)
            self._dispose()
