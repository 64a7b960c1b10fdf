"""Start a worker without re-importing the user's script, and know how it ended."""

from __future__ import annotations

import array
import atexit
import contextlib
import multiprocessing.spawn
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from pardata.runtime.exits import describe_exit
from pardata.runtime.forkserver import FDS_PER_MESSAGE, PID, REQUEST, STATUS

_START = (
    "import sys; sys.path[:] = {path!r}; from pardata.runtime.forkserver import main; main({fd}, {parent}, {preload!r})"
)

# Loaded once, by the server, for every worker: what any of them may run (by name, as those are layers above).
_PRELOAD = ("numpy.random", "pardata.runtime.worker", "pardata.pipeline.programs", "pardata.pool.program")

# Threads of the linear-algebra libraries are set per worker; the server itself is to have none when it forks.
_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class ForkServer:
    """The server process, started at the first request and again if it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server if it does not run."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()

    def _start(self) -> None:
        if self._process is not None:
            self._end()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**dict.fromkeys(_THREAD_VARIABLES, "1"), **os.environ}
        path = [os.path.abspath(entry) for entry in sys.path]
        code = _START.format(path=path, fd=theirs.fileno(), parent=os.getpid(), preload=_PRELOAD)
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        python = os.fsdecode(multiprocessing.spawn.get_executable())
        # Ctrl-C is the parent's business, also before the server can say that it ignores it.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [python, *flags, "-c", code], pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        self._sock = ours

    def request(self, offset: int, length: int, fds: Sequence[int]) -> None:
        """Have a worker forked with `fds`; a server that was killed is replaced first."""
        data = REQUEST.pack(offset, length, len(fds))
        parts = [array.array("i", fds[at : at + FDS_PER_MESSAGE]) for at in range(0, len(fds), FDS_PER_MESSAGE)]
        with self._lock:
            for is_last_try in (False, True):
                if self._process is None or self._sock is None or self._process.poll() is not None:
                    self._start()
                try:
                    assert self._sock is not None
                    for part in parts:
                        self._sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, part)])
                    return
                except (BrokenPipeError, ConnectionResetError):
                    if is_last_try:
                        raise
                    self._end()

    @property
    def pid(self) -> int | None:
        """Process id of the server, if it was started."""
        return self._process.pid if self._process is not None else None

    def stop(self) -> None:
        """End the server; the kernel ends its workers with it."""
        with self._lock:
            if self._process is not None:
                self._end()

    def _end(self) -> None:
        assert self._process is not None and self._sock is not None
        self._sock.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = self._sock = None

    def forget(self) -> None:
        """In a forked child: the server is the parent's."""
        self._lock = threading.Lock()
        if self._sock is not None:
            self._sock.close()
        if self._process is not None:
            self._process.returncode = 0  # not ours to wait for
        self._process = self._sock = None


class Process:
    """A worker process: its sentinel becomes readable when something about it is known.

    Attributes
    ----------
    sentinel : socket.socket
    pid : int or None
        None until the server has told.
    ended : bool
    status : int or None
        Exit code, or minus the signal; None while it lives, and if the server died with it.
    peak_bytes : int or None
        The most physical memory it had; None where the status is.
    """

    def __init__(self, offset: int, length: int, fds: Sequence[int]) -> None:
        """Start a worker whose spec lies at ``[offset, offset + length)`` of the segment ``fds[0]``."""
        self.pid: int | None = None
        self.status: int | None = None
        self.peak_bytes: int | None = None
        self.ended = False
        self._pidfd = -1
        self.sentinel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fork_server.request(offset, length, [theirs.fileno(), *fds])
        self.sentinel.setblocking(False)

    def receive(self) -> bool:
        """Read the sentinel. Return whether the process has ended."""
        while not self.ended:
            try:
                data = self.sentinel.recv(64)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                data = b""
            if len(data) == PID.size:
                self._know(PID.unpack(data)[0])
            elif data:
                status, self.peak_bytes = STATUS.unpack(data)
                self._end(status)
            else:
                self._end(None)
        return True

    def _know(self, pid: int) -> None:
        self.pid = pid
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(pid)

    def _end(self, status: int | None) -> None:
        """Note the end. Without a status the server has died, and the kernel is killing the worker: wait for that."""
        self.status = status
        self.ended = True
        if self._pidfd >= 0:
            if status is None:
                import select

                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                waiter = select.poll()
                waiter.register(self._pidfd, select.POLLIN)
                waiter.poll()
            os.close(self._pidfd)
            self._pidfd = -1
        self.sentinel.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process lives and its pid is known."""
        if self.pid is None or self.ended:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)

    def __repr__(self) -> str:
        return f"<Process {self.pid}: {describe_exit(self.status) if self.ended else 'alive'}>"


fork_server = ForkServer()
atexit.register(fork_server.stop)
os.register_at_fork(after_in_child=fork_server.forget)
