"""The end of a process in words."""

from __future__ import annotations

import signal

from pardata.process.environment import CHECK_VARIABLE, checks_writes


def describe_exit(status: int | None) -> str:
    """Return the end of a process in words: from its exit code, minus its signal, or None if unknown.

    >>> describe_exit(-9)
    'killed by SIGKILL (often the out-of-memory killer)'
    """
    crash = "a crash in native code"
    if checks_writes():
        crash = (
            f"{CHECK_VARIABLE}=1 is on: native code wrote to an array that is read-only, or it crashed; the worker has "
            f"printed the line that called it"
        )
    hints = {
        signal.SIGKILL: " (often the out-of-memory killer)",
        signal.SIGSEGV: f" ({crash})",
        signal.SIGBUS: " (a truncated file or a full file system under a mapping)",
        signal.SIGABRT: " (native code gave up)",
    }
    if status is None:
        return "gone, and the fork server, dead or stopped, does not tell how"
    if status >= 0:
        return f"exited with code {status}"
    try:
        name = signal.Signals(-status)
    except ValueError:
        return f"killed by signal {-status}"
    return f"killed by {name.name}{hints.get(name, '')}"
