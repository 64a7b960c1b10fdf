"""The memory limit of a run, and the holders of its memory, from words that each owner of a span publishes.

Words of a span's header, in bytes. The span's owner is the only writer while it lives; the parent writes CONTROL before
its start, and takes LIVE and RESERVED back when it is gone for good:

    0   LIVE       blocks that are in use, by the owner or by a reader
    1   RESERVED   LIVE and the warm free blocks
    12  LARGEST    of the largest batch that the owner has sent
    60  CONTROL    of the owner's tables and channels, as far as they were written to
    63  WIDEST     of the blocks of the batch that had most

A reader adds them up while they change: the sums are exact to one block per process, which the limit allows for, so no
order of these stores matters.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Final

from pardata.errors import CapacityError
from pardata.memory.cgroups import memory_left, own_groups

LIVE, RESERVED, LARGEST, WIDEST, CONTROL = 0, 1, 12, 63, 60

_CONTROL_SHARE: Final = 4  # a quarter of a limit may go to channels for more messages than are needed


def format_bytes(nbytes: float) -> str:
    """Return a number of bytes for people: 3 -> '3 B', 8000000 -> '8.0 MB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} TB"


def available_bytes() -> int:
    """Return the bytes that this process may still use: the system's available memory, or its cgroups' rest if less."""
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/proc/meminfo") as file:
            available = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pass  # not Linux: the physical memory is the best known figure
    left = memory_left(own_groups("memory"))
    return available if left is None else min(available, left)


class Budget:
    """A byte limit over several spans. Holds no state of its own: it adds up the owners' words.

    Two owners may pass the check at the same moment; the limit is exact to one block per process.
    """

    def __init__(self, limit_bytes: int, headers: Sequence[memoryview], names: Sequence[str]) -> None:
        self.limit_bytes = limit_bytes
        self._headers = headers
        self._names = names
        self._groups = [
            [header for header, other in zip(headers, names, strict=True) if other == name]
            for name in dict.fromkeys(names)
        ]

    @property
    def spans(self) -> int:
        """The number of owners whose memory counts."""
        return len(self._headers)

    def live_bytes(self) -> int:
        """Return the bytes in use, tables and channels included."""
        return sum(header[LIVE] + header[CONTROL] for header in self._headers)

    def control_bytes(self) -> int:
        """Return the bytes of tables and channels: they stay until the end."""
        return sum(header[CONTROL] for header in self._headers)

    def may_widen(self) -> bool:
        """Return whether more messages may be in flight than are needed: each takes memory in channels for good."""
        return self.control_bytes() * _CONTROL_SHARE <= self.limit_bytes

    def largest_bytes(self) -> int:
        """Return the size of the largest batch that any worker has sent."""
        return max(header[LARGEST] for header in self._headers)

    def widest_bytes(self) -> int:
        """Return the bytes of blocks of the batch that had most."""
        return max(header[WIDEST] for header in self._headers)

    def path_bytes(self) -> int:
        """Return the bytes of blocks that one batch may have on its way: the most of each stage, and the most of all.

        For a moment it has blocks at every stage: an earlier stage has not yet noted which ones were released.
        """
        most = [max(header[WIDEST] for header in group) for group in self._groups]
        return sum(most) + max(most)

    def has_room_on_its_way(self, in_flight: int) -> bool:
        """Return whether one more batch fits on its way, by the sizes known so far; `in_flight` are under way.

        Live bytes beyond the needs of those count as kept by a consumer.
        """
        per_batch = self.path_bytes()
        kept = max(0, self.live_bytes() - in_flight * per_batch)
        return kept + (in_flight + 1) * per_batch <= self.limit_bytes

    def has_room(self, nbytes: int) -> bool:
        """Return whether `nbytes` more may be kept, warm free blocks included."""
        return sum(header[RESERVED] + header[CONTROL] for header in self._headers) + nbytes <= self.limit_bytes

    def allows(self, nbytes: int) -> bool:
        """Return whether `nbytes` more may be in use."""
        return self.live_bytes() + nbytes <= self.limit_bytes

    def check(self, nbytes: int, who: str) -> None:
        """Raise `CapacityError` if `nbytes` more would pass the limit."""
        live, control = self.live_bytes(), self.control_bytes()
        if live + nbytes <= self.limit_bytes:
            return
        if control + nbytes > self.limit_bytes:
            raise CapacityError(
                f"{who} needs {format_bytes(nbytes)} of shared memory at once, more than the limit of "
                f"{format_bytes(self.limit_bytes)} without the {format_bytes(control)} of tables and channels: raise "
                f"memory_limit="
            )
        raise CapacityError(
            f"{who} needs {format_bytes(nbytes)} of shared memory, but {format_bytes(live)} of the limit of "
            f"{format_bytes(self.limit_bytes)} are in use ({self.holders()}). Arrays that are kept by their consumer "
            f"stay in memory: copy what you keep, keep fewer, have a map compute fewer ahead (buffersize=), or raise "
            f"memory_limit="
        )

    def holders(self) -> str:
        """Return the makers of most of the memory in use, for people."""
        held: Counter[str] = Counter()  # the workers of a pool or a stage have one name
        for header, name in zip(self._headers, self._names, strict=True):
            held[name] += header[LIVE]
        made_by = ", ".join(f"{name} {format_bytes(size)}" for name, size in held.most_common(4) if size) or "nobody"
        control = self.control_bytes()
        return f"arrays made by: {made_by}" + (f"; tables and channels: {format_bytes(control)}" if control else "")
