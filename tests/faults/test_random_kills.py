"""Workers are killed at random while a stream runs: what comes out is what the serial engine gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pardata
from pardata.engines.processes.engine import ProcessRun
from tests.faults.killer import Killer
from tests.faults.streams import (
    as_key,
    branches,
    chain,
    diamond,
    double,
    farms,
    frames,
    letters,
    numbers,
    regrouped,
    wide,
)

KILLS = 8  # per test of a stream, and at most per run
POOL_KILLS = 40
FIRST = random.randrange(1_000_000)  # seed of the first run; others each time


@pytest.mark.parametrize("make", [chain, farms, diamond, wide, regrouped, branches, letters])
@pytest.mark.parametrize("source", [frames, numbers])
def test_output_equals_serial_under_random_kills(make: Callable[..., Any], source: Callable[..., Any]) -> None:
    expected = [as_key(item) for item in make(pardata.source(source)).iterate(engine="serial")]
    kills, seed = 0, FIRST
    while kills < KILLS:
        with make(pardata.source(source)).iterate() as run:
            assert isinstance(run, ProcessRun)
            killer = Killer(run, seed, KILLS)
            killer.start()
            try:
                got = [as_key(item) for item in run]
            finally:
                killer.stop()
            assert got == expected, f"seed {seed}"
            kills += killer.kills
            seed += 1


@pytest.mark.parametrize("source", [list(range(2000)), np.arange(3_000_000.0).reshape(300, 10_000)])
def test_a_source_of_this_process_is_read_once(source: Any) -> None:
    expected = [as_key(item) for item in farms(pardata.source(source)).iterate(engine="serial")]
    kills, seed = 0, FIRST
    while kills < KILLS // 2:
        with farms(pardata.source(iter(source))).iterate() as run:
            killer = Killer(run, seed, KILLS)
            killer.start()
            try:
                got = [as_key(item) for item in run]
            finally:
                killer.stop()
            assert got == expected, f"seed {seed}"
            kills += killer.kills
            seed += 1


def test_unordered_loses_nothing_and_doubles_nothing() -> None:
    stream = pardata.source(frames).map(double, workers=3, ordered=False)
    expected = sorted(as_key(item) for item in stream.iterate(engine="serial"))
    kills, seed = 0, FIRST
    while kills < KILLS:
        with stream.iterate() as run:
            killer = Killer(run, seed, KILLS)
            killer.start()
            try:
                got = sorted(as_key(item) for item in run)
            finally:
                killer.stop()
            assert got == expected, f"seed {seed}"
            kills += killer.kills
            seed += 1


def test_pool_results_equal_serial_and_the_pool_still_works() -> None:
    values = np.random.default_rng(0).random((20_000, 50))
    shared = pardata.array(values)
    with pardata.Pool(3) as pool:
        executor = pool.executor
        killer = Killer(executor._backend, FIRST)
        killer.start()
        try:
            while killer.kills < POOL_KILLS:
                tripled = executor.map(lambda x: x * 3, range(3000), chunksize=7)
                assert list(tripled) == [value * 3 for value in range(3000)]
                sums = executor.map_array(lambda rows: rows.cumsum(axis=1), shared)
                assert np.array_equal(sums, values.cumsum(axis=1))
                assert list(pool.imap(lambda x: x + 1, iter(range(2000)))) == list(range(1, 2001))
                assert sorted(pool.imap_unordered(abs, iter(range(500)), 1)) == list(range(500))
                assert executor.reduce_array(np.sum, np.arange(10_000), np.add, chunksize=10) == 49_995_000
                futures = [pool.submit(pow, n, 2) for n in range(50)]
                assert [future.result() for future in futures] == [n**2 for n in range(50)]
        finally:
            killer.stop()
        assert pool.submit(pow, 2, 10).result() == 1024
