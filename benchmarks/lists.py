"""Reading, writing and iterating a ShareableList of 1,000 items, pardata's and the standard library's.

"list_read" and "list_write" take one item at a time, of all types in turn; "list_iterate" goes through a list of
numbers, "list_iterate_mixed" through one of all types.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

ITEMS = 1000
NUMBERS = [i if i % 2 else i / 7 for i in range(ITEMS)]
MIXED: list[Any] = [1, 2.5, "abc", True, None, b"xyz", 7, 8.5, 9, "a longer name"] * (ITEMS // 10)


def pardata(name: str, seconds: float) -> dict[str, float]:
    """Measure pardata's list."""
    from pardata.memory.shareable_list import ShareableList

    return _measure(ShareableList, name, seconds)


def stdlib(name: str, seconds: float) -> dict[str, float]:
    """Measure the standard library's list."""
    from multiprocessing.shared_memory import ShareableList

    return _measure(ShareableList, name, seconds)


def _read(shared: Any, values: list[Any]) -> None:
    for i in range(len(values)):
        shared[i]


def _write(shared: Any, values: list[Any]) -> None:
    for i, value in enumerate(values):
        shared[i] = value


def _iterate(shared: Any, values: list[Any]) -> None:
    for _ in shared:
        pass


WORK: dict[str, tuple[list[Any], Callable[[Any, list[Any]], None]]] = {
    "list_read": (MIXED, _read),
    "list_write": (MIXED, _write),
    "list_iterate": (NUMBERS, _iterate),
    "list_iterate_mixed": (MIXED, _iterate),
}


def _measure(kind: Callable[[list[Any]], Any], name: str, seconds: float) -> dict[str, float]:
    """Items per second of whole passes, for `seconds`; the list must equal its values before and after."""
    values, work = WORK[name]
    shared = kind(values)
    try:
        assert list(shared) == values
        passes, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds:
            work(shared, values)
            passes += 1
        assert list(shared) == values
    finally:
        shared.shm.close()
        shared.shm.unlink()
    items = passes * ITEMS
    return {"value": items / elapsed, "seconds": elapsed, "items": items}
