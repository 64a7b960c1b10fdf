"""Worker processes of a run that was killed may be at the user's code still: the next run waits until they are gone.

      a worker:  shares the lock on `workers`, then reads who has the folder; if that is not its run, it leaves
      a run:     takes the folder (its process id stands in the lock file), then waits until nobody shares `workers`

SYNC POINT: presence. Both store first and look second: no worker goes on beside a run that has begun after its own.
"""

from __future__ import annotations

import os
import time
from typing import Final

from pardata.errors import ConfigError

try:
    import fcntl
except ModuleNotFoundError:  # no worker processes there
    fcntl = None  # type: ignore[assignment]

WAIT_S: Final = 30.0
_LOOK_AGAIN_S: Final = 0.01

LOCK: Final = "checkpoint"  # the lock file of a folder has this name, and an ending
_WORKERS: Final = "workers"


class Presence:
    """Says that this process works for the run of a process, until it is dropped.

    Attributes
    ----------
    is_wanted : bool
        False: another run has the folder.
    """

    def __init__(self, folder: str, owner: int) -> None:
        self._fd = -1
        self.is_wanted = True
        if os.getpid() == owner or fcntl is None:
            return  # a thread of the run itself
        self._fd = _opened(folder)
        # This waits at most for a run that has the lock alone, which it gives up at once.
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        try:
            with open(os.path.join(folder, f"{LOCK}.lock")) as file:  # SYNC POINT: presence
                self.is_wanted = file.read() == str(owner)
        except FileNotFoundError:
            self.is_wanted = False

    def close(self) -> None:
        """Let the next run begin."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def wait_until_alone(folder: str) -> None:
    """Wait until no worker of an earlier run is left. Raises ConfigError if that takes long."""
    if fcntl is None:
        return
    fd, end_s = _opened(folder), time.monotonic() + WAIT_S
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # SYNC POINT: presence
                return
            except BlockingIOError:
                if time.monotonic() > end_s:
                    raise ConfigError(
                        f"checkpoint={folder!r}: worker processes of an earlier run are still at work; try again when "
                        f"they are gone"
                    ) from None
            time.sleep(_LOOK_AGAIN_S)  # `flock` has no limit of time
    finally:
        os.close(fd)


def _opened(folder: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    return os.open(os.path.join(folder, _WORKERS), flags, 0o666)
