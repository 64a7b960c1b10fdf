"""A worker is killed in each window between a claim and a CLOSE: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pardata
from tests.faults.memory_stages import ARRAY_BYTES, make
from tests.faults.windows import (
    AWAITER,
    CHOOSER,
    MAKER,
    SAVER,
    WINDOWS,
    AwaitingTrap,
    Trap,
    TrappedFilter,
    items,
    number_of,
)

COUNT = 12


@pytest.mark.parametrize(("are_arrays", "workers"), [(True, 1), (False, 2)], ids=["arrays", "numbers in a farm"])
@pytest.mark.parametrize("window", WINDOWS)
def test_stage_is_killed(window: str, workers: int, are_arrays: bool, tmp_path: Path) -> None:
    if "block" in window and not are_arrays:
        return  # numbers are in no block
    trap = Trap(window, tmp_path / "killed")
    stream = pardata.source(partial(items, COUNT, are_arrays)).map(trap, workers=workers, chunksize=1).map(number_of)
    with stream.iterate() as run:
        assert list(run) == list(range(1, COUNT + 1))
    assert trap.marker.exists()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("window", WINDOWS)
def test_stage_that_awaits_is_killed(window: str, workers: int, tmp_path: Path) -> None:
    trap = AwaitingTrap(window, tmp_path / "killed")
    awaited = pardata.source(partial(items, COUNT, workers == 1)).map(trap, workers=workers, concurrency=4, chunksize=1)
    with awaited.map(number_of).iterate() as run:
        assert list(run) == list(range(1, COUNT + 1))
    assert trap.marker.exists() or (workers == 2 and "block" in window)


class Crashing(Trap):
    """A coroutine function; the call for an item kills its worker while others are awaited, and none runs."""

    async def __call__(self, x: int) -> int:
        if x == 6:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGKILL)
            await asyncio.Event().wait()
        return x


@pytest.mark.parametrize("window", AWAITER)
def test_stage_that_is_to_make_one_call_at_a_time_is_killed(window: str, tmp_path: Path) -> None:
    trap = Crashing(window, tmp_path / "killed")
    stream = pardata.source(range(20)).map(trap, errors="skip", concurrency=4, chunksize=1)
    with stream.iterate() as run:
        assert list(run) == [*range(6), *range(7, 20)]
        assert run.report().stages[1].restarts == 7  # as without the trap, and one more
    assert trap.marker.exists()


class KilledAt:
    """A coroutine function whose worker is killed at each of some items, once; it begins when all items are there."""

    def __init__(self, folder: Path, *items: int) -> None:
        self._folder, self._items = folder, items

    async def __call__(self, x: int) -> int:
        marker = self._folder / str(x)
        if x in (1, *self._items) and not marker.exists():
            marker.touch()
            if x == 1:
                open(self._folder / "gate").close()  # opening one end waits for the other
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return x


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("workers", [1, 2])
def test_stage_that_awaits_is_killed_between_empty_batches(workers: int, concurrency: int, tmp_path: Path) -> None:
    """Batches without items have no calls, and are done before one that was begun earlier."""
    gate, last = tmp_path / "gate", 4 * COUNT
    os.mkfifo(gate)

    def is_odd(x: int) -> bool:
        if x == last:
            open(gate, "w").close()
        return x % 2 == 1

    killed = KilledAt(tmp_path, 9, 21, 35)
    odd = pardata.source(range(last + 1)).filter(is_odd, workers=workers, chunksize=1)
    with odd.map(killed, concurrency=concurrency, chunksize=1).iterate(tokens=64) as run:
        assert list(run) == list(range(1, last, 2))
    assert {path.name for path in tmp_path.iterdir()} == {"gate", "1", "9", "21", "35"}


@pytest.mark.parametrize("window", MAKER)
def test_source_is_killed(window: str, tmp_path: Path) -> None:
    trap = Trap(window, tmp_path / "killed")
    source: Any = pardata.source(partial(items, COUNT, True, trap))
    halves = source.map(number_of, chunksize=1), source.map(number_of)
    with pardata.zip(*halves).iterate() as run:
        assert list(run) == [(number, number) for number in range(COUNT)]
    assert trap.marker.exists()


@pytest.mark.parametrize("window", ["before CLOSE", "in CLOSE", "after CLOSE"])
def test_source_that_has_failed_is_killed(window: str, tmp_path: Path) -> None:
    """Its failure has been sent, behind its items; its successor sends neither again."""
    gate, trap = tmp_path / "gate", Trap(window, tmp_path / "killed")
    os.mkfifo(gate)

    def bad_source() -> Iterator[int]:
        if trap.marker.exists():
            open(gate, "w").close()  # opening one end waits for the other
        trap.open()
        yield from range(3)
        raise ValueError("item 3")

    def note(x: int) -> int:
        if x == 2:
            open(gate).close()
        return x

    with pytest.raises(ValueError, match="item 3") as caught:
        list(pardata.source(bad_source).map(note, chunksize=1).take(4).iterate())
    assert trap.marker.exists() and "in stage 'bad_source', item 3" in caught.value.__notes__


POLICIES = ["arrival", "fair", "ordered", "zip"]
FAR = 1000  # what the second input begins with


def joined(policy: str) -> Any:
    """Two inputs, each message of one item; of numbers below and above `FAR`."""
    if policy in ("arrival", "fair"):
        near, far = pardata.source(range(COUNT)), pardata.source(range(FAR, FAR + COUNT))
        singles = [numbers.map(abs, chunksize=1, kind="thread") for numbers in (near, far)]
        return pardata.merge(*singles, policy=policy)  # type: ignore[arg-type]
    numbers = pardata.source(range(COUNT)).map(abs, chunksize=1, kind="thread")
    inputs = numbers.map(int), numbers.map(lambda x: x + FAR)
    return pardata.merge(*inputs, policy="ordered") if policy == "ordered" else pardata.zip(*inputs)


def check_values(found: list[int], policy: str, times: int = 1) -> None:
    """All numbers have been raised by one and are there `times` times; each input's are in order."""
    near, far = [x for x in found if x <= FAR], [x for x in found if x > FAR]
    raised = [x for x in range(1, COUNT + 1) for _ in range(times)]
    assert far == [FAR + x for x in raised]
    assert near == ([] if policy.endswith("zip") else raised)
    if policy == "ordered":
        assert found == [x for number in range(1, COUNT + 1) for x in [number] * times + [FAR + number] * times]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("window", CHOOSER)
