"""The bars of a run or a call, one for each stage, while it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from pardata.errors import ConfigError
from pardata.runtime.line_bar import bar_kind

REFRESH_S: Final = 0.1  # of bars: what they show is in words that workers write and do not tell
_LONGEST_NAME: Final = 24  # in front of a bar


def check_progress(progress: Any) -> None:
    """Raise `ConfigError` for an argument ``progress=`` that is neither yes or no nor makes bars."""
    if not (progress is None or isinstance(progress, bool | int | np.bool_) or callable(progress)):
        raise ConfigError(f"progress must be True, False, or a class or function like tqdm, not {progress!r}")


class Bars:
    """One tqdm bar per stage, refreshed at most every `REFRESH_S` seconds."""

    def __init__(self, totals: Mapping[str, int | None], unit: str = "item", kind: Any = True) -> None:
        """Make a bar for each name: tqdm's own, or what `kind`, a class or function like tqdm, returns."""
        if not callable(kind):
            kind = bar_kind()
        names = [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in totals]
        width = max(map(len, names), default=0)
        self._bars: list[Any] = [
            kind(
                total=total,
                desc=name.ljust(width),
                unit=unit,
                leave=True,
                dynamic_ncols=True,
                mininterval=0,
            )
            for name, total in zip(names, totals.values(), strict=True)
        ]
        self._due_s = 0.0
        self._moved_s = [time.time()] * len(self._bars)

    def update(self, counts: Sequence[int], final: bool = False) -> None:
        """Show how far each stage is."""
        now = time.monotonic()
        if now < self._due_s and not final:
            return
        self._due_s = now + REFRESH_S
        for index, (bar, count) in enumerate(zip(self._bars, counts, strict=True)):
            if count != bar.n:
                self._moved_s[index] = time.time()
                bar.n = count
                bar.refresh()

    def close(self) -> None:
        """Leave the bars as they are: each with the time that it took itself, not the whole run."""
        for bar, moved_s in zip(self._bars, self._moved_s, strict=True):
            if hasattr(bar, "start_t"):
                still_s = time.time() - moved_s
                bar.start_t += still_s
                bar.last_print_t += still_s
            bar.close()
