"""A function of a large array, by two warm workers; the array lies where the library wants it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import ArrayWork, Rival
from benchmarks.timing import outcome, repeat

WORKERS = 2
FIRST, FIRST_CALLS = (2**23,), 5
WARM_UP = 2  # times what is measured: until each worker has had all pages of both arrays before it


def transform(x: Any) -> Any:
    """Element-wise: two passes, two temporaries."""
    return np.sqrt(x) * np.sin(x)


def fill(a: Any) -> None:
    """Write the input, in place."""
    flat = a.reshape(-1)
    for begin in range(0, len(flat), 1 << 20):
        part = flat[begin : begin + (1 << 20)]
        part[:] = np.linspace(begin / len(flat), (begin + len(part)) / len(flat), len(part)) * 1000


def multiply(matrix: Any, x: Any) -> Any:
    """Each row times a matrix."""
    return x @ matrix


def pick(table: Any, x: Any) -> Any:
    """For each entry one of a table of 80 MB, which the function has captured."""
    return table[(x * 9_999).astype(np.int64)]


def measure(shape: tuple[int, ...], make: Callable[[], Callable[[Any], Any]], rival: Rival, seconds: float) -> Outcome:
    """Seconds per call, after some that do not count; the last result is compared with one process's."""
    fn = make()
    results: list[Any] = [None]
    with rival.map_array(ArrayWork(fn, fill, shape), WORKERS) as call:

        def work() -> None:
            results[0] = None  # the user is done with the last result: its memory may be used again
            results[0] = call()

        repeat(work, WARM_UP * seconds, fewest=0)
        taken = repeat(work, seconds, fewest=1)
        out = results.pop()
        a = np.empty(shape)
        fill(a)
        expected = fn(a)
        assert out.shape == expected.shape and out.dtype == expected.dtype
        # not array_equal: how the last entries of a chunk are computed (vector or scalar) may differ by one bit
        assert np.max(np.abs(out - expected)) <= 1e-12 * np.max(np.abs(expected)), "the result is wrong"
    return outcome(taken, int(np.prod(shape)))


def _measure_first(rival: Rival, seconds: float) -> Outcome:
    """Seconds per call over an array that is new to the workers, into a new one; they know the function."""
    taken: list[float] = []
    with rival.map_new_arrays(ArrayWork(transform, fill, FIRST), WORKERS) as new:
        kept = []  # or the next ones would have their memory
        for _ in range(1 + FIRST_CALLS):
            call = new()
            begin = time.perf_counter()
            out = call()
            taken.append(time.perf_counter() - begin)
            assert np.isclose(out[-1], transform(1000.0)), f"the result ends with {out[-1]}"
            kept += [call, out]
    return outcome(taken[1:], int(np.prod(FIRST)))


def _elementwise() -> Callable[[Any], Any]:
    return transform


def _matrix() -> Callable[[Any], Any]:
    return partial(multiply, np.random.default_rng(0).random((256, 256)))


def _table() -> Callable[[Any], Any]:
    return partial(pick, np.random.default_rng(0).random(10_000_000))


HERE = ("pardata", "serial", "threads")
LARGE = (
    *HERE,
    "mp.Pool",
    "mp.shared_memory",
    "joblib",
    "joblib memmap",
    "mpire",
    "ray tasks",
    "dask threads",
    "dask distributed",
)
MEDIUM = (*HERE, "mp.Pool", "concurrent.futures", "joblib", "pebble", "dask processes")

CASES = (
    Case(
        "map_array",
        "sqrt(x) * sin(x), 256 MB",
        "s",
        LARGE,
        partial(measure, (2**25,), _elementwise),
        quick=("pardata", "threads", "mp.Pool"),
    ),
    Case("map_array_first", "sqrt(x) * sin(x), 64 MB, new", "s", ("pardata", "threads"), _measure_first, quick=()),
    Case(
        "map_array_matrix",
        "each row times a 256 x 256 matrix, 128 MB",
        "s",
        MEDIUM,
        partial(measure, (2**16, 256), _matrix),
        quick=(),
    ),
    Case(
        "map_array_closure",
        "entries of a captured table of 80 MB, 32 MB",
        "s",
        (*HERE, "mp.Pool", "joblib"),
        partial(measure, (2**22,), _table),
        quick=(),
    ),
)
