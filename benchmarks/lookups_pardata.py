"""`Table`, `Database` and `Service`, each asked by one worker of a pool."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import pardata
from benchmarks.lookups import ROUNDS, asked, contents, in_batches, measure_rounds, one_by_one, outcome

# scenario -> keys per round, keys per batch (1: one by one)
SIZES = {
    "lookup_table_one": (20_000, 1),
    "lookup_table_many": (200_000, 20_000),
    "lookup_table_manager": (20_000, 1),
    "lookup_database_one": (20_000, 1),
    "lookup_database_many": (20_000, 500),
    "lookup_service_one": (500, 1),
    "lookup_service_many": (20_000, 1_000),
}


def _in_worker(lookup: Any, rounds: list[Any], batch: int) -> list[float]:
    look = one_by_one(lookup, 1) if batch == 1 else in_batches(lookup, batch)
    return measure_rounds(look, rounds)


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Time warm look-ups; `seconds` is not used, their number is fixed."""
    keys, values = contents()
    count, batch = SIZES[name]
    rounds = asked(keys, count)
    with tempfile.TemporaryDirectory() as folder, pardata.WorkerPool(1) as pool:
        if "database" in name:
            lookup: Any = pardata.Database.create(f"{folder}/data.db", keys, values)
        else:
            lookup = pardata.Table(keys, values)
        with lookup:
            if "service" not in name:
                return outcome(pool.submit(_in_worker, lookup, rounds, batch).result(), count)
            with pardata.serve(lookup) as server, server.lookup() as client:
                return outcome(pool.submit(_in_worker, client, rounds, batch).result(), count)


def _private_bytes() -> int:
    """What this process has for itself, its page tables included (Linux)."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    lines = [line.split() for line in (rollup + Path("/proc/self/status").read_text()).splitlines()]
    names = ("Private_Clean:", "Private_Dirty:", "VmPTE:")
    return sum(int(line[1]) * 1024 for line in lines if line and line[0] in names)


def _use_all(table: Any) -> tuple[int, int]:
    """Look all of a table up; return the private bytes after it, and before."""
    before = _private_bytes()
    for begin in range(0, len(table), 10_000):
        table.range(begin, begin + 10_000)[1].sum()
    return _private_bytes(), before


def memory(name: str, seconds: float) -> dict[str, Any]:
    """What a further worker costs that reads all of a table of 1 GB."""
    with pardata.Table(np.arange(1_000_000), np.ones((1_000_000, 124))) as table, pardata.WorkerPool(2) as pool:
        pool.submit(_use_all, pardata.Table([1], [1])).result()  # what the first use of a table loads
        _use_all(table)  # from now on the memory is shared
        after, before = pool.submit(_use_all, table).result()
    megabytes = (after - before) / 1e6
    return {"value": megabytes, "items": 1, "rounds": ROUNDS}
