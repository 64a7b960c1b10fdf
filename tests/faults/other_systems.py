"""Make this interpreter look like that of another system: what that has not is taken away. Before pardata is imported.

Run as a script: ``other_systems.py <sys.platform> <script>``.
"""

import builtins
import mmap
import multiprocessing.managers
import multiprocessing.pool  # noqa: F401
import os
import select
import selectors
import signal
import socket
import sqlite3  # noqa: F401
import subprocess  # noqa: F401
import sys

import cloudpickle  # noqa: F401
import numpy  # noqa: F401
import tqdm.auto  # noqa: F401

LINUX_ALONE = {
    os: "posix_fallocate memfd_create MFD_CLOEXEC MFD_ALLOW_SEALING pidfd_open sched_getaffinity O_TMPFILE O_PATH "
    "O_DIRECT pipe2 copy_file_range eventfd",
    signal: "pidfd_send_signal",
    socket: "SOCK_SEQPACKET",
    mmap: "MADV_HUGEPAGE MADV_REMOVE MADV_DONTDUMP MADV_DODUMP",
    select: "epoll EPOLLIN",
    selectors: "EpollSelector",
}
POSIX_ALONE = {
    os: "fork register_at_fork getuid geteuid O_CLOEXEC O_NOFOLLOW O_NONBLOCK O_DIRECTORY O_NOCTTY sched_yield pread "
    "pwrite writev fstatvfs fchmod sysconf wait4 mkfifo killpg setsid",
    signal: "SIGKILL SIGCHLD SIGSTOP SIGPIPE pthread_sigmask sigwait",
    socket: "AF_UNIX CMSG_SPACE send_fds recv_fds SCM_RIGHTS",
    mmap: "MAP_PRIVATE MAP_ANONYMOUS MAP_SHARED PROT_READ PROT_WRITE",
    select: "poll POLLIN POLLOUT",
    selectors: "PollSelector",
}
MODULES = {"darwin": ["_posixshmem"], "win32": ["_posixshmem", "fcntl", "resource", "termios", "pwd", "grp"]}


def pretend(system):
    """Be that system from now on."""
    for table in [LINUX_ALONE] + [POSIX_ALONE] * (system == "win32"):
        for module, names in table.items():
            for name in names.split():
                vars(module).pop(name, None)
    selectors.DefaultSelector = selectors.SelectSelector
    for name in MODULES[system]:
        sys.modules[name] = None
    if "fcntl" not in MODULES[system]:
        import fcntl

        for name in [
            name for name in vars(fcntl) if name.startswith(("F_OFD_", "F_SEAL_", "F_ADD_SEALS", "F_SETPIPE"))
        ]:
            delattr(fcntl, name)
    _hide_paths("/dev/shm", "/proc/")
    sys.platform = system


def _hide_paths(*prefixes):
    def refusing(call):
        def refuse(path, *arguments, **options):
            if isinstance(path, str) and path.startswith(prefixes):
                raise FileNotFoundError(2, "No such file or directory", path)
            return call(path, *arguments, **options)

        return refuse

    os.open, os.stat, os.lstat, os.listdir, os.mkdir = map(refusing, (os.open, os.stat, os.lstat, os.listdir, os.mkdir))
    builtins.open = refusing(builtins.open)
    isdir = os.path.isdir
    os.path.isdir = lambda path: not (isinstance(path, str) and path.startswith(prefixes)) and isdir(path)


if __name__ == "__main__":
    pretend(sys.argv[1])
    exec(compile(sys.argv[2], "<script>", "exec"), {"__name__": "__main__"})
