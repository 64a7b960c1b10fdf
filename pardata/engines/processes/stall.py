"""The warning of a run that has stood still for a while: it names each worker and the one that it waits for."""

from __future__ import annotations

import time
import warnings

from pardata.memory.budget import LIVE, format_bytes
from pardata.pipeline.plan.node import user_line
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.runtime.header import (
    AWAITS,
    BATCHES,
    BEGUN_NS,
    BLOCKED_NS,
    CURRENT_CALL,
    ENDED,
    ITEMS,
    LOADING,
    MEMORY,
    RESTS,
    WAITS_FOR,
    batch_of_word,
)


class StallWatch:
    """Checks whether anything has moved, and warns once: after one to two times `stall_s`.

    Parameters
    ----------
    words : dict
        The headers of the workers of each stage.
    stall_s : float, optional
        Seconds without progress after which to warn; None: never.
    """

    def __init__(self, plan: Plan, words: dict[Stage, list[memoryview]], stall_s: float | None) -> None:
        self._plan = plan
        self._words = words
        self._stall_s = stall_s
        self._progress = 0
        self._since_s = time.monotonic()

    def begin(self) -> None:
        """Begin to wait: until now the caller was busy."""
        self._since_s = time.monotonic()

    def look(self) -> float | None:
        """Warn if it is time to; return in how many seconds to look again, None: never."""
        if self._stall_s is None:
            return None
        due_s = self._since_s + self._stall_s - time.monotonic()
        if due_s > 0:
            return due_s
        progress = sum(header[BATCHES] + header[ITEMS] for headers in self._words.values() for header in headers)
        if progress != self._progress:
            self._progress = progress
            self.begin()
            return self._stall_s
        waited_s, self._stall_s = self._stall_s, None
        file, line = user_line().rsplit(":", 1)
        told = f"nothing has moved for at least {waited_s:g} s:\n{self.explain()}"
        warnings.warn_explicit(told, RuntimeWarning, file, int(line))
        return None

    def explain(self) -> str:
        """Return a line per worker: its work or wait, for how long, and how much memory it holds."""
        lines = []
        for stage, headers in self._words.items():
            for index, header in enumerate(headers):
                who = f"stage {stage.name!r}" + (f", worker {index}" if stage.workers > 1 else "")
                held = f"; holds {format_bytes(header[LIVE])}" if header[LIVE] else ""
                if header[RESTS] and not header[CURRENT_CALL]:
                    continue
                if header[CURRENT_CALL] or header[WAITS_FOR] != ENDED or held:
                    lines.append(f"  {who}: {self._doing(stage, header)}{held}")
        return "\n".join(lines)

    def _doing(self, stage: Stage, header: memoryview) -> str:
        doing = header[CURRENT_CALL]
        if doing == LOADING:
            return "is starting"
        begun_ns = header[BEGUN_NS]
        if doing == AWAITS:
            return f"awaits up to {stage.node.concurrency} calls"
        since = f" for {(time.monotonic_ns() - begun_ns) / 1e9:.1f} s" if begun_ns else ""
        if not doing and header[WAITS_FOR] == ENDED:
            return "has ended"
        batch = batch_of_word(doing)
        if batch is not None:
            return f"works on item {batch[1]}{since}"
        if header[WAITS_FOR] == MEMORY:
            return f"waits for memory{since}"
        if header[WAITS_FOR] == BLOCKED_NS:
            behind = ", ".join(dict.fromkeys(repr(reader.name) for reader in stage.consumers))
            what = "a message to come out at the end, or memory" if stage.own_sequence is not None else "a free worker"
            return f"waits for {what}{since}; behind it: {behind}"
        before = ", ".join(dict.fromkeys(repr(edge.stage.name) for edge in stage.edges))
        return f"waits for {before or 'its turn'}{since}"
