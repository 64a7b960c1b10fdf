"""The bars that are drawn where the user names none: tqdm's, or lines where nothing can be drawn."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Any, Final

from pardata.process.capacity import loading

LINES_S: Final = 5.0  # where no bar can be drawn


def beside_bars(stream: Any) -> contextlib.AbstractContextManager[None]:
    """Return what takes tqdm's bars away, if there are any, while something else is written to `stream`."""
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    if tqdm is None or not getattr(tqdm, "_instances", None):
        return contextlib.nullcontext()
    return tqdm.external_write_mode(file=stream)  # type: ignore[no-any-return]


def bar_kind() -> Any:
    """Return what draws bars: tqdm on a terminal and in a notebook, lines elsewhere, as in a file."""
    stream: Any = sys.stderr
    try:
        draws = stream.isatty() and os.environ.get("TERM") != "dumb"
    except Exception:
        draws = False
    if draws or type(stream).__module__.startswith("ipykernel"):
        with loading("a bar"):
            from tqdm.auto import tqdm

        return tqdm
    return LineBar


class LineBar:
    """Stands for a bar of tqdm where nothing can be drawn: writes a line every `LINES_S` seconds, and a last one."""

    def __init__(self, *, total: float | None, unit: str, leave: bool, desc: str = "", **_: Any) -> None:
        self.n: float = 0
        self.total = total
        self.start_t = self.last_print_t = time.time()
        self._desc = desc
        self._unit = unit
        self._leave = leave
        self._due_s = self.start_t + LINES_S

    def set_description(self, desc: str, refresh: bool = True) -> None:
        """Set the text in front."""
        self._desc = desc

    def refresh(self) -> None:
        """Write a line, if it is time."""
        now = time.time()
        if now >= self._due_s:
            self._due_s = now + LINES_S
            self._write(now)

    def close(self) -> None:
        """Write the last line, if it is to stay."""
        if self._leave:
            self._write(time.time())

    def _write(self, now: float) -> None:
        from tqdm.std import tqdm

        total: Any = self.total
        meter = tqdm.format_meter(self.n, total, now - self.start_t, 0, self._desc, unit=self._unit)
        with contextlib.suppress(Exception):
            sys.stderr.write(meter.rstrip() + "\n")
            sys.stderr.flush()
