"""Random keys out of a million ints, values of 32 bytes, asked for by a warm worker; seconds per key."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Rival
from benchmarks.timing import outcome

COUNT = 1_000_000
ROUNDS = 5


def contents() -> tuple[Any, Any]:
    """The keys, in no order, and their values."""
    rng = np.random.default_rng(0)
    values = rng.integers(1, 255, (COUNT, 32), np.uint8)
    return rng.permutation(COUNT) * 7, values.view("S32")[:, 0]


def asked(keys: Any, values: Any, count: int) -> list[tuple[Any, Any]]:
    """For each round `count` random keys, none of them asked for before, and the values that must be found."""
    chosen = np.random.default_rng(1).permutation(COUNT)[: ROUNDS * count].reshape(ROUNDS, count)
    return [(keys[part], values[part]) for part in chosen]


def look_one_by_one(lookup: Any, rounds: list[tuple[Any, Any]]) -> list[float]:
    """Seconds per key in each round, after a warm-up; the values of the first one are checked."""
    keys, expected = rounds[0]
    assert [lookup[key] for key in keys.tolist()] == expected.tolist(), "wrong values were found"
    seconds = []
    for keys, _ in rounds:
        asked_for = keys.tolist()
        begin = time.perf_counter()
        for key in asked_for:
            lookup[key]
        seconds.append((time.perf_counter() - begin) / len(keys))
    return seconds


def look_in_batches(lookup: Any, rounds: list[tuple[Any, Any]], batch: int) -> list[float]:
    """The same, the keys in batches."""
    keys, expected = rounds[0]
    assert np.array_equal(np.asarray(lookup.get_many(keys[:batch])), expected[:batch]), "wrong values were found"
    seconds = []
    for keys, _ in rounds:
        begin = time.perf_counter()
        for at in range(0, len(keys), batch):
            lookup.get_many(keys[at : at + batch])
        seconds.append((time.perf_counter() - begin) / len(keys))
    return seconds


def _lookup(place: str, count: int, batch: int, rival: Rival, seconds: float) -> Outcome:
    keys, values = contents()
    rounds = asked(keys, values, count)
    if batch == 1:
        return outcome(rival.lookup(place, keys, values, look_one_by_one, rounds), count)
    return outcome(rival.lookup(place, keys, values, look_in_batches, rounds, batch), count)


def private_bytes() -> int:
    """The private memory of this process in bytes, with its page tables (Linux)."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    lines = [line.split() for line in (rollup + Path("/proc/self/status").read_text()).splitlines()]
    names = ("Private_Clean:", "Private_Dirty:", "VmPTE:")
    return sum(int(line[1]) * 1024 for line in lines if line and line[0] in names)


def use_all(table: Any) -> tuple[int, int, float]:
    """Look all of a table up; return the private bytes after it, and before, and the sum of all values."""
    before = private_bytes()
    total = 0.0
    for begin in range(0, len(table), 10_000):
        total += float(table.range(begin, begin + 10_000)[1].sum())
    return private_bytes(), before, total


def _memory(rival: Rival, seconds: float) -> Outcome:
    """The memory of one more worker that reads all of a table of 1 GB."""
    import pardata

    with pardata.Table(np.arange(COUNT), np.ones((COUNT, 124))) as table, pardata.WorkerPool(2) as pool:
        pool.submit(use_all, pardata.Table([1], [1])).result()  # the first use of a table loads modules
        use_all(table)  # from now on the memory is shared
        after, before, total = pool.submit(use_all, table).result()
        assert total == COUNT * 124, f"the values add up to {total}"
    return {"value": (after - before) / 1e6, "items": 1}


def _case(name: str, title: str, sides: tuple[str, ...], place: str, count: int, batch: int) -> Case:
    return Case(f"lookup_{name}", title, "s", ("pardata", *sides), partial(_lookup, place, count, batch))


CASES = (
    _case("table_one", "Table, one key", ("serial", "mp.Manager"), "table", 20_000, 1),
    _case("table_many", "Table, per key in batches of 20,000", (), "table", 200_000, 20_000),
    Case("lookup_table_memory", "a further worker that reads a Table of 1 GB", "MB", ("pardata",), _memory),
    _case("database_one", "Database, one key", (), "database", 20_000, 1),
    _case("database_many", "Database, per key in batches of 500", (), "database", 20_000, 500),
    _case("service_one", "Service, one key", (), "service", 500, 1),
    _case("service_many", "Service, per key in batches of 1,000", (), "service", 20_000, 1_000),
)
