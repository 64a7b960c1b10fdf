"""The messages between the main process and the fork server, and their layout in bytes.

      main process  -- Start, with the descriptors of the worker (SCM_RIGHTS), or Signal -->  fork server
      main process  <-- StartAnswer, with the worker's pidfd (SCM_RIGHTS) -------------------  fork server
      main process  <-- Ended, through a pipe of each worker --------------------------------  fork server

Every message but `Ended` is one packet of a SEQPACKET socket. A `Start` with more descriptors than the kernel takes in
one packet is sent as several equal packets. Packets, little-endian:

    Start         i 1 | q serial | q offset | q length | i descriptors      offset, length: of the worker's spec, bytes
    Signal        i 2 | q 0 | q pid | q 0 | i number
    StartAnswer   q serial | i error (errno, 0: none) | i pid
    Ended         i status | q peak_bytes
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

FDS_PER_PACKET: Final = 250  # the kernel's limit is 253


@dataclass(frozen=True)
class Start:
    """Fork a worker. Its first descriptor is the pipe for `Ended`, the others are the worker's own."""

    serial: int
    offset: int  # of the worker's spec in the segment
    length: int
    descriptors: int

    KIND: ClassVar[int] = 1


@dataclass(frozen=True)
class Signal:
    """Send a signal to a worker that has not been reaped. It is not answered."""

    pid: int
    number: int

    KIND: ClassVar[int] = 2


_REQUEST: Final = struct.Struct("<iqqqi")
_ANSWER: Final = struct.Struct("<qii")
_ENDED: Final = struct.Struct("<iq")


def encode(request: Start | Signal) -> bytes:
    """Return the packet of a request."""
    if isinstance(request, Start):
        return _REQUEST.pack(Start.KIND, request.serial, request.offset, request.length, request.descriptors)
    return _REQUEST.pack(Signal.KIND, 0, request.pid, 0, request.number)


def decode(data: bytes) -> Start | Signal:
    """Return the request in a packet."""
    kind, serial, first, second, third = _REQUEST.unpack(data)
    return Start(serial, first, second, third) if kind == Start.KIND else Signal(first, third)


@dataclass(frozen=True)
class StartAnswer:
    """The answer to a `Start`: the worker's process id, or the system's error number (0: none)."""

    serial: int
    error: int
    pid: int

    def encode(self) -> bytes:
        """Return the packet."""
        return _ANSWER.pack(self.serial, self.error, self.pid)

    @classmethod
    def decode(cls, data: bytes) -> StartAnswer:
        """Return the answer in a packet."""
        return cls(*_ANSWER.unpack(data))


@dataclass(frozen=True)
class Ended:
    """The end of a worker.

    Attributes
    ----------
    status : int
        Exit code, or minus the signal.
    peak_bytes : int
        The most physical memory that it had.
    """

    status: int
    peak_bytes: int

    def encode(self) -> bytes:
        """Return the bytes; a pipe takes them in one piece."""
        return _ENDED.pack(self.status, self.peak_bytes)

    @classmethod
    def decode(cls, data: bytes) -> Ended | None:
        """Return the report from a pipe; None at the pipe's end: the fork server is gone."""
        return cls(*_ENDED.unpack(data)) if len(data) == _ENDED.size else None

    BYTES: ClassVar[int] = _ENDED.size


def send(sock: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send a message with descriptors, in as many packets as they need."""
    for at in range(0, len(descriptors) or 1, FDS_PER_PACKET):
        part = array.array("i", descriptors[at : at + FDS_PER_PACKET])
        sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, part)] if part else [])


def receive(sock: socket.socket) -> tuple[bytes, list[int], bool]:
    """Return the next packet (b"" at the socket's end), its descriptors, and whether all of them arrived.

    Where the process may not open so many, the kernel drops the rest and sets MSG_CTRUNC.
    """
    data, ancillary, flags, _ = sock.recvmsg(_REQUEST.size, socket.CMSG_SPACE(4 * FDS_PER_PACKET))
    received = array.array("i")
    for _, _, raw in ancillary:
        received.frombytes(raw[: len(raw) - len(raw) % received.itemsize])
    return data, received.tolist(), not flags & socket.MSG_CTRUNC


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors."""
    for fd in descriptors:
        os.close(fd)
