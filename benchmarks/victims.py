"""A call that says where it runs and waits to be killed; done again, it returns at once.

parent: wait for the file --> kill the pid in it, look at the clock --> wait for the redo's result, look again
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

PATIENCE_S = 30.0


def victim(path: str) -> int:
    """The first call writes its pid to `path` and waits; a call that finds the file there returns its pid."""
    file = Path(path)
    if file.exists():
        return os.getpid()
    draft = file.with_suffix(".draft")  # renamed when written: the reader never sees half a number
    draft.write_text(str(os.getpid()))
    draft.rename(file)
    time.sleep(PATIENCE_S)
    raise RuntimeError("nobody killed me")


def kill_when_ready(path: str) -> float:
    """Kill the process that wrote `path`; the time (perf_counter) just before the kill."""
    file = Path(path)
    end = time.perf_counter() + PATIENCE_S
    while not file.exists():
        assert time.perf_counter() < end, f"{file} did not appear: the victim never started"
        time.sleep(0.001)
    time.sleep(0.02)  # let every process come to rest
    pid = int(file.read_text())
    assert pid != os.getpid()
    begin = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    return begin