def test_stage_that_chooses_is_killed(window: str, policy: str, tmp_path: Path) -> None:
    trap = Trap(window, tmp_path / "killed")
    raised = joined(policy).map(trap, chunksize=1)
    with pardata.zip(raised.map(abs), raised.map(abs)).iterate() as run:
        pairs = list(run)
    assert [first for first, _ in pairs] == [second for _, second in pairs]
    check_values([first for first, _ in pairs], policy)
    assert trap.marker.exists()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("window", ["between published and committed", "between the turn and the commit"])
def test_stage_that_chooses_is_killed_and_nobody_behind_it_looks_at_numbers(
    window: str, policy: str, tmp_path: Path
) -> None:
    trap = Trap(window, tmp_path / "killed")
    farm = joined(policy).map(trap, chunksize=1).map(abs, workers=2, ordered=False)
    with farm.iterate() as run:
        check_values(sorted(run), "unordered " + policy)
    assert trap.marker.exists()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("window", [*SAVER, "before the choice", "after the choice", "between the turn and the commit"])
def test_filter_that_chooses_is_killed(window: str, policy: str, tmp_path: Path) -> None:
    trap = TrappedFilter(window, tmp_path / "killed")
    with (joined(policy) | trap).map(abs, chunksize=1).iterate() as run:
        check_values(list(run), policy, times=2)
    assert trap.marker.exists()


def kept_or_refused(x: int) -> int:
    """Refuses an item one time and not the next, as what depends on a network does."""
    if os.urandom(1)[0] % 2:
        raise ConnectionError(f"{x} is refused")
    return x


class Routing(Trap):
    """A key, or a function, that has another opinion of an item whenever it is asked."""

    def __init__(self, window: str, marker: Path, is_key: bool) -> None:
        super().__init__(window, marker)
        self._is_key = is_key

    def __call__(self, x: Any) -> Any:
        return os.urandom(1)[0] if self._is_key else kept_or_refused(x)


