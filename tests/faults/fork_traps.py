"""Kills the fork server in a window, once. The server loads this module before it forks, and so sets the trap.

PARDATA_TEST_TRAP   "<window>:<path of a marker>"
"""

import os
import signal

from pardata.process import forkserver

WINDOWS = ["before the fork", "between the fork and the answer", "after the answer"]

window, _, marker = os.environ.get("PARDATA_TEST_TRAP", "").partition(":")
fork, send = os.fork, forkserver.send


def die() -> None:
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def trapped_fork() -> int:
    if window == WINDOWS[0]:
        die()
    pid = fork()
    if pid and window == WINDOWS[1]:
        die()
    return pid


def trapped_send(*args: object) -> None:
    send(*args)  # type: ignore[arg-type]
    if window == WINDOWS[2]:
        die()


if window:
    os.fork, forkserver.send = trapped_fork, trapped_send
