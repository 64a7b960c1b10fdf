"""The chunk rule: its grammar, that every item is handed out once, and how it does on hard loads."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pardata
from pardata.pool.jobs.chunking import ChunkPolicy, Chunks, Ranges, parse_chunksize
from tests.unit.pool.loads import LOADS, efficiency


@pytest.mark.parametrize(
    ("chunksize", "policy"),
    [
        (7, ChunkPolicy("fixed", 7)),
        ("auto", ChunkPolicy("auto")),
        ("static", ChunkPolicy("static")),
        ("guided", ChunkPolicy("guided")),
        ("20ms", ChunkPolicy("time", 0.02)),
        ("1.5 s", ChunkPolicy("time", 1.5)),
        ("4MB", ChunkPolicy("bytes", 4e6)),
        ("64 kB", ChunkPolicy("bytes", 64e3)),
    ],
)
def test_chunksizes_that_are_understood(chunksize, policy):
    assert parse_chunksize(chunksize) == policy


@pytest.mark.parametrize("chunksize", [0, -1, True, 1.5, None, "fast", "20", "0ms", "-4MB", "20 minutes", ""])
def test_chunksizes_that_are_not(chunksize):
    with pytest.raises(pardata.ConfigError, match='int of at least 1, "auto", .* such as "20ms" or .* "4MB", not'):
        parse_chunksize(chunksize)


@settings(deadline=None)
@given(
    st.integers(1, 2000),
    st.integers(1, 64),
    st.sampled_from([1, 7, "auto", "static", "guided", "1ms", "3kB"]),
    st.lists(st.floats(1e-9, 10), min_size=1),
    st.integers(1, 50),
    st.randoms(),
)
def test_every_item_is_handed_out_once_whatever_is_given_back(total, workers, chunksize, seconds, unit, random):
    ranges = Ranges(total)
    chunks = Chunks(parse_chunksize(chunksize), workers, total, unit, 100.0)
    done = [0] * total
    while ranges.rest:
        begin, end = ranges.take(chunks.size(ranges.rest))
        assert begin < end
        middle = random.randint(begin + 1, end)
        for item in range(begin, middle):
            done[item] += 1
        chunks.record(middle - begin, random.choice(seconds) * (middle - begin))
        ranges.give_back(middle, end)
    assert done == [1] * total
    assert ranges.first == total


def test_sizes_are_multiples_of_the_unit_but_for_the_end():
    chunks = Chunks(parse_chunksize("auto"), 2, 1000, 8)
    ranges = Ranges(1000)
    sizes = []
    while ranges.rest:
        begin, end = ranges.take(chunks.size(ranges.rest))
        sizes.append(end - begin)
        chunks.record(end - begin, 1e-4 * (end - begin))
    assert all(size % 8 == 0 for size in sizes[:-1])
    assert max(sizes) == 200  # 20 ms
    assert chunks.statistics()["chunks"] == len(sizes)


def test_fixed_chunks_travel_together_while_they_are_short_and_only_then():
    chunks = Chunks(parse_chunksize(10), 2, 10**6)
    assert chunks.size(10**6) == 10 and chunks.limit_s is None
    chunks.record(10, 10 * 1e-6)
    assert [chunks.size(10**6) for _ in range(4)] == [40, 160, 640, 1000]
    assert chunks.limit_s is not None
    chunks.record(1000, 1000 * 1e-2)
    assert chunks.size(10**6) == 10


def test_a_chunk_behind_a_long_one_is_not_handed_out():
    chunks = Chunks(parse_chunksize("auto"), 2, 1000)
    chunks.size(1000)
    assert not chunks.goes_ahead  # nobody knows
    chunks.record(1, 1e-4)
    assert chunks.goes_ahead
    chunks.record(1, 1.0)
    assert not chunks.goes_ahead


@pytest.mark.parametrize("workers", [4, 16])
@pytest.mark.parametrize("name", LOADS)
def test_auto_keeps_all_workers_busy_in_simulation(name, workers):
    assert efficiency(name, workers, "auto") >= 0.97


@pytest.mark.parametrize("name", LOADS)
def test_auto_keeps_64_workers_busy_as_far_as_one_parent_can(name):
    assert efficiency(name, 64, "auto") >= (0.70 if name[0] in "ACG" else 0.95)


def test_the_simulation_shows_what_other_rules_lose():
    assert efficiency("G hot cluster", 16, "guided") > 0.9 > efficiency("G hot cluster", 16, "static")
    assert efficiency("F fast then slow", 16, "static") < 0.5
