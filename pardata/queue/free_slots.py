"""The places of a bounded queue: a pipe with a byte for each place that is free. To take a place is to read a byte.

If the pipe of the packets has room for exactly as many (a power of two), it has the places itself: there is nothing to
take, and nothing that a killed process could have lost.

A process that is killed between taking a place and putting something there has lost the byte. A process that waits for
a place counts packets and bytes from time to time, when nobody is in between (`PacketPipe.try_alone`), and puts the
missing bytes back.
"""

from __future__ import annotations

import mmap
import os
import select
from queue import Full
from typing import Any, Final

from pardata.memory.exchange.range_locks import reopen
from pardata.process.capacity import check_descriptors
from pardata.process.interrupts import Uninterrupted
from pardata.process.system import module
from pardata.queue.packet_pipe import (
    FEEDER,
    MOST_PACKETS,
    PacketPipe,
    seconds_left,
    unread_bytes,
    wait_for,
)

fcntl: Any = module("fcntl")

MOST: Final = 1 << 19  # the largest pipe of any user has 1 MiB, see `make_free_slots`
_RECOUNT: Final = 1.0  # s without a place before places are counted: a process that was killed with one tells nobody


def make_pipes(count: int, may_be_pipes: bool = True) -> tuple[PacketPipe, int, int]:
    """Return the pipe of a new queue, the number of its places (0: without a bound), and a descriptor of these, or -1.

    There is no descriptor if the places may be those of the pipe itself, and it has exactly as many.

    Raises `CapacityError` if this process may not open so many descriptors.
    """
    check_descriptors("a queue", 6 if count else 3)
    if may_be_pipes and 0 < count <= MOST_PACKETS and count.bit_count() == 1:
        pipe = PacketPipe.create(count)
        if pipe.room == count:
            return pipe, count, -1
        pipe.dispose()
    pipe = PacketPipe.create()
    try:
        return pipe, count, make_free_slots(count) if count else -1
    except BaseException:
        pipe.dispose()
        raise


def slots_of(pipe: PacketPipe, count: int, fd: int) -> FreeSlots:
    """Return the places of a queue, from what `make_pipes` has made."""
    return PipeSlots(pipe, count, fd) if count and fd < 0 else FreeSlots(pipe, count, fd)


def make_free_slots(count: int) -> int:
    """Return a descriptor for both ends of a pipe with this many bytes in it."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # A page that was read in part takes no more bytes, so there is to be more room than bytes.
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, max(2 * count, 2 * mmap.PAGESIZE))
        os.write(writer, b"." * count)
        return reopen(reader, os.O_RDWR)
    finally:
        os.close(reader)
        os.close(writer)


class FreeSlots:
    """The places of a queue, for the items in `pipe`; without a bound if `count` is 0."""

    are_pipes = False  # a place that was taken may have gone to another producer when the packet is written

    def __init__(self, pipe: PacketPipe, count: int, fd: int) -> None:
        self._pipe, self.count, self.fd = pipe, count, fd

    def take(self, deadline: float | None) -> None:
        """Wait for a free place, and stay in between (`PacketPipe.enter`) until `filled`, so that nobody counts.

        Raises `queue.Full` at the deadline.
        """
        while self.count:
            # Before the byte is read: who counts places in between would put it back, and there would be one too many.
            self._pipe.enter()
            try:
                os.read(self.fd, 1)
                return
            except BlockingIOError:
                self._pipe.leave()
            left = seconds_left(deadline)
            if left <= 0:
                raise Full
            if not wait_for(self.fd, select.POLLIN, min(left, _RECOUNT)):
                self._recount()

    def stay(self) -> None:
        """Stay in between until `emptied_buffer`: packets are in a buffer."""
        if self.count:
            self._pipe.enter(FEEDER)

    def emptied_buffer(self) -> None:
        """Say that the buffer is empty."""
        if self.count:
            self._pipe.leave(FEEDER)

    def filled(self) -> None:
        """Say that the packet is in the pipe, or will never be; may be said again."""
        if self.count:
            self._pipe.leave()

    def give_back(self) -> None:
        """Say that a place was taken and stays empty."""
        if self.count:
            os.write(self.fd, b".")

    def emptied(self) -> None:
        """Say that a packet has left the pipe."""
        if self.count:
            os.write(self.fd, b".")

    def _recount(self) -> None:
        with Uninterrupted():
            alone = self._pipe.try_alone()  # SYNC POINT: between. No place is without its byte and its packet now
            if alone >= 0:
                # Each place has its byte or its packet, but for those of processes that were killed between the two.
                missing = self.count - self._pipe.packets - unread_bytes(self.fd)
                os.write(self.fd, b"." * missing)
                os.close(alone)

    @property
    def are_taken(self) -> bool:
        """Return whether there is a bound, and none is free at this moment."""
        return bool(self.count) and not unread_bytes(self.fd)

    def dispose(self) -> None:
        """Close the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class PipeSlots(FreeSlots):
    """The places of a queue whose pipe has room for exactly as many packets: the kernel lets no more in."""

    are_pipes = True

    def take(self, deadline: float | None) -> None:
        """Wait until there is room, which another producer may take first. Raises `queue.Full` at the deadline."""
        while self.are_taken:
            left = seconds_left(deadline)
            if left <= 0:
                raise Full
            self._pipe.hold_writer()
            writer = self._pipe.writer
            if writer >= 0:  # another thread may close the queue, here or while this one waits
                wait_for(writer, select.POLLOUT, min(left, _RECOUNT))

    def stay(self) -> None:
        """Nothing is to be said: the places are counted by the kernel."""

    filled = emptied = emptied_buffer = give_back = stay

    @property
    def are_taken(self) -> bool:
        """Return whether no place is free at this moment."""
        return self._pipe.packets >= self.count
