"""Runs and pools as lines of text that fit a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pardata.memory.budget import format_bytes
from pardata.runtime.recording.numbers import rate_text
from pardata.runtime.watching.counts import Pace, Seen, SeenKey, SeenStage, pace

_HEADS: Final = ("stage", "workers", "items", "items/s", "busy", "starved", "blocked", "memory", "restarts", "failed")
_SHORTEST_NAME: Final = 10
_FEWEST_ROWS: Final = 3  # of a run, also where there are many
_WIDE: Final = 200  # without a terminal
# Columns that a narrow terminal does without, the first one first.
_LEFT_OUT: Final = ("failed", "memory", "restarts", "workers", "blocked", "starved", "items")


class Look(NamedTuple):
    """The counts of a moment (time.monotonic_ns), and the command lines of the processes by their numbers."""

    at_ns: int
    seen: Sequence[Seen]
    commands: Mapping[int, str]


def lines_of(now: Look, before: Look | None, width: int = _WIDE, height: int | None = None) -> list[str]:
    """Return the lines of a screen; rates are those since `before`, where a run was seen then, else since it began.

    With a height, stages that are busy least are left out where there are too many, and the lines say so.
    """
    if not now.seen:
        return _cut(["No runs and no pools of this user's are at work."], width)
    olds = {} if before is None else {seen.key: seen for seen in before.seen}
    blocks = [_Block(seen, olds, now, before) for seen in now.seen]
    room = None if height is None else max(_FEWEST_ROWS, (height - 3 * len(blocks)) // len(blocks))
    if room is not None:
        spare = sum(max(0, room - len(block.stages)) for block in blocks)
        crowded = sum(len(block.stages) > room for block in blocks)
        room += spare // max(1, crowded)
    lines: list[str] = []
    for at, block in enumerate(blocks):
        more = block.lines(width, room)
        if height is not None and len(lines) + len(more) > height - (at < len(blocks) - 1):
            lines.append(f"... and {len(blocks) - at} more; a terminal with more lines shows them")
            break
        lines += more
    return _cut(lines, width)[:height]


class _Block:
    """A run or a pool, and how fast its stages were lately."""

    def __init__(self, seen: Seen, olds: Mapping[SeenKey, Seen], now: Look, before: Look | None) -> None:
        self._seen = seen
        self._age_s = max(0.0, (now.at_ns - seen.begun_ns) / 1e9)
        self._command = now.commands.get(seen.pid, "")
        old = olds.get(seen.key)
        seconds = self._age_s if old is None or before is None else (now.at_ns - before.at_ns) / 1e9
        then = [] if old is None else old.stages
        olds_of = [*then, *[None] * len(seen.stages)]
        self.stages = [(stage, pace(stage, was, seconds)) for stage, was in zip(seen.stages, olds_of, strict=False)]

    def lines(self, width: int, room: int | None) -> list[str]:
        """Return a head, a line per stage, or for `room` of them, and an empty line."""
        kept, left_out = self.stages, 0
        if room is not None and len(kept) > room:
            busiest = sorted(kept, key=lambda pair: -pair[1].busy)[: room - 1]
            least = min(pair[1].busy for pair in busiest)
            kept, left_out = [pair for pair in kept if pair in busiest], len(kept) - len(busiest)
        rows = [_cells(stage, pace) for stage, pace in kept]
        lines = [self._head(), *_table([dict(zip(_HEADS, _HEADS, strict=True)), *rows], width)]
        if left_out:
            lines.append(f"  ... and {left_out} more stages, none of them busy for more than {least:.0%}")
        return [*lines, ""]

    def _head(self) -> str:
        seen = self._seen
        what = f"pool {seen.name!r}" if seen.is_pool else "run"
        used = f"{format_bytes(seen.used_bytes)} of {format_bytes(seen.limit_bytes)}"
        return f"{what} of process {seen.pid}, {_age(self._age_s)}, memory {used}: {self._command}"


def _age(seconds: float) -> str:
    """Return a time as h:mm:ss, or in seconds if it is short."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _cells(stage: SeenStage, pace: Pace) -> dict[str, str]:
    cells = (
        stage.name, str(stage.workers), f"{stage.items:,}", rate_text(pace.per_s) if pace.per_s else "0",
        f"{pace.busy:.0%}", f"{pace.starved:.0%}", f"{pace.blocked:.0%}", format_bytes(stage.memory_bytes),
        str(stage.restarts), str(stage.failed),
    )  # fmt: skip
    return dict(zip(_HEADS, cells, strict=True))


def _table(rows: list[dict[str, str]], width: int) -> list[str]:
    """Return the rows, with the columns that there is room for, and the names cut to what is left."""
    heads = list(_HEADS)
    wide = {head: max(len(row[head]) for row in rows) for head in heads}
    for dropped in ("", *_LEFT_OUT):
        heads = [head for head in heads if head != dropped]
        rest = sum(wide[head] for head in heads[1:])
        left = width - rest - len(heads)
        if left >= min(_SHORTEST_NAME, wide["stage"]):
            break
    gap = 2 if left - len(heads) >= wide["stage"] else 1
    name_width = max(1, min(wide["stage"], width - rest - gap * (len(heads) - 1) - 2))
    return [
        "  " + (" " * gap).join([_short(row["stage"], name_width).ljust(name_width),
                                 *(row[head].rjust(wide[head]) for head in heads[1:])]).rstrip()
        for row in rows
    ]  # fmt: skip


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _cut(lines: list[str], width: int) -> list[str]:
    """Return lines that do not wrap, without characters that a terminal would obey."""
    return [_short("".join(letter if letter.isprintable() else "?" for letter in line), width) for line in lines]
