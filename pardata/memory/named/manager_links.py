"""The addresses of managers: links in the directory of sessions, made and replaced under that directory's lock.

    <base>/manager-<hash of the address>  ->  <session>/<group>-<hash of the authkey>

A link has one writer at a time: its manager, or, once the manager's session is dead, the holder of the lock.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Iterator
from typing import Final

from pardata.memory.named import directories, guardian

# The lock of the addresses is held for less than a millisecond. It is asked for again and again, as flock has no limit
# of time: who waited in it for a process that is stopped would hang.
_TRIES: Final = 1000
_RETRY_S: Final = 0.01


def link_path(address: str | tuple[str, int]) -> str:
    """Return the path of the link from an address to its session and group."""
    name = hashlib.sha256(repr(address).encode()).hexdigest()[:32]
    return os.path.join(directories.base_directory(make=False), f"manager-{name}")


def link_target(path: str, group: int, digest: str) -> str:
    """Return the text of the link to a group in the session at `path`."""
    return f"{path}/{group}-{digest}"


@contextlib.contextmanager
def _addresses_locked(base: str) -> Iterator[None]:
    """Keep other processes from removing or replacing addresses meanwhile. Raises `TimeoutError`."""
    with contextlib.ExitStack() as held:
        for _ in range(_TRIES):
            with contextlib.suppress(BlockingIOError):
                held.enter_context(guardian.alone(base, wait=False))
                break
            time.sleep(_RETRY_S)
        else:
            raise TimeoutError(
                errno.ETIMEDOUT,
                f"another process of this user has had the managers' addresses locked for {_TRIES * _RETRY_S:g} s, so "
                f"it seems to be stopped (SIGSTOP, Ctrl-Z, a debugger): let it go on, or end it",
                base,
            )
        yield


def take_address(path: str, target: str) -> bool:
    """Make the link of an address; return False if it is that of a living manager.

    SYNC POINT: manager address (`guardian._clear`). A sweep removes links of dead managers under the same lock.
    """
    with _addresses_locked(os.path.dirname(path)):
        while True:
            with contextlib.suppress(FileExistsError):
                os.symlink(target, path)
                return True
            with contextlib.suppress(FileNotFoundError):  # that manager has shut down just now
                if guardian.is_alive(os.path.dirname(os.readlink(path))):
                    return False
                os.unlink(path)
