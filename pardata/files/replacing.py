"""Replace a file so that its name always leads to a whole one, by one writer at a time.

      lock path.lock -> fill path.part -> fsync -> rename to path -> fsync the directory -> unlock

A killed writer leaves the old file as it was; its lock ends with it, and the next writer overwrites its part.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from pardata.errors import ConfigError
from pardata.memory.disk import create_new, naming, sync_directory
from pardata.memory.locking import HolderLock


def put_in_place(part: str, path: str) -> None:
    """Rename a part once all of it is on the disk; it gets the permissions of the file that it replaces."""
    fd = os.open(part, os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        with contextlib.suppress(FileNotFoundError):
            os.chmod(fd if os.chmod in os.supports_fd else part, stat.S_IMODE(os.stat(path).st_mode))
        with naming(path):
            os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(part, path)
    sync_directory(path)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yield the path of an empty part; at the end of the block it replaces `path`, after an error it is removed."""
    lock = HolderLock(path)
    part = f"{path}.part"
    try:
        os.close(create_new(part))
        yield part
        if not lock.is_mine:
            raise ConfigError(f"{path} is written by the process that began, not by its forked child")
        put_in_place(part, path)
    finally:
        if lock.is_mine:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
            lock.release()
