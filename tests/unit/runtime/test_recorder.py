"""The memory in which a worker records: bounded, a uniform sample, whole after a kill."""

import numpy as np
import pytest

from pardata.memory.gaps import align
from pardata.memory.segment import PAGE_BYTES
from pardata.runtime.recording.recorder import (
    CALL_BEGIN_NS,
    CALL_NUMBER,
    HEAD_CALLS,
    MOST_CALLS,
    MOST_RECORD_BYTES,
    SAMPLE_AT_NS,
    SAMPLES,
    SLOWEST,
    Recorder,
    is_kept,
    read,
    record_sizes,
)


@pytest.fixture
def memory():
    return memoryview(bytearray(record_sizes([1])[0]))


def record(recorder, numbers, took_ns=10):
    for number in numbers:
        recorder.call(number * 100, number * 100 + took_ns, 0, 0, number, 1, 1, 8, 0)


def test_all_calls_are_kept_while_there_is_room(memory):
    record(Recorder(memory), range(MOST_CALLS))
    found = read(memory)
    assert found.calls[:, CALL_NUMBER].tolist() == list(range(MOST_CALLS)) and found.shift == 0


def test_more_calls_are_a_uniform_sample_of_the_same_numbers_everywhere(memory):
    record(Recorder(memory), range(30_000))
    found = read(memory)
    numbers = found.calls[:, CALL_NUMBER]
    assert found.shift == 1 and numbers.tolist() == np.arange(30_000)[is_kept(np.arange(30_000), 1)].tolist()
    counts = np.histogram(numbers, 30, (0, 30_000))[0]
    assert (abs(counts - 500) <= 5).all()  # of each thousand every other one
    other = memoryview(bytearray(record_sizes([20])[0]))
    record(Recorder(other), range(30_000))
    few = read(other)
    assert few.shift > 1 and set(few.calls[:, CALL_NUMBER]) < set(numbers)


def test_numbers_in_steps_are_sampled_evenly_too(memory):
    record(Recorder(memory), range(0, 64 * 100_000, 64))
    numbers = read(memory).calls[:, CALL_NUMBER] // 64
    counts = np.histogram(numbers, 10, (0, 100_000))[0]
    assert 5_000 <= len(numbers) <= MOST_CALLS and counts.max() - counts.min() <= 0.05 * counts.mean()


def test_numbers_that_are_all_the_same_do_not_fill_it_for_ever(memory):
    recorder = Recorder(memory)
    for _ in range(3):
        record(recorder, [0] * MOST_CALLS)
    assert recorder.used_bytes <= len(memory)


def test_the_slowest_calls_are_kept_whatever_the_sample(memory):
    recorder = Recorder(memory)
    record(recorder, range(25_000))
    record(recorder, range(25_000, 25_000 + SLOWEST), took_ns=1000)
    record(recorder, range(26_000, 60_000))
    assert sorted(read(memory).slowest[:, CALL_NUMBER]) == list(range(25_000, 25_000 + SLOWEST))


def test_samples_thin_out_and_keep_the_whole_time(memory):
    recorder = Recorder(memory)
    for at in range(0, 10_000_000_000, 1_000_000):
        if at >= recorder.due_ns:
            recorder.sample(at, *[at // 10] * 8)
    samples = read(memory).samples
    gaps = np.diff(samples[:, SAMPLE_AT_NS])
    assert SAMPLES // 2 <= len(samples) <= SAMPLES and gaps.max() <= 2 * gaps.min()
    assert samples[0, SAMPLE_AT_NS] < 100_000_000 and samples[-1, SAMPLE_AT_NS] > 9_900_000_000


def test_a_successor_goes_on_where_its_predecessor_was_killed(memory):
    first = Recorder(memory)
    record(first, range(100))
    first.sample(5, *[1] * 8)
    second = Recorder(memory)
    record(second, range(100, 200))
    second.sample(9, *[2] * 8)
    found = read(memory)
    assert found.calls[:, CALL_NUMBER].tolist() == list(range(200)) and len(found.samples) == 2


def test_a_kill_while_calls_are_let_go_of_leaves_each_once(memory, monkeypatch):
    """Killed when the rows had moved and were not counted anew."""
    recorder = Recorder(memory)
    record(recorder, range(MOST_CALLS))
    head = recorder.head

    class Killed(BaseException):
        pass

    class Trap:
        def __getitem__(self, key):
            return head[key]

        def __setitem__(self, key, value):
            if key == HEAD_CALLS:
                raise Killed
            head[key] = value

    recorder.head = Trap()
    with pytest.raises(Killed):
        record(recorder, [MOST_CALLS])
    kept = np.arange(MOST_CALLS)[is_kept(np.arange(MOST_CALLS), 1)]
    assert read(memory).calls[:, CALL_NUMBER].tolist() == kept.tolist()
    record(Recorder(memory), range(MOST_CALLS, MOST_CALLS + 50))
    found = read(memory).calls
    assert set(found[:, CALL_NUMBER]) <= set(range(MOST_CALLS + 50)) and len(np.unique(found, axis=0)) == len(found)


def test_the_memory_of_a_million_items_is_bounded():
    """Of all stages together, however many there are, and whole pages counted."""
    for workers in ([1], [4], [20], [1] * 6, [4] * 10, [1] * 400, [500], [1, 64, 64, 64, 1]):
        sizes = record_sizes(workers)
        total = sum(count * align(nbytes, PAGE_BYTES) for count, nbytes in zip(workers, sizes, strict=True))
        assert total <= MOST_RECORD_BYTES and CALL_BEGIN_NS == 0
    assert record_sizes([1] * 13) == [record_sizes([1])[0]] * 13  # all calls of 13 stages, up to `MOST_CALLS`
    assert record_sizes([500])[0] > record_sizes([4000], 1)[0] > 0


def test_the_smallest_memory_keeps_a_sample():
    small = memoryview(bytearray(record_sizes([4000], 1)[0]))
    record(Recorder(small), range(5000))
    found = read(small)
    assert 0 < len(found.calls) <= SLOWEST and len(found.slowest) == SLOWEST
