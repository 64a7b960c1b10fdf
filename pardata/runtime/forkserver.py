"""The clean process that workers are forked from: numpy and pardata are loaded, nothing of the user's is.

      parent  -- one SEQPACKET socket: (where the spec lies, descriptors) -->  fork server  -- fork -->  worker
      parent  <- one sentinel socket per worker: pid, then exit status, peak   fork server  <- SIGCHLD -   worker

The server dies with the parent (it polls the parent's pidfd, and sees the socket's end; the thread that started it
may end before) and every worker dies with the server (PR_SET_PDEATHSIG, whose "parent" is a thread: the server has
only one). So the kernel takes down the whole tree after a SIGKILL of the parent; nothing of it has to run. Without
pidfd or prctl (macOS) the sockets' ends tell the same, once a worker comes back from user code.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import importlib
import os
import select
import signal
import socket
import struct
import sys
from typing import Final, NoReturn

from pardata.runtime import title

REQUEST: Final = struct.Struct("<qqi")  # offset and length of the spec in the segment, number of descriptors
PID: Final = struct.Struct("<q")
STATUS: Final = struct.Struct("<iq")  # exit code or minus the signal; the most memory it had, in bytes
FDS_PER_MESSAGE: Final = 250  # the kernel's limit is 253
_PR_SET_PDEATHSIG: Final = 1


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends; at once if it has."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def receive_request(sock: socket.socket) -> tuple[int, int, list[int]] | None:
    """Return (offset, length, descriptors); None at the socket's end."""
    fds: list[int] = []
    while True:
        data, ancillary, _, _ = sock.recvmsg(REQUEST.size, socket.CMSG_SPACE(4 * FDS_PER_MESSAGE))
        if not data:
            return None
        for _, _, raw in ancillary:
            received = array.array("i")
            received.frombytes(raw)
            fds += received
        offset, length, count = REQUEST.unpack(data)
        if len(fds) == count:
            return offset, length, fds


class _Server:
    def __init__(self, sock: socket.socket, parent: int) -> None:
        self._sock = sock
        self._sentinels: dict[int, socket.socket] = {}
        self._pid = os.getpid()
        self._wake, self._wake_write = socket.socketpair()
        self._wake.setblocking(False)
        self._wake_write.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self._parent_fd = os.pidfd_open(parent) if hasattr(os, "pidfd_open") else -1
        if self._parent_fd >= 0:
            self._poll.register(self._parent_fd, select.POLLIN)

    def serve(self) -> NoReturn:
        while True:
            ready = {fd for fd, _ in self._poll.poll()}
            if self._parent_fd in ready:
                os._exit(0)
            if self._wake.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
                self._reap()
            if self._sock.fileno() in ready:
                request = receive_request(self._sock)
                if request is None:
                    os._exit(0)
                self._fork(*request)

    def _reap(self) -> None:
        while self._sentinels:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            sentinel = self._sentinels.pop(pid)
            with sentinel, contextlib.suppress(OSError):
                sentinel.send(STATUS.pack(os.waitstatus_to_exitcode(status), peak))

    def _fork(self, offset: int, length: int, fds: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_worker(offset, length, fds)
        sentinel = socket.socket(fileno=fds[0])
        self._sentinels[pid] = sentinel
        for fd in fds[1:]:
            os.close(fd)
        with contextlib.suppress(OSError):
            sentinel.send(PID.pack(pid))

    def _become_worker(self, offset: int, length: int, fds: list[int]) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _die_with(self._pid)
            for sentinel in self._sentinels.values():
                sentinel.close()
            for end in (self._sock, self._wake, self._wake_write):
                end.close()
            if self._parent_fd >= 0:
                os.close(self._parent_fd)
            os.close(fds[0])
            from pardata.runtime.worker import main as work

            code = work(offset, length, fds[1:])
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            os._exit(code & 0xFF)


def main(fd: int, parent: int, preload: tuple[str, ...]) -> NoReturn:
    """Serve requests from `fd` until the parent is gone; modules in `preload` are loaded once, for every worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if os.getppid() != parent:
        os._exit(1)
    for module in preload:
        importlib.import_module(module)
    title.set_title("pardata-forks")
    _Server(socket.socket(fileno=fd), parent).serve()
