"""The list of named blocks: their owners, and the processes that have them mapped."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pardata.memory.named import directories, guardian
from pardata.memory.named.guardian import SHM
from pardata.memory.named.register import records


@dataclass(frozen=True)
class BlockInfo:
    """A named block, as `SharedMemoryManager.blocks` and ``python -m pardata ls`` list it.

    Attributes
    ----------
    name : str
        The name by which processes attach.
    nbytes : int, bytes
        Its size.
    age_s : float, seconds
        The time since it was created.
    pid : int
        Id of the process that created it.
    where : str
        File and line that created it, ``"path:line"``.
    holders : tuple of int
        Ids of the processes that have it mapped, as far as this user may see them.
    session : str
        The directory of its session.
    is_alive : bool
        Whether the process that began that session lives. If not, the next sweep removes the block.
    group : int
        The number of its manager; 0 without one.

    Examples
    --------
    >>> with pardata.SharedMemoryManager() as manager:
    ...     block = manager.SharedMemory(100)
    ...     print([(info.name == block.name, info.nbytes) for info in manager.blocks()])
    [(True, 100)]
    """

    name: str
    nbytes: int
    age_s: float
    pid: int
    where: str
    holders: tuple[int, ...]
    session: str
    is_alive: bool
    group: int


def _holders(names: Iterable[str]) -> dict[str, list[int]]:
    """Return the ids of the processes that have each block mapped."""
    found: dict[str, list[int]] = {name: [] for name in names}
    if not found:
        return found
    inodes = {}  # the maps show another name of a block that was made without one
    for name in found:
        with contextlib.suppress(FileNotFoundError):
            inodes[str(guardian.file_of(name)[1])] = name
    for pid in sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        try:
            with open(f"/proc/{pid}/maps", errors="surrogateescape") as file:
                mapped = {line.split(maxsplit=5)[4] for line in file if f" {SHM}/" in line}
        except OSError:
            continue  # gone, or another user's
        for inode in mapped & inodes.keys():
            found[inodes[inode]].append(pid)
    return found


def blocks(sessions: Iterable[str] | None = None) -> list[BlockInfo]:
    """Return the recorded blocks of some sessions that still exist, the oldest first; None: all of this user's."""
    if sessions is None:
        sessions = [path for base in directories.base_directories() for path in guardian.sessions(base)]
    now = time.time()
    rows = [
        (session, guardian.is_alive(session), record)
        for session in sessions
        for record in records(session)
        if guardian.exists(record)
    ]
    holders = _holders(record.name for _, _, record in rows)
    found = [
        BlockInfo(
            record.name,
            record.nbytes,
            max(0.0, now - record.created),
            record.pid,
            record.where,
            tuple(holders[record.name]),
            session,
            alive,
            record.group,
        )
        for session, alive, record in rows
    ]
    return sorted(found, key=lambda block: -block.age_s)
