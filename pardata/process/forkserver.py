"""The clean process that workers are forked from: numpy and pardata are loaded, nothing of the user's is.

      main process -- Start --> fork server -- fork --> worker           (`messages` defines what is sent)
      main process <- StartAnswer with pid and pidfd
      main process <- the pidfd becomes readable ------ worker ends
      main process <- Ended --- fork server <- SIGCHLD - worker

The main process learns of a death from the pidfd, which it gets while the worker cannot have been reaped. So it never
waits for this process, and never signals a process id that another process may have by now. This process only forks,
reaps, and reports exit status and peak memory of workers. Where the kernel gives no pidfd, signals go through this
process (the only one that knows its unreaped children), and `Ended` reports the death.

This process dies with the main process (it polls its pidfd, and sees the socket's end; the thread that started it may
end before), and every worker dies with this process (PR_SET_PDEATHSIG, whose "parent" is a thread: there is only one).
So the kernel takes down the whole tree after a SIGKILL of the main process; nothing of it has to run.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import select
import signal
import socket
import sys
from typing import Final, NoReturn

from pardata.process import imports, title
from pardata.process.capacity import limit_descriptors
from pardata.process.ending import end_in_peace
from pardata.process.messages import Ended, Signal, Start, StartAnswer, close_all, decode, receive, send
from pardata.process.system import libc, say_nothing_is_inherited

_PR_SET_PDEATHSIG: Final = 1


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends; at once if it has."""
    libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _pidfd_of(pid: int) -> int:
    """Return a pidfd of a process that cannot have been reaped; -1 where the kernel, a sandbox or Python gives none."""
    if not (hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")):
        return -1
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return -1


class _Server:
    def __init__(self, sock: socket.socket, parent: int, work: str) -> None:
        self._sock = sock
        self._work = work
        self._reports: dict[int, int] = {}  # per worker that has not been reaped: the pipe for `Ended`
        self._pid = os.getpid()
        self._wake, self._wake_write = socket.socketpair()
        self._wake.setblocking(False)
        self._wake_write.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self._parent_fd = _pidfd_of(parent)
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
                self._serve_one()

    def _reap(self) -> None:
        while self._reports:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            report = self._reports.pop(pid)  # SYNC POINT: end of a worker (`launcher.Process.receive`)
            with contextlib.suppress(OSError):
                os.write(report, Ended(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024).encode())
            os.close(report)

    def _serve_one(self) -> None:
        """Receive a request, all packets of it, and carry it out."""
        data, fds, is_whole = receive(self._sock)
        if not data:
            os._exit(0)
        request = decode(data)
        if isinstance(request, Signal):
            if request.pid in self._reports:
                with contextlib.suppress(OSError):
                    os.kill(request.pid, request.number)
            return
        while not fds or request.descriptors > len(fds):
            if not is_whole:
                break
            more, further, is_whole = receive(self._sock)
            if not more:
                os._exit(0)
            fds += further
        self._start(request, fds)

    def _start(self, request: Start, fds: list[int]) -> None:
        pid, pidfd, error = 0, -1, 0
        if len(fds) < request.descriptors:
            error = errno.EMFILE
        else:
            try:
                pid = os.fork()
                if pid == 0:
                    self._become_worker(request, fds)
                # It may have ended, and is not reaped before this: `serve` does that, in the same thread.
                pidfd = _pidfd_of(pid)
            except OSError as failure:
                error = failure.errno or errno.EAGAIN
        if error:
            if pid:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            close_all(fds)
        else:
            self._reports[pid] = fds[0]
            close_all(fds[1:])
        with contextlib.suppress(OSError):  # the main process is gone: the poll shows that
            send(self._sock, StartAnswer(request.serial, error, pid).encode(), [] if pidfd < 0 else [pidfd])
        if pidfd >= 0:
            os.close(pidfd)

    def _become_worker(self, request: Start, fds: list[int]) -> NoReturn:
        code = 1
        try:
            say_nothing_is_inherited(False)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _die_with(self._pid)
            # Those of other workers: with a copy of one here, its reader would not see that the server has died.
            close_all(list(self._reports.values()))
            for end in (self._sock, self._wake, self._wake_write):
                end.close()
            if self._parent_fd >= 0:
                os.close(self._parent_fd)
            os.close(fds[0])
            imports.is_worker = True
            module, _, name = self._work.partition(":")
            code = getattr(importlib.import_module(module), name)(request.offset, request.length, fds[1:])
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            end_in_peace(code & 0xFF)


def _set_signals() -> None:
    """Leave Ctrl-C to the main process, and reset signals that the starting thread may have blocked or ignored.

    A handler that does nothing, and not SIG_IGN: programs that workers start would inherit that, and outlive a Ctrl-C.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as `nohup` and a shell's background jobs have it
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.siginterrupt(signal.SIGINT, False)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main(fd: int, parent: int, work: str, preload: tuple[str, ...]) -> NoReturn:
    """Serve requests from `fd` until the parent is gone.

    Parameters
    ----------
    work : str
        "module:function" that a worker calls with offset and length of its spec, and its descriptors; returns the exit
        code.
    preload : tuple of str
        Modules that are loaded once, for every worker.
    """
    _set_signals()
    if os.getppid() != parent:
        os._exit(1)
    limit_descriptors(None)  # it holds the descriptors of each worker for a moment
    for module in preload:
        importlib.import_module(module)
    title.set_title("pardata-forks")
    say_nothing_is_inherited(True)
    _Server(socket.socket(fileno=fd), parent, work).serve()
