"""The main process's side: start the fork server, have it fork workers, and hold the descriptors of their ends."""

from __future__ import annotations

import atexit
import contextlib
import errno
import multiprocessing.spawn
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final, NoReturn

from pardata.errors import BrokenError
from pardata.process.capacity import explained, refusal
from pardata.process.environment import given_environment, working_directory
from pardata.process.exit_status import describe_exit
from pardata.process.interrupts import Uninterrupted
from pardata.process.messages import Ended, Signal, Start, StartAnswer, close_all, encode, receive, send
from pardata.process.system import at_fork

_CODE: Final = (
    "import sys; sys.path[:] = {path!r}; "
    "from pardata.process.forkserver import main; main({fd}, {parent}, {work!r}, {preload!r})"
)

# By name, as these are layers below: a worker's main function, and modules that the server loads once for all workers.
_WORK: Final = "pardata.runtime.worker.preload:main"
_PRELOAD: Final = (
    "numpy.random",
    "pardata.runtime.worker.preload",
    "pardata.pipeline.programs.build",
    "pardata.pool.worker.loop",
)

# Threads of these libraries are set per worker; the server must have none when it forks.
_THREAD_VARIABLES: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

_STOP_S: Final = 1.0  # until a server that does not end by itself is killed: it may be stopped
_ANSWER_S: Final = 2.0  # between looks whether a silent server is stopped (SIGSTOP); found twice in a row, it is killed
_REPORT_S: Final = 1.0  # for the server's report of a death; then the status is unknown
_LOOK_S: Final = 0.005  # for the end of a process that is no child of this one, where the system has no pidfds


class ServerGone(BrokenError):
    """The fork server has ended, or was ended, before it answered."""

    def __init__(self) -> None:
        super().__init__(
            "the process that workers are forked from ended before it had started one. Was it killed, or does numpy or "
            "pardata fail to be imported in a fresh interpreter of this environment?"
        )


class ForkServer:
    """The server process, started at the first request and again if it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._serial = 0

    def start(self) -> None:
        """Start the server unless it runs. Raises `CapacityError`."""
        with self._lock:
            if not self._runs():
                self._start()

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _start(self) -> None:
        self._end()
        with explained("the process that workers are forked from", 2), Uninterrupted():
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                with theirs:
                    self._process = _launch(theirs.fileno())
            except BaseException:
                ours.close()
                raise
            self._sock = ours

    def spawn(self, offset: int, length: int, fds: Sequence[int]) -> tuple[int, int]:
        """Have a worker forked with `fds`, the first of which is the pipe for `Ended`.

        A server that was killed is replaced first. A Ctrl-C is raised afterwards: else there would be a worker that
        this process does not know.

        Returns
        -------
        pid, pidfd
            The pidfd is the caller's; -1 where the kernel gives none.

        Raises
        ------
        CapacityError
            The system refuses another process, or so many descriptors; there is no worker.
        """
        with Uninterrupted(), self._lock:
            for is_last_try in (False, True):
                if not self._runs():
                    self._start()
                try:
                    answer, received = self._ask(offset, length, fds)
                    break
                except (BrokenPipeError, ConnectionResetError, ServerGone) as error:
                    self._end()
                    if is_last_try:
                        raise ServerGone from error
            if answer.error:
                raise refusal(answer.error, "a worker process", len(fds))
            return answer.pid, received[0] if received else -1

    def _ask(self, offset: int, length: int, fds: Sequence[int]) -> tuple[StartAnswer, list[int]]:
        sock = self._sock
        assert sock is not None
        self._serial += 1
        with explained("a worker process", len(fds)):
            send(sock, encode(Start(self._serial, offset, length, len(fds))), fds)
        while True:
            self._await(sock)
            data, received, is_whole = receive(sock)
            if not data:
                raise ServerGone
            if (answer := StartAnswer.decode(data)).serial == self._serial:
                break
            send(sock, encode(Signal(answer.pid, signal.SIGKILL)))  # of a request that was broken off: nobody knows it
            close_all(received)
        if not is_whole:  # this process may open no more: the worker cannot be watched
            send(sock, encode(Signal(answer.pid, signal.SIGKILL)))
            raise refusal(errno.EMFILE, "a worker process", 1)
        return answer, received

    def _await(self, sock: socket.socket) -> None:
        """Wait for an answer. A server that is stopped, and stays so, will not give one: it is taken for gone."""
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        was_stopped = False
        while not poll.poll(_ANSWER_S * 1000):
            is_stopped = self._is_stopped()
            if is_stopped and was_stopped:
                raise ServerGone
            was_stopped = is_stopped  # after a Ctrl-Z of all, this process may be the first that goes on

    def _is_stopped(self) -> bool:
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"
        return False

    def signal(self, pid: int, number: int) -> None:
        """Have the server signal a worker that it has not reaped: the way where there are no pidfds."""
        with self._lock, contextlib.suppress(OSError):
            if self._sock is not None:
                send(self._sock, encode(Signal(pid, number)))

    @property
    def pid(self) -> int | None:
        """The process id of the server; None if it was not started."""
        return None if (process := self._process) is None else process.pid

    def stop(self) -> None:
        """End the server; the kernel ends its workers with it."""
        if self._lock.acquire(timeout=_STOP_S):
            try:
                self._end()
            finally:
                self._lock.release()
        elif self._process is not None:  # a thread waits for a server that does not answer
            self._process.kill()

    def _end(self) -> None:
        process, sock = self._process, self._sock
        if sock is not None:
            sock.close()
        if process is not None:
            try:
                process.wait(_STOP_S)  # the closed socket tells it to end, unless it is stopped
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._process = self._sock = None

    def forget(self) -> None:
        """Forget the server in a forked child: it is the parent's."""
        self._lock = threading.Lock()
        if self._sock is not None:
            self._sock.close()
        if self._process is not None:
            self._process.returncode = 0  # not ours to wait for
        self._process = self._sock = None


