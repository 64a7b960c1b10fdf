"""Finds the segments of this user's processes by way of /proc, and copies the headers of their spans.

A look reads, and opens for reading alone: nothing of a run can wait for it or be changed by it. It reads by `pread`: to
touch a page of a mapping that nobody has written to would make one. It keeps nothing open, since memory that a killed
run had would stay for as long.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from pardata.memory.arena import HEADER_BYTES
from pardata.memory.segment import SEGMENT_NAME
from pardata.memory.shared_heap import own_spans, span_places

_LINK: Final = f"/memfd:{SEGMENT_NAME} (deleted)"
_PROC: Final = "/proc"
_UNUSED: Final = bytes(HEADER_BYTES)

FileKey = tuple[int, int]


class SeenSegment(NamedTuple):
    """Copies of the headers of a segment's spans, by the places of the spans, and the processes that have it open.

    `pids`: by the number that each process has for itself, as it may run in a container, the number that it has here.
    """

    key: FileKey
    headers: dict[int, bytes]
    pids: dict[int, int]


def segments() -> list[SeenSegment]:
    """Return what this user's processes share at this moment."""
    places: dict[FileKey, list[tuple[int, str]]] = {}
    for pid in _processes():
        for path in _descriptors(pid):
            with contextlib.suppress(OSError):
                status = os.stat(path)
                places.setdefault((status.st_dev, status.st_ino), []).append((pid, path))
    seen = []
    for key, holders in places.items():
        headers = next((found for _, path in holders if (found := _headers(path))), {})
        if headers:
            seen.append(SeenSegment(key, headers, {_own_number(pid): pid for pid, _ in holders}))
    return seen


def _processes() -> Iterator[int]:
    """Yield the processes of this user."""
    user = os.geteuid()
    with os.scandir(_PROC) as entries:
        for entry in entries:
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    if entry.stat().st_uid == user:
                        yield int(entry.name)


def _descriptors(pid: int) -> Iterator[str]:
    """Yield the paths of a process's descriptors that are segments."""
    folder = f"{_PROC}/{pid}/fd"
    with contextlib.suppress(OSError):  # it has ended, or does not let this one look
        for name in os.listdir(folder):
            path = f"{folder}/{name}"
            with contextlib.suppress(OSError):
                if os.readlink(path) == _LINK:
                    yield path


def _headers(path: str) -> dict[int, bytes]:
    """Return the headers that have been written to."""
    found: dict[int, bytes] = {}
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            places = span_places(os.fstat(fd).st_size)
            for at in (*places[:1], *places[own_spans(len(places)) :]):
                header = os.pread(fd, HEADER_BYTES, at)
                if header != _UNUSED:
                    found[at] = header
        finally:
            os.close(fd)
    return found


def _own_number(pid: int) -> int:
    """Return the number that a process has for itself."""
    with contextlib.suppress(OSError, ValueError), open(f"{_PROC}/{pid}/status") as file:
        for line in file:
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return pid


def command_of(pid: int) -> str:
    """Return the command line of a process in short: its script, or its module, and arguments; "" if it is gone."""
    try:
        with open(f"{_PROC}/{pid}/cmdline", "rb") as file:
            words = file.read().decode("utf-8", "replace").split("\0")[:-1]
    except OSError:
        return ""
    shown = [os.path.basename(word) if at < 2 else word for at, word in enumerate(words)]
    return " ".join(" ".join(shown).split())
