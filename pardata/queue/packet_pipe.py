"""A pipe of packets, for any number of processes: every write is one packet, every read takes exactly one (Linux).

The kernel does the work of a queue: packets are atomic for any number of writers and readers, they outlive their
writer, and a read reports the end of file when the pipe is empty and no write end is open in any process. So no part of
a queue is in shared memory, and a process that is killed holds nothing that another one waits for.

SYNC POINT: between. A process between two steps that belong together (a packet is read, its arrays are opened) holds a
shared lock, which ends with the process. If a process gets the lock alone, nobody is in between. The locks are those of
a file without content, as an end of the pipe may be closed meanwhile: the read end of a process that ends is, while
packets are still in its buffer.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import struct
import threading
from math import inf
from time import monotonic
from typing import Any, Final

from pardata.memory.exchange.range_locks import lock_range, reopen
from pardata.process.interrupts import Uninterrupted, steps
from pardata.process.system import check_linux, memory_file, module

fcntl: Any = module("fcntl")
termios: Any = module("termios")

PACKET_BYTES: Final = 4096  # PIPE_BUF: the most that is atomic; all have this size, so that they can be counted
FEEDER: Final = -1
MOST_PACKETS: Final = 256  # 1 MiB: the most that any user may ask for (/proc/sys/fs/pipe-max-size)


def unread_bytes(fd: int) -> int:
    """Return how many bytes are in a pipe, given either of its ends."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"0000"))[0])


def deadline_of(block: bool, timeout: float | None) -> float | None:
    """Return the `monotonic` time of the deadline of a call, None for none."""
    return (None if timeout is None else monotonic() + timeout) if block else 0.0


def seconds_left(deadline: float | None) -> float:
    """Return how much time there is until a deadline."""
    return inf if deadline is None else deadline - monotonic()


def wait_for(fd: int, events: int, seconds: float = inf) -> int:
    """Return the events of a descriptor that have come within this time, 0 if none has."""
    poll = select.poll()
    poll.register(fd, events)
    for step in steps(seconds) if seconds > 0 else (0.0,):
        if found := poll.poll(step * 1000):
            return found[0][1]
    return 0


