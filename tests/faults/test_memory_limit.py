"""A limit that is too small makes a run slower, down to one item at a time; it fails where one item does not fit."""

import itertools
import os
import signal

import pytest

import pardata
from tests.faults.memory_stages import (
    ARRAY_BYTES,
    SHAPE,
    MakeAfterTheOther,
    add_one,
    chain,
    farms_out_of_order,
    first,
    make,
    several_of_each,
    threads,
    unequal_branches,
)


@pytest.mark.parametrize("shape", [chain, farms_out_of_order, unequal_branches, several_of_each, threads])
@pytest.mark.parametrize("arrays", [6, 20])
def test_what_keeps_nothing_completes(shape, arrays):
    with shape(40).iterate(memory_limit=arrays * ARRAY_BYTES) as run:
        assert sorted(run) == [number + 1 for number in range(40)]


def test_one_array_at_a_time_where_no_more_fit():
    with pardata.source(range(10)).map(make).map(first).iterate(memory_limit=ARRAY_BYTES + 100_000) as run:
        assert list(run) == list(range(10))


def test_what_an_ended_worker_has_made_and_was_let_go_does_not_count(tmp_path):
    make_both = MakeAfterTheOther(tmp_path)
    made = pardata.source(range(2)).map(make_both, workers=2, chunksize=1)
    with made.iterate(memory_limit=ARRAY_BYTES * 3 // 2) as run:
        other = first(next(run))
        with open(make_both.gone, "w") as pipe:
            pipe.write(str(other))
        assert first(next(run)) == 1


def test_small_items_that_become_large_in_the_middle_of_a_message():
    def grow(number):
        return make(number) if 1000 <= number < 1060 else number

    grown = pardata.source(range(1500)).map(grow).map(lambda item: item if isinstance(item, int) else first(item))
    with grown.iterate(memory_limit=6 * ARRAY_BYTES) as run:
        assert list(run) == list(range(1500))


def test_an_endless_source():
    with pardata.source(itertools.count()).map(make).map(first).iterate(memory_limit=6 * ARRAY_BYTES) as run:
        assert list(itertools.islice(run, 100)) == list(range(100))


def test_an_item_that_never_fits_fails_at_once():
    with pytest.raises(pardata.CapacityError, match=r"'make' needs 4\.2 MB .* for one array, more than the limit"):
        list(pardata.source([1]).map(make).iterate(memory_limit=ARRAY_BYTES // 2))


def test_input_and_output_of_one_item_that_do_not_fit_are_told():
    with pytest.raises(pardata.CapacityError, match=r"'add_one' needs .* do not fit at once"):
        list(pardata.source([1]).map(make).map(add_one).iterate(memory_limit=ARRAY_BYTES * 3 // 2))


def test_what_a_consumer_keeps_is_told():
    with pytest.raises(pardata.CapacityError, match="kept by their consumer"):
        list(pardata.source(range(30)).map(make).iterate(memory_limit=5 * ARRAY_BYTES))


def test_what_a_consumer_keeps_is_told_also_where_many_wait():
    with pytest.raises(pardata.CapacityError, match="kept by their consumer"):
        list(pardata.source(range(200)).map(make, workers=16, chunksize=1).iterate(memory_limit=5 * ARRAY_BYTES))


def test_a_death_after_a_shortage_that_was_caught_is_blamed_on_the_item():
    def die(number):
        with pytest.raises(pardata.CapacityError):
            pardata.empty(SHAPE)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(pardata.WorkerLostError, match="3 worker processes were lost while they worked on item 0"):
        pardata.source([1]).map(die).run(memory_limit=ARRAY_BYTES // 4, max_restarts=10)
