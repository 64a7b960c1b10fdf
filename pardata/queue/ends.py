"""The ends of a queue in one process, and how a process that is forked or spawned gets ends of its own."""

from __future__ import annotations

import os
import threading
from collections import deque
from multiprocessing import context
from multiprocessing.reduction import DupFd
from typing import Any

from pardata.memory.exchange.range_locks import reopen
from pardata.queue.free_slots import slots_of
from pardata.queue.lent import Lent, from_lent, lend
from pardata.queue.packet_pipe import PacketPipe


class QueueEnds:
    """The pipe of packets, the places, a buffer, and the lock that the threads of this process share."""

    _may_have_pipes_places = True  # the places may be those of the pipe

    def _set_up(self, pipe: PacketPipe, count: int, places: int) -> None:
        """Take over a pipe and `count` places, as `make_pipes` returns them."""
        self._pipe, self._free_slots = pipe, slots_of(pipe, count, places)
        self._lent = Lent()
        self._reset()

    def _reset(self) -> None:
        """Begin anew in this process: no other thread of it has used the queue."""
        self._lock = threading.RLock()
        self._buffer: deque[bytes] = deque()  # packets that the pipe had no room for

    # -- looking -------------------------------------------------------------------------------------------------------

    def qsize(self) -> int:
        """Return how many items can be got, those that this process has still to write included."""
        return self._pipe.packets + len(self._buffer)

    def empty(self) -> bool:
        """Return whether the queue is empty at this moment."""
        return not self.qsize()

    def full(self) -> bool:
        """Return whether `maxsize` items are in the queue at this moment."""
        return self._free_slots.are_taken

    def _dispose(self) -> None:
        self._pipe.dispose()
        self._free_slots.dispose()
        self._lent.close_all()

    # -- spawned processes ---------------------------------------------------------------------------------------------

    def __getstate__(self) -> Any:
        if context.get_spawning_popen() is None:
            raise RuntimeError(
                "a Queue is handed over when a process is started (args= of multiprocessing.Process, initializer= and "
                "initargs= of its pools), not with a task; workers of pardata's own pools and streams return results"
            )
        with self._lock:  # no fork comes between: the child closes what is noted
            lent = lend(self._pipe.open_writer())
            self._lent.add(lent)
        places = DupFd(self._free_slots.fd) if self._free_slots.fd >= 0 else None
        return DupFd(self._pipe.reader), DupFd(lent), DupFd(self._pipe.locks), self._free_slots.count, places

    def __setstate__(self, state: Any) -> None:
        reader, lent, shared, count, places = state
        fds = [reader.detach(), from_lent(lent.detach()), places.detach() if places is not None else -1]
        # As multiprocessing hands them over, they are inherited by each program that this process starts, which would
        # count as a reader and a producer.
        for fd in fds:
            if fd >= 0:
                os.set_inheritable(fd, False)
        locks = shared.detach()
        self._set_up(PacketPipe(fds[0], fds[1], reopen(locks, os.O_RDWR)), count, fds[2])
        os.close(locks)

    # -- forked processes ----------------------------------------------------------------------------------------------

    def _hold_for_fork(self) -> int:
        """Before a fork: take the locks; return as `PacketPipe.hold_for_fork`."""
        self._lock.acquire()
        return self._pipe.hold_for_fork()

    def _after_fork_in_parent(self, writer: int) -> None:
        self._pipe.after_fork_in_parent(writer)
        self._lock.release()

    def _after_fork_in_child(self, writer: int) -> None:
        self._lent.close_all()
        self._pipe.after_fork(writer)
        self._reset()
