"""The values of a map that have come and that the consumer has not taken: in order, or as they come."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from pardata.checkpoint.results import ResultLog, StoredValues
from pardata.process.interrupts import steps
from pardata.runtime.stage_bars import REFRESH_S


class ResultTimeoutError(TimeoutError):
    """A result did not come in time; not an error of the user's function."""


class MapValues:
    """Workers' values go in by the pool's thread and come out in the consumer's, without the pool's lock.

    Parameters
    ----------
    ordered : bool
        Values come out in the order of their items.
    log : ResultLog, optional
        Stores values for a later call; those that it has already come out of it.
    """

    def __init__(self, ordered: bool, log: ResultLog | None = None) -> None:
        self._ordered = ordered
        self._changed = threading.Condition()
        # By the number of the first item.
        self._done: dict[int, tuple[list[Any], BaseException | None] | StoredValues] = {}
        self.log = log
        if log is not None:
            self._done.update(log.stored)
        self._arrived: deque[int] = deque()  # the keys of `_done`, if no order is asked for
        self._ended: BaseException | None = None
        self._is_wanted = True

    def put(self, begin: int, values: list[Any], error: BaseException | None) -> None:
        """Take in the values of the items from number `begin` on, or their error."""
        with self._changed:
            if not self._is_wanted:
                return
            self._done[begin] = (values, error)
            if not self._ordered:
                self._arrived.append(begin)
            self._changed.notify_all()

    def end(self, error: BaseException) -> None:
        """Give `error` in place of all that have not come."""
        with self._changed:
            self._ended = error
            self._changed.notify_all()

    def drop(self) -> None:
        """Drop the values, now and later: nobody will take them."""
        with self._changed:
            self._is_wanted = False
            self._done.clear()
            self._arrived.clear()

    def has(self, number: int) -> bool:
        """Return whether the next values (in order: from item `number` on) are there, or none will come."""
        # Without the lock: what is there stays until this consumer takes it.
        return self._ended is not None or (number in self._done if self._ordered else bool(self._arrived))

    def take(
        self,
        number: int,
        run_inline: Callable[[Callable[[], bool], float | None], bool],
        deadline: float | None,
        show: Callable[[], None] | None,
    ) -> tuple[list[Any], BaseException | None]:
        """Return the next values; in order those from item `number` on. Waits for them.

        Parameters
        ----------
        run_inline : callable
            Works on the map in this thread until its first argument returns true; returns False if it cannot.
        deadline : float, optional
            Of `time.monotonic`. Raises `ResultTimeoutError` then.
        show : callable, optional
            Called at the beginning of each wait, each `REFRESH_S` at least: the progress is to be shown.
        """

        def is_there() -> bool:
            return self.has(number)

        while not self.has(number):
            rest = None if deadline is None else deadline - time.monotonic()
            if rest is not None and rest <= 0:
                raise ResultTimeoutError(f"result {number} did not come before the timeout was over")
            if show is not None:
                show()
                rest = REFRESH_S if rest is None else min(rest, REFRESH_S)
            if not run_inline(is_there, rest):
                with self._changed:
                    self._changed.wait_for(is_there, next(steps(rest), 0.0))
        with self._changed:
            if not self._done and self._ended is not None:
                return [], self._ended
            key = number if self._ordered else self._arrived.popleft()
            if key not in self._done:
                assert self._ended is not None
                return [], self._ended
            made = self._done.pop(key)
            return (made.load(), None) if isinstance(made, StoredValues) else made