@pytest.mark.parametrize("window", CHOOSER)
@pytest.mark.parametrize("kind", ["partition", "failed"])
def test_stage_that_would_send_an_item_elsewhere_when_it_is_done_again(kind: str, window: str, tmp_path: Path) -> None:
    trap = Routing(window, tmp_path / "killed", kind == "partition")
    numbers = pardata.source(range(4 * COUNT)).map(abs, chunksize=4)
    if kind == "partition":
        branches = numbers.partition(trap, 2)
    else:
        good = numbers.map(trap, errors="stream")
        branches = good.map(abs), good.failed.map(lambda letter: letter.item)
    with pardata.merge(*branches, policy="ordered").iterate() as run:
        assert list(run) == list(range(4 * COUNT))
    assert trap.marker.exists()


@pytest.mark.parametrize("policy", ["arrival", "fair", "round_robin", "sequence"])
def test_flat_map_behind_a_merge_is_killed_when_a_part_of_an_item_has_been_sent(policy: Any, tmp_path: Path) -> None:
    """The parts that were sent belong to the item at work, which is not of the first input."""
    gate, marker = tmp_path / "gate", tmp_path / "killed"
    os.mkfifo(gate)

    def spread(x: int) -> Iterator[tuple[int, int]]:
        yield x, 0
        if x == 5 and not marker.exists():
            open(gate).close()  # until the stage behind has the first part
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield x, 1

    def note(pair: tuple[int, int]) -> tuple[int, int]:
        if pair == (5, 0) and not marker.exists():
            open(gate, "w").close()
        return pair

    streams = [pardata.source(range(first, 3 * COUNT, 3)).map(abs, chunksize=1) for first in range(3)]
    merged = pardata.concat(*streams) if policy == "sequence" else pardata.merge(*streams, policy=policy)
    with merged.flat_map(spread).map(note).iterate() as run:
        assert sorted(run) == [(x, part) for x in range(3 * COUNT) for part in range(2)]
    assert marker.exists()


@pytest.mark.parametrize("workers", [1, 3])
def test_more_messages_in_flight_than_a_socket_holds_while_a_worker_is_dead(workers: int, tmp_path: Path) -> None:
    trap = Trap("after the claim", tmp_path / "killed")
    numbers = pardata.source(range(1500)).map(abs, chunksize=1)
    with numbers.map(trap, workers=workers).map(number_of).iterate(tokens=1000) as run:
        assert list(run) == list(range(1, 1501))
    assert trap.marker.exists()


def test_scatter_behind_an_unordered_farm_does_not_wait_for_what_it_has_not_taken(tmp_path: Path) -> None:
    """The merge waits for item 0, which the farm hands on last: see `Plan._order`."""

    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def first_comes_last(x: int) -> int:
        if x in (0, 30):  # opening one end waits for the other
            open(gate, "w" if x else "r").close()
        return x

    farm = pardata.source(range(40)).map(first_comes_last, workers=3, ordered=False, chunksize=1)
    with pardata.merge(*farm.scatter(2), policy="ordered").iterate(tokens=64) as run:
        assert list(run) == list(range(40))


class Making(Trap):
    """Makes an array of a number; killed in the window."""

    def __call__(self, x: int) -> Any:
        return make(x)


def test_memory_of_a_worker_that_is_killed_when_it_is_done_is_given_back(tmp_path: Path) -> None:
    trap, limit_bytes = Making("when it is done", tmp_path / "killed"), 11 * ARRAY_BYTES
    first = pardata.source(range(8)).map(trap, chunksize=1, name="first")
    stream = pardata.concat(first, pardata.source(range(8)).map(make, chunksize=1))
    kept = []
    with stream.iterate(memory_limit=limit_bytes) as run:
        kept += [next(run) for _ in range(8)]
        supervisor = run._parts.supervisor
        worker = next(worker for worker in supervisor.workers if worker.stage == "first")
        select.select([worker.process.sentinel], [], [])
        supervisor._watch(worker)
        assert [int(array[0]) for array in kept] == list(range(8))  # whoever has them reads them still
        kept.clear()
        kept += run
    assert [int(array[0]) for array in kept] == list(range(8))
    assert trap.marker.exists()