def _launch(fd: int) -> subprocess.Popen[bytes]:
    environment = {**dict.fromkeys(_THREAD_VARIABLES, "1"), **given_environment()}
    gone = working_directory() is None  # Python 3.13.0 cannot import NumPy there
    path = [os.path.abspath(entry) for entry in sys.path if not gone or os.path.isabs(entry)]
    directory = "/" if gone else None
    code = _CODE.format(path=path, fd=fd, parent=os.getpid(), work=_WORK, preload=_PRELOAD)
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    command = [os.fsdecode(multiprocessing.spawn.get_executable()), *flags, "-c", code]
    # Ctrl-C is for the main process only, also before the server has set its handler.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(command, pass_fds=[fd], env=environment, stdin=subprocess.DEVNULL, cwd=directory)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)


class Process:
    """A worker process: its sentinel becomes readable when it has ended.

    Attributes
    ----------
    pid : int
    sentinel : int
        A descriptor for a selector: the pidfd, or the pipe for `Ended` where the kernel gives none.
    ended : bool
    status : int or None
        Exit code, or minus the signal; None while it lives, and if the server could not report it.
    peak_bytes : int or None
        The most physical memory it had; None where the status is None.
    """

    def __init__(self, offset: int, length: int, fds: Sequence[int]) -> None:
        """Start a worker, whose spec lies at ``[offset, offset + length)`` of ``fds[0]``. Raises `CapacityError`."""
        self.status: int | None = None
        self.peak_bytes: int | None = None
        self.ended = False
        with Uninterrupted():
            with explained("a worker process", len(fds) + 2):
                self._report, theirs = os.pipe()
            try:
                self.pid, self._pidfd = fork_server.spawn(offset, length, [theirs, *fds])
            except BaseException:
                os.close(self._report)
                raise
            finally:
                os.close(theirs)  # the server has the only write end then: its death is an end of file here
        self.sentinel = self._report if self._pidfd < 0 else self._pidfd

    def receive(self) -> bool:
        """Take in the end of the process if it has come; return whether it has."""
        if not self.ended and _is_readable(self.sentinel, 0):
            # SYNC POINT: end of a worker (`forkserver._reap`). The pidfd is readable first; the server reaps and
            # reports a moment later, unless it is stopped.
            told = Ended.decode(os.read(self._report, Ended.BYTES)) if _is_readable(self._report, _REPORT_S) else None
            if told is not None:
                self.status, self.peak_bytes = told.status, told.peak_bytes
            elif self._pidfd < 0:
                self._wait_until_gone()
            self.ended = True
        return self.ended

    def _wait_until_gone(self) -> None:
        """Wait until the kernel has ended the worker of a dead server: without a pidfd nothing signals that."""
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(self.pid, 0)
                time.sleep(_LOOK_S)

    def close(self) -> None:
        """Close the descriptors of a process that has ended; nothing may wait for its sentinel any more."""
        assert self.ended
        close_all([fd for fd in (self._report, self._pidfd) if fd >= 0])
        self._report = self._pidfd = self.sentinel = -1

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process has not ended."""
        if self.ended:
            return
        if self._pidfd < 0:
            fork_server.signal(self.pid, number)
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a process belongs to the one that started it")

    def __repr__(self) -> str:
        return f"<Process {self.pid}: {describe_exit(self.status) if self.ended else 'alive'}>"


def _is_readable(fd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


fork_server = ForkServer()
atexit.register(fork_server.stop)
at_fork(after_in_child=fork_server.forget)
