"""The files that a job writes: whether they are still those of the checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from pardata.errors import ConfigError

FileIdentity = list[int]  # inode, size in bytes, and time of the last write in ns


def identity_of(path: str) -> FileIdentity:
    """Return what tells a file from others that have its name later."""
    found = os.stat(path)
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def check_apart(folder: Any, paths: Iterable[str]) -> None:
    """Raise `ConfigError` if the folder of a checkpoint that is to be made is, or lies in, what the job writes."""
    if isinstance(folder, str | os.PathLike):
        made = os.path.abspath(os.fspath(folder))
        for path in paths:
            if os.path.commonpath([made, path]) == path:
                raise ConfigError(f"checkpoint={made!r}: the job writes {path!r}: give a folder of its own")


def check_done(folder: str, path: str, known: FileIdentity | None) -> None:
    """Raise `ConfigError` if the file of a job that is done is gone, or if another one has its name.

    A file that was changed in place stays the same one, and so does one that was copied with its time.
    """
    if not os.path.exists(path):
        raise _refused(folder, f"the job is done, and {path!r}, which it has written, is gone")
    now = identity_of(path)
    if known is not None and now[0] != known[0] and now[1:] != known[1:]:
        raise _refused(folder, f"the job is done, and {path!r}, which it has written, was replaced by another file")


def check_begun(folder: str, path: str, nbytes: int = 0) -> None:
    """Raise `ConfigError` if a file that was begun is gone, or is shorter than what was written to it."""
    if not os.path.exists(path):
        raise _refused(folder, f"{path!r}, which it belongs to, is gone")
    if os.stat(path).st_size < nbytes:
        raise _refused(folder, f"{path!r}, which it belongs to, was cut")


def _refused(folder: str, why: str) -> ConfigError:
    return ConfigError(f"checkpoint={folder!r}: {why}; restart=True begins again")
