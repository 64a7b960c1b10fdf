"""What a stream costs: per hop, per input, per death, and over a million items.

    python -m benchmarks.streams                  # all, about a minute
    python -m benchmarks.streams hops recovery

Every figure is of one process tree of its own, in the words of the bar that it is held against.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import pardata
from benchmarks.recovery import kill_when_ready, victim
from pardata.runtime.supervisor import Supervisor, Worker

HOPS = 3  # source, two stages, the caller


def add_one(x: Any) -> Any:
    return x + 1


def small(count: int) -> Iterator[Any]:
    """The array of 800 bytes, again and again."""
    array = np.ones(100)
    for _ in range(count):
        yield array


def _rate(run: pardata.Run, count: int) -> float:
    """Seconds per item, after the first fifth."""
    begin = 0.0
    for number, _ in enumerate(run):
        if number == count // 5:
            begin = time.perf_counter()
    return (time.perf_counter() - begin) / (count - count // 5 - 1)


def hops() -> None:
    """Arrays of 800 bytes over three hops: one per message, and as many as the run chooses."""
    for what, count, options, bar in (("one", 30_000, {"chunksize": 1}, 25), ("batched", 300_000, {}, 5)):
        stream = pardata.source(partial(small, count)).map(add_one, **options).map(add_one)  # type: ignore[arg-type]
        with stream.iterate(tokens=64) as run:
            each_s = _rate(run, count)
        print(f"{what} per message: {each_s / HOPS * 1e6:.1f} us per item and hop (bar: {bar})")


def slow_item() -> None:
    """One item of a hundred takes thirty times as long, in a farm of four that keeps the order."""
    count, each_s, slow_s = 400, 0.005, 0.15

    def work(number: int) -> int:
        time.sleep(slow_s if number % 100 == 10 else each_s)
        return number

    stream = pardata.source(range(count)).map(work, workers=4, chunksize=1)
    with stream.iterate(tokens=128) as run:
        first = next(run)
        begin = time.perf_counter()
        assert [first, *run] == list(range(count))
        took_s = time.perf_counter() - begin
    ideal_s = (count * 0.99 * each_s + count * 0.01 * slow_s) / 4
    print(f"slow items: {took_s:.3f} s, {took_s / ideal_s:.2f} x ideal (bar: 1.1)")


def _resources(pids: list[int]) -> tuple[int, int]:
    """Resident bytes and open descriptors of some processes."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE"), sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def million() -> None:
    """A million items: memory and descriptors of all processes after ten thousand and at the end."""
    stream = pardata.source(partial(small, 1_000_000)).map(add_one).filter(len)
    with stream.iterate() as run:
        before = (0, 0)
        for number, _ in enumerate(run, 1):
            if number in (10_000, 999_000):
                supervisor: Supervisor = run._supervisor  # type: ignore[attr-defined]
                pids = [worker.process.pid for worker in supervisor.alive if worker.process and worker.process.pid]
                now = _resources([os.getpid(), *pids])
                before = before if number > 10_000 else now
    print(
        f"a million items: {now[0] / 1e6:.1f} MB and {now[1]} descriptors, after 10,000 items {before[0] / 1e6:.1f} MB "
        f"and {before[1]} (bar: flat)"
    )


def collector() -> None:
    """One item per message into the caller's loop: from sixteen sources, and from one."""
    count = 48_000
    per_item = {}
    for inputs in (1, 16):
        sources = [pardata.source(partial(small, count // inputs), name=f"s{i}") for i in range(inputs)]
        merged = pardata.merge(*(source.filter(len, chunksize=1) for source in sources))
        with merged.iterate() as run:
            per_item[inputs] = _rate(run, count)
    ratio = per_item[16] / per_item[1]
    print(f"collector: {per_item[16] * 1e6:.1f} us from 16 inputs, {ratio:.2f} x that from one (bar: 1.5)")


def recovery() -> None:
    """SIGKILL of a worker in the middle of an item: until it is noticed, and until the item is running again."""
    noticed: list[float] = []
    rounds: list[tuple[float, float]] = []
    watch: Callable[[Supervisor, Worker], None] = Supervisor._watch

    def timed_watch(self: Supervisor, worker: Worker) -> None:
        noticed.append(time.perf_counter())
        watch(self, worker)

    Supervisor._watch = timed_watch  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        for round_ in range(30):
            rounds.append(_kill_one(f"{folder}/{round_}", noticed))
    print(f"a death is noticed after {statistics.median(seconds for seconds, _ in rounds) * 1e3:.2f} ms (bar: 10)")
    print(f"its item is running again after {statistics.median(again for _, again in rounds) * 1e3:.1f} ms (bar: 100)")


def _kill_one(path: str, noticed: list[float]) -> tuple[float, float]:
    """Kill one worker; return the seconds until that is noticed, and until its item is running again."""

    def work(number: int) -> float:
        begin = time.perf_counter()  # one clock for all processes
        if number == 50:
            victim(path)
        return begin

    killed: list[float] = []
    killer = threading.Thread(target=lambda: killed.append(kill_when_ready(path)))
    killer.start()
    times = list(pardata.source(range(100)).map(work, chunksize=1))
    killer.join()
    first = next(moment for moment in noticed if moment > killed[0])
    return first - killed[0], times[50] - killed[0]


ALL = {each.__name__: each for each in (hops, slow_item, million, collector, recovery)}


def main() -> None:
    names = sys.argv[1:] or list(ALL)
    for name in names:
        if name not in ALL:
            sys.exit(f"no measurement {name!r}; there are: {', '.join(ALL)}")
    for name in names:
        ALL[name]()


if __name__ == "__main__":
    main()
