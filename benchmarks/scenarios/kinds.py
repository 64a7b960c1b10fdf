"""Arrays that are more than plain memory: subclasses, mapped files, views whose entries share memory.

    source --> a stage that looks at one entry --> the measuring process         "stage": an item of 256 MB
    a pool of two workers over all windows of a small array                      "windows"
    eight tasks, each of which looks at every 1000th number of a mapped file     "memmap_tasks"

Each is measured as the user writes it, beside the same with an ordinary array, or with one in shared memory.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.case import Case, Outcome
from benchmarks.rivals import ArrayWork, Flow, Rival
from benchmarks.timing import arrivals, outcome, repeat

FEWEST_ITEMS = 8
LONGER = 3  # a second until two processes hand on large items at a steady rate
WARM_UP = 0.25
WORKERS = 2
TASKS = 8
STEP = 1000


# -- a large item through a stage --------------------------------------------------------------------------------------


def _masked(plain: Any, folder: str) -> Any:
    return np.ma.masked_array(plain, np.zeros(plain.shape, bool))


def _matrix(plain: Any, folder: str) -> Any:
    return plain.reshape(-1, 8).view(np.matrix)


def _recarray(plain: Any, folder: str) -> Any:
    return plain.view([("a", float), ("b", float)]).view(np.recarray)


def _memmap(plain: Any, folder: str) -> Any:
    path = os.path.join(folder, "item.npy")
    np.save(path, plain)
    return np.load(path, mmap_mode="r")


KINDS: dict[str, Callable[[Any, str], Any]] = {
    "array": lambda plain, folder: plain,
    "masked": _masked,
    "matrix": _matrix,
    "recarray": _recarray,
    "memmap": _memmap,
}


def _last(x: Any) -> tuple[str, float]:
    """Return the class of an array and its last number."""
    return type(x).__name__, float(np.ndarray.view(x, np.ndarray).reshape(-1)[-1:].view(float)[-1])


def _items(kind: str, n: int, folder: str, seconds: float, empty: Callable[..., Any]) -> Iterator[Any]:
    """The source: one array again and again, for `seconds`."""
    item = KINDS[kind](np.arange(n, dtype=float), folder)
    end = time.perf_counter() + seconds
    i = 0
    while i < FEWEST_ITEMS or time.perf_counter() < end:
        yield item
        i += 1


def _stage(kind: str, n: int, rival: Rival, seconds: float) -> Outcome:
    """Seconds per item."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = _last(KINDS[kind](np.arange(n, dtype=float), folder))

        def check(found: Any, i: int) -> None:
            assert found == wanted, f"item {i} is {found}, not {wanted}"

        flow = Flow(partial(_items, kind, n, folder, LONGER * seconds), n * 8, (_last,), chunk=1)
        _, result = arrivals(rival.chain(flow), check, WARM_UP)
    return result | {"value": 1 / result["value"]}


# -- windows -----------------------------------------------------------------------------------------------------------


def row_sums(rows: Any) -> Any:
    return rows.sum(axis=1)


def _windows(is_shared: bool, n: int, length: int, rival: Rival, seconds: float) -> Outcome:
    """Seconds per call over all windows of `length` numbers."""
    a = np.random.default_rng(0).random(n)
    work = ArrayWork(row_sums, lambda a: None, (n,))
    with rival.map_windows(work, a, length, is_shared, WORKERS) as call:
        taken = repeat(call, seconds)
        out = call()
        assert np.allclose(out, row_sums(sliding_window_view(a, length))), "the result is wrong"
        del out
    return outcome(taken, n - length + 1)


# -- tasks on a file ---------------------------------------------------------------------------------------------------


def part_sum(a: Any, begin: int) -> float:
    """Return the sum of every 1000th number of an array."""
    return float(a[begin::STEP].sum())


def _memmap_tasks(n: int, rival: Rival, seconds: float) -> Outcome:
    """Seconds for all tasks."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "numbers.npy")
        np.save(path, np.arange(n, dtype=float))
        a = np.load(path, mmap_mode="r")
        wanted = [part_sum(a, begin) for begin in range(TASKS)]
        with rival.tasks(WORKERS) as call:
            taken = repeat(lambda: call(part_sum, [(a, begin) for begin in range(TASKS)]), seconds)
            assert call(part_sum, [(a, begin) for begin in range(TASKS)]) == wanted, "the result is wrong"
    return outcome(taken, TASKS)


TITLES = {
    "array": "256 MB through a stage: ndarray",
    "masked": "the same: masked array, with a mask of 32 MB",
    "matrix": "the same: matrix",
    "recarray": "the same: recarray",
    "memmap": "the same: memmap, opened for reading",
}

CASES = (
    *(
        Case(f"stage_{kind}", title, "s", ("pardata",), partial(_stage, kind, 2**25), quick=())
        for kind, title in TITLES.items()
    ),
    Case(
        "windows",
        "sums of all windows of 1000 in 1.6 MB",
        "s",
        ("pardata",),
        partial(_windows, False, 200_000, 1000),
        quick=(),
    ),
    Case(
        "windows_shared",
        "the same, of a pardata.array",
        "s",
        ("pardata",),
        partial(_windows, True, 200_000, 1000),
        quick=(),
    ),
    Case(
        "memory_windows",
        "the former: peak memory",
        "MB",
        ("pardata",),
        partial(_windows, False, 200_000, 1000),
        peak=True,
        quick=(),
    ),
    Case(
        "memory_windows_shared",
        "the latter: peak memory",
        "MB",
        ("pardata",),
        partial(_windows, True, 200_000, 1000),
        peak=True,
        quick=(),
    ),
    Case(
        "memmap_tasks",
        "joblib: eight tasks on a memmap of 200 MB, each looks at every 1000th number",
        "s",
        ("pardata", "joblib"),
        partial(_memmap_tasks, 25 << 20),
        quick=(),
    ),
)
