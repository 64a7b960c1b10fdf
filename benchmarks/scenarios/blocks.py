"""Named blocks: made, mapped and freed; attached to; filled. And lists in them: read, written, iterated.

"block_fill" fills 256 MiB: pardata's array lies in memory that was used before, as it does in any program that goes on;
the standard library's block is a new one each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Rival
from benchmarks.timing import outcome, repeat

MIB = 1 << 20
ITEMS = 1000
NUMBERS = [i if i % 2 else i / 7 for i in range(ITEMS)]
STRINGS = ["abc", "a longer name", "", "two words"] * (ITEMS // 4)
MIXED: list[Any] = [1, 2.5, "abc", True, None, b"xyz", 7, 8.5, 9, "a longer name"] * (ITEMS // 10)


def _free(rival: Rival, seconds: float) -> Outcome:
    shared_memory = rival.shared_memory()

    def hundred() -> None:
        for _ in range(100):
            block = shared_memory(create=True, size=MIB)
            block.close()
            block.unlink()

    return outcome(repeat(hundred, seconds, 100), 100)


def _attach(rival: Rival, seconds: float) -> Outcome:
    shared_memory = rival.shared_memory()
    block = shared_memory(create=True, size=MIB)
    block.buf[7] = 7

    def hundred() -> None:
        for _ in range(100):
            again = shared_memory(block.name)
            assert again.buf[7] == 7
            again.close()

    try:
        return outcome(repeat(hundred, seconds, 100), 100)
    finally:
        block.close()
        block.unlink()


def _fill(rival: Rival, seconds: float) -> Outcome:
    values = np.ones(256 * MIB, np.uint8)

    def one() -> float:
        begin = time.perf_counter()
        with rival.put_array(values) as made:
            taken = time.perf_counter() - begin
            assert made[0] == made[-1] == 1
        return taken

    one()  # warms up the one that can be
    taken = [one() for _ in range(3)]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        taken.append(one())
    return outcome(taken)


def _read(shared: Any, values: list[Any]) -> None:
    for i in range(len(values)):
        shared[i]


def _write(shared: Any, values: list[Any]) -> None:
    for i, value in enumerate(values):
        shared[i] = value


def _iterate(shared: Any, values: list[Any]) -> None:
    for _ in shared:
        pass


def _list(values: list[Any], work: Callable[[Any, list[Any]], None], rival: Rival, seconds: float) -> Outcome:
    """Items per second of whole passes; the list must equal its values before and after."""
    shared = rival.shareable_list()(values)
    try:
        assert list(shared) == values
        result = outcome(repeat(lambda: work(shared, values), seconds, ITEMS), ITEMS)
        assert list(shared) == values
    finally:
        shared.shm.close()
        shared.shm.unlink()
    return result | {"value": 1 / result["value"]}


SIDES = ("pardata", "mp.shared_memory")


def _case(name: str, title: str, unit: Any, measure: Callable[[Rival, float], Outcome]) -> Case:
    return Case(name, title, unit, SIDES, measure, quick=SIDES)


CASES = (
    _case("block_free", "1 MiB made, mapped, freed", "s", _free),
    _case("block_attach", "attached to and closed", "s", _attach),
    _case("block_fill", "256 MiB filled", "s", _fill),
    _case("list_read", "ShareableList: items read", "items/s", partial(_list, MIXED, _read)),
    _case("list_write", "items written", "items/s", partial(_list, MIXED, _write)),
    _case("list_iterate", "iterated, numbers", "items/s", partial(_list, NUMBERS, _iterate)),
    _case("list_iterate_strings", "iterated, strings", "items/s", partial(_list, STRINGS, _iterate)),
    _case("list_iterate_mixed", "iterated, all types", "items/s", partial(_list, MIXED, _iterate)),
)
