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


def arrays_of_this_process(count):
    return pardata.source([make(number) for number in range(count)]).map(add_one)


def arrays_of_a_generator(count):
    def makes():
        for number in range(count):
            yield make(number)

    return pardata.source(makes).map(add_one)


LEAST_FOR_RUN = [
    (lambda count: pardata.source(range(count)).map(make), 1),
    (lambda count: pardata.source(range(count)).map(make).map(add_one), 1),
    (lambda count: pardata.source(range(count)).map(make).map(add_one).map(add_one), 2),
    (lambda count: pardata.source(range(count)).map(make, workers=2).map(add_one, workers=2), 1),
    (arrays_of_this_process, 1),
    (arrays_of_a_generator, 1),
]


@pytest.mark.parametrize(("shape", "arrays"), LEAST_FOR_RUN)
def test_a_loop_needs_one_item_more_than_a_run(shape, arrays):
    """Its variable keeps the item that it is at until it has the next one."""
    slack = 300_000  # for tables and channels
    shape(6).run(memory_limit=arrays * ARRAY_BYTES + slack)
    seen = 0
    for _array in shape(6).iterate(memory_limit=(arrays + 1) * ARRAY_BYTES + slack):
        seen += 1
    assert seen == 6


@pytest.mark.parametrize("arrays", [2, 3])
def test_what_is_let_go_is_noted_when_the_source_has_sent_everything(arrays):
    """Its thread has nothing else to do: who else would hear that arrays of this process are not needed any more?"""
    for _ in range(3):
        stream = arrays_of_this_process(6).map(first)
        assert list(stream.iterate(memory_limit=arrays * ARRAY_BYTES + 300_000)) == list(range(1, 7))


def test_the_item_of_a_loop_is_told_where_more_is_kept():
    kept = []
    with pytest.raises(pardata.CapacityError, match="also the item that a loop is at, until it has the next one"):
        for array in pardata.source(range(30)).map(make).iterate(memory_limit=3 * ARRAY_BYTES):
            kept.append(array)
    assert len(kept) >= 3
