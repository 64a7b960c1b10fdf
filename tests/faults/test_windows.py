"""A worker is killed in each window between a claim and a CLOSE: nothing is lost, nothing is doubled."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pardata
from tests.faults.windows import MAKER, WINDOWS, Repeat, Trap, items, number_of

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


POLICIES = ["arrival", "fair", "round_robin", "sequence", "ordered"]


@pytest.mark.parametrize("kind", ["map", "map before a farm", "flat_map"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("window", [window for window in WINDOWS if "block" not in window])
def test_stage_behind_a_merge_is_killed(window: str, policy: Any, kind: str, tmp_path: Path) -> None:
    """Its successor goes on with the batch at work, and then with the input whose turn it is."""
    trap = Trap(window, tmp_path / "killed")
    if policy == "ordered":
        streams = pardata.source(range(3 * COUNT)).map(abs, chunksize=1).partition(lambda x: x % 3, 3)
    else:
        streams = tuple(pardata.source(range(first, 3 * COUNT, 3)).map(abs, chunksize=1) for first in range(3))
    merged = pardata.concat(*streams) if policy == "sequence" else pardata.merge(*streams, policy=policy)
    behind = merged.flat_map(Repeat(trap)) if kind == "flat_map" else merged.map(trap, chunksize=1)
    is_farm = kind == "map before a farm"  # whose workers do not see that a message comes twice
    with behind.map(number_of, workers=1 + is_farm, ordered=not is_farm).iterate() as run:
        found = [x - 1 for x in run]
    assert trap.marker.exists()
    repeats = 3 if kind == "flat_map" else 1
    if is_farm:
        assert sorted(found) == list(range(3 * COUNT))
        return
    inputs = [[x for x in range(first, 3 * COUNT, 3) for _ in range(repeats)] for first in range(3)]
    assert [[x for x in found if x % 3 == first] for first in range(3)] == inputs  # nothing lost, doubled or exchanged
    if policy in ("round_robin", "ordered"):
        assert found == [x for x in range(3 * COUNT) for _ in range(repeats)]
    elif policy == "sequence":
        assert found == [x for each in inputs for x in each]


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


@pytest.mark.parametrize("window", MAKER)
def test_source_is_killed(window: str, tmp_path: Path) -> None:
    trap = Trap(window, tmp_path / "killed")
    source: Any = pardata.source(partial(items, COUNT, True, trap))
    halves = source.map(number_of, chunksize=1), source.map(number_of)
    with pardata.zip(*halves).iterate() as run:
        assert list(run) == [(number, number) for number in range(COUNT)]
    assert trap.marker.exists()


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
