"""A worker is killed in each window between a claim and a CLOSE: nothing is lost, nothing is doubled."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pardata
from tests.faults.windows import MAKER, WINDOWS, Trap, items, number_of

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
