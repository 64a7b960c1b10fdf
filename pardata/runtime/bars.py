"""A task's own progress bar: made in a worker, drawn by the main process below those of its maps.

      task -> TaskBar.update -> ten times a second at most: (key, state) -> TaskBars.show, which holds the drawn bars

Only one process draws, so bars and lines of several workers do not run into each other.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from pardata.runtime.line_bar import bar_kind
from pardata.runtime.stage_bars import REFRESH_S


class BarState(NamedTuple):
    """The state of a bar."""

    desc: str
    n: float
    total: float | None
    unit: str


Say = Callable[[int, BarState | None], None]
"""Called with the key of a bar and its state; None: it is closed."""


say: Say | None = None  # in a worker process: has the main process draw
_keys = itertools.count()


class TaskBar:
    """A bar as tqdm's, of `pardata.worker().progress`: iterate over it, or call `update` and `close`.

    Attributes
    ----------
    n, total : float
        The work that is done, and all of it; None: not known.
    """

    def __init__(self, say: Say, iterable: Iterable[Any] | None, total: float | None, desc: str, unit: str) -> None:
        if total is None:
            with contextlib.suppress(TypeError):
                total = len(iterable)  # type: ignore[arg-type]
        self.n: float = 0
        self.total = total
        self.desc = desc
        self.is_open = True
        self._say = say
        self._key = next(_keys)
        self._iterable = iterable
        self._unit = unit
        self._due_s = 0.0
        self.refresh()

    def update(self, n: float = 1) -> None:
        """Note that so much more is done."""
        self.n += n
        if time.monotonic() >= self._due_s:
            self.refresh()

    def refresh(self) -> None:
        """Show the present state now."""
        if self.is_open:
            self._due_s = time.monotonic() + REFRESH_S
            self._say(self._key, BarState(self.desc, self.n, self.total, self._unit))

    def close(self) -> None:
        """Take the bar away. The end of the task does that as well."""
        if self.is_open:
            self.is_open = False
            self._say(self._key, None)

    def __iter__(self) -> Iterator[Any]:
        if self._iterable is None:
            raise TypeError("this bar was made without an iterable: call its update()")
        try:
            for item in self._iterable:
                yield item
                self.update()
        finally:
            self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def __enter__(self) -> TaskBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TaskBar {self.desc!r}: {self.n:g} of {'?' if self.total is None else format(self.total, 'g')}>"


class TaskBars:
    """The bars of tasks, as they are drawn."""

    def __init__(self) -> None:
        self._bars: dict[tuple[str, int], Any] = {}

    def show(self, owner: str, key: int | None, state: BarState | None) -> None:
        """Draw a bar as it is now, or take it away; without a key all bars of the owner."""
        if key is None:
            self.close(owner)
            return
        if state is None:
            self._close((owner, key))
            return
        bar = self._bars.get((owner, key))
        if bar is None:
            bar = self._bars[owner, key] = bar_kind()(
                total=state.total, unit=state.unit, leave=False, dynamic_ncols=True, mininterval=0
            )
        tag = f"[{owner}] " if owner else ""
        bar.set_description(f"{tag}{state.desc}".rstrip(), refresh=False)
        bar.n, bar.total = state.n, state.total
        bar.refresh()

    def close(self, owner: str) -> None:
        """Take the bars of a worker away."""
        for key in [key for key in self._bars if key[0] == owner]:
            self._close(key)

    def close_all(self) -> None:
        """Take all bars away."""
        for key in list(self._bars):
            self._close(key)

    def _close(self, key: tuple[str, int]) -> None:
        bar = self._bars.pop(key, None)
        if bar is not None:
            bar.close()