class PacketPipe:
    """One process's ends of a pipe, and its locks. The read end stays open, the write end comes and goes.

    Parameters
    ----------
    reader, writer, locks : int
        Descriptors. `locks` has been opened by this process: its locks belong to this process alone. They are closed by
        `dispose`.
    """

    def __init__(self, reader: int, writer: int, locks: int) -> None:
        self.reader, self.writer, self.locks = reader, writer, locks
        self._in_between: set[int] = set()  # threads of this process, and `FEEDER`
        self._mutex = threading.RLock()  # a signal's handler may fork
        self._is_kept = False

    @classmethod
    def create(cls, packets: int = MOST_PACKETS) -> PacketPipe:
        """Return a new pipe with both ends, and room for so many packets if it can be (`room`). Raises `PlatformError`.

        It cannot if that is no power of two, or if this user has too many pipes: then there is room for 16 or for 2.
        """
        check_linux("a queue between processes")
        reader, writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, packets * mmap.PAGESIZE)
        return cls(reader, writer, memory_file("pardata-queue"))

    @property
    def room(self) -> int:
        """The number of packets for which the pipe has room: the kernel keeps each in a page of its own."""
        return int(fcntl.fcntl(self._any_end, fcntl.F_GETPIPE_SZ)) // mmap.PAGESIZE

    def open_writer(self) -> int:
        """Return one more write end."""
        writer = reopen(self._any_end, os.O_WRONLY)
        fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)  # open() knows no O_DIRECT for pipes
        return writer

    @property
    def _any_end(self) -> int:
        return self.reader if self.reader >= 0 else self.writer

    def hold_writer(self, is_held: bool = True) -> None:
        """Have a write end, or none."""
        is_held = is_held or self._is_kept
        if is_held == (self.writer >= 0):
            return
        with Uninterrupted(), self._mutex:  # a number that was closed may soon be another file's
            if is_held == (self.writer >= 0):
                return
            if is_held:
                self.writer = self.open_writer()
            else:
                os.close(self.writer)
                self.writer = -1

    def keep_writer(self) -> None:
        """Have a write end until `dispose`, whatever `hold_writer` is told; a forked child is not meant."""
        self._is_kept = True
        self.hold_writer()

    def close_reader(self) -> None:
        """Close the read end: a write end then tells whether any process still has one."""
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    def dispose(self) -> None:
        """Close both ends, and end the locks."""
        self._is_kept = False
        self.hold_writer(False)
        self.close_reader()
        if self.locks >= 0:
            os.close(self.locks)
            self.locks = -1

    def write(self, packet: bytes) -> bool:
        """Write a packet of at most `PACKET_BYTES`. Return False, and write nothing, if there is no room."""
        try:
            os.write(self.writer, packet.ljust(PACKET_BYTES, b"\0"))
        except BlockingIOError:
            return False
        return True

    def read(self) -> bytes | None:
        """Return a packet, ``b""`` at the end of file, None if there is nothing yet."""
        try:
            return os.read(self.reader, PACKET_BYTES)
        except BlockingIOError:
            return None

    @property
    def packets(self) -> int:
        """The number of packets in the pipe."""
        return unread_bytes(self._any_end) // PACKET_BYTES

    def enter(self, place: int = 0) -> None:
        """Begin steps that belong together; any number of threads and processes may. SYNC POINT: between.

        `place`: `FEEDER` for the one thread that writes later on, else the calling thread is in between. An exception
        of a signal's handler may come between any two lines: then `leave` takes back what was done, as often as it is
        called. So the lock is never missing while somebody is noted.
        """
        with self._mutex:
            if not self._in_between:
                # Waits for a process that counts (`try_alone`), for a moment: all others share the lock.
                lock_range(self.locks, fcntl.F_RDLCK, 0, 1, wait=True)
            # Behind the lock, and `leave` takes it out in front of the unlock: nobody is noted without the lock.
            self._in_between.add(place or threading.get_ident())

    def leave(self, place: int = 0) -> None:
        """End the steps that `enter` has begun, if it has."""
        with self._mutex:
            self._in_between.discard(place or threading.get_ident())
            if not self._in_between:
                lock_range(self.locks, fcntl.F_UNLCK, 0, 1)

    def try_alone(self) -> int:
        """Return a descriptor; until it is closed nobody is in between. -1 if somebody is. SYNC POINT: between.

        Uninterrupted, until it is closed: one that nobody knows would keep all processes out.
        """
        # By an open file of its own: the threads of this process are to be outside, too.
        alone = reopen(self.locks, os.O_RDWR)
        try:
            lock_range(alone, fcntl.F_WRLCK, 0, 1)
        except OSError:
            os.close(alone)
            return -1
        return alone

    def hold_for_fork(self) -> int:
        """Before a fork: return a write end for the child, -1 if no descriptor is left for one.

        No other thread is in the middle of opening one until `after_fork_in_parent`: nobody in the child would know of
        that one, and close it, and readers would wait for the child.
        """
        self._mutex.acquire()
        try:
            return self.open_writer()
        except OSError:  # the child opens one when it puts
            return -1

    def after_fork_in_parent(self, writer: int) -> None:
        """Let other threads go on, and close the end that was the child's."""
        if writer >= 0:
            os.close(writer)
        self._mutex.release()

    def after_fork(self, writer: int) -> None:
        """In a forked child: replace what it shares with its parent by its own; what is read may be shared."""
        # At once: as long as the inherited descriptor is open, it holds the parent's locks, also when the parent is
        # killed.
        shared, self.locks = self.locks, reopen(self.locks, os.O_RDWR)
        os.close(shared)
        if self.reader < 0:  # the parent is about to end
            self.reader = reopen(self.writer, os.O_RDONLY)
        if self.writer >= 0:
            os.close(self.writer)
        self.writer = writer
        self._in_between, self._mutex, self._is_kept = set(), threading.RLock(), False
