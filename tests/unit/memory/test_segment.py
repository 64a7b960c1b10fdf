"""A segment is huge in address space, empty in memory, and has no name."""

import gc
import os
import subprocess
import sys

import numpy as np
import pytest

from pardata.memory import segment as segments
from pardata.memory.segment import HUGE_PAGE_BYTES, PAGE_BYTES, Segment

HANG_S = 60


def test_new_segment_is_huge_and_takes_no_memory(segment, resident_bytes):
    assert segment.size_bytes >= 64 << 30
    assert len(segment.map) == os.fstat(segment.fd).st_size == segment.size_bytes
    assert resident_bytes() == 0


def test_segments_that_wait_for_the_garbage_collector_take_no_addresses_from_a_new_one(segment):

    def in_a_cycle():
        made = Segment.create()
        made.close_fd()
        made.itself = made
        return made.size_bytes

    # A process has addresses for three of 32 TiB, and another test's may be among them: all get as much as the first.
    gc.disable()
    try:
        assert len({in_a_cycle() for _ in range(8)}) == 1
    finally:
        gc.enable()


def test_only_what_was_written_takes_memory(segment, resident_bytes):
    for offset in (0, segment.size_bytes // 2, segment.size_bytes - 1):
        segment.map[offset] = 1
    assert PAGE_BYTES <= resident_bytes() <= 3 * HUGE_PAGE_BYTES


def test_punched_range_gives_its_pages_back_and_reads_as_zeros(segment, resident_bytes):
    size = 4 * HUGE_PAGE_BYTES
    written = np.frombuffer(segment.map, np.uint8, 3 * size)
    written[:] = 7
    before = resident_bytes()
    segment.punch(size, size)
    assert resident_bytes() == before - size
    assert [int(written[at]) for at in (size - 1, size, 2 * size - 1, 2 * size)] == [7, 0, 0, 7]


@pytest.fixture
def with_huge_pages(segment, monkeypatch):
    """A segment whose huge pages cost nothing, by its clock."""
    monkeypatch.setattr(segments.time, "thread_time", lambda: 0.0)
    segment.fill(0, HUGE_PAGE_BYTES)
    if not segment._has_huge:
        pytest.skip("this system has no huge pages for shared memory")
    return segment


def test_a_range_that_is_going_to_be_filled_has_whole_huge_pages_and_nothing_beyond(with_huge_pages, resident_bytes):
    segment, before = with_huge_pages, resident_bytes()
    segment.fill(8 * HUGE_PAGE_BYTES, 2 * HUGE_PAGE_BYTES + PAGE_BYTES)
    assert resident_bytes() == before + 2 * HUGE_PAGE_BYTES
    filled = np.frombuffer(segment.map, np.uint8, 12 * HUGE_PAGE_BYTES)[7 * HUGE_PAGE_BYTES :]
    assert not filled.any()
    filled[:] = 5
    other = Segment(os.dup(segment.fd), 1 << 30)
    assert np.all(np.frombuffer(other.map, np.uint8, 12 * HUGE_PAGE_BYTES)[7 * HUGE_PAGE_BYTES :] == 5)
    other.close_fd()
    segment.punch(7 * HUGE_PAGE_BYTES, 5 * HUGE_PAGE_BYTES)
    assert resident_bytes() == before and not filled.any()


def test_a_part_of_a_huge_page_is_given_back(with_huge_pages, resident_bytes):
    written = np.frombuffer(with_huge_pages.map, np.uint8, HUGE_PAGE_BYTES)
    written[:] = 3
    with_huge_pages.punch(PAGE_BYTES, 2 * PAGE_BYTES)
    assert resident_bytes() == HUGE_PAGE_BYTES - 2 * PAGE_BYTES
    assert written.sum() == 3 * (HUGE_PAGE_BYTES - 2 * PAGE_BYTES)


def test_a_system_that_refuses_huge_pages_is_asked_once(segment, monkeypatch, resident_bytes):
    monkeypatch.setattr(segments, "_MADV_COLLAPSE", 9999)
    segment._has_huge = True
    segment.fill(0, 2 * HUGE_PAGE_BYTES)
    assert not segment._has_huge and resident_bytes() == PAGE_BYTES
    segment.fill(4 * HUGE_PAGE_BYTES, HUGE_PAGE_BYTES)
    assert resident_bytes() == PAGE_BYTES


def test_huge_pages_that_cost_more_than_they_save_are_left_out_for_a_while(
    with_huge_pages, monkeypatch, resident_bytes
):
    segment, clock = with_huge_pages, iter(range(99))  # seconds
    monkeypatch.setattr(segments.time, "thread_time", lambda: next(clock))
    segment.fill(HUGE_PAGE_BYTES, 40 * HUGE_PAGE_BYTES)  # as many at once as were made the last time that it paid
    after = resident_bytes()
    assert after == (1 + 16) * HUGE_PAGE_BYTES
    for at in range(50, 178):
        segment.fill(at * HUGE_PAGE_BYTES, HUGE_PAGE_BYTES)
    assert resident_bytes() == after
    segment.fill(200 * HUGE_PAGE_BYTES, 8 * HUGE_PAGE_BYTES)  # a trial
    assert resident_bytes() == after + HUGE_PAGE_BYTES
    segment._left_out = 0
    monkeypatch.setattr(segments.time, "thread_time", lambda: 0.0)
    segment.fill(300 * HUGE_PAGE_BYTES, 20 * HUGE_PAGE_BYTES)
    assert resident_bytes() == after + 21 * HUGE_PAGE_BYTES


def test_only_what_is_written_of_an_empty_array_takes_memory(shared_heap):
    arena, status = shared_heap.arena, shared_heap.segment
    before = os.fstat(status.fd).st_blocks
    kept = [arena.reserve(64 << 20, is_filled=False), arena.reserve(64 << 20, zeroed=True)]
    assert os.fstat(status.fd).st_blocks - before < 100, kept


@pytest.mark.parametrize(("text", "are"), [("always [never]", False), ("[always] never", True), (None, True)])
def test_where_huge_pages_are_the_rule_tables_have_none(monkeypatch, tmp_path, text, are):
    if text is not None:
        (tmp_path / "file").write_text(text)
    monkeypatch.setattr(segments, "_HUGE_PAGES_OF_FILES", str(tmp_path / "file"))
    assert segments.are_huge_by_default.__wrapped__() is are


def test_second_mapping_of_the_same_descriptor_sees_the_same_bytes(segment):
    other = Segment(os.dup(segment.fd), 1 << 30)  # as much of it: there may be no addresses for all of it again
    segment.map[12345] = 42
    assert other.map[12345] == 42
    other.close_fd()


def test_mapping_outlives_its_descriptor(segment):
    segment.close_fd()
    segment.close_fd()  # harmless
    segment.map[0] = 5
    assert segment.map[0] == 5


def test_descriptor_is_not_inherited_by_programs_that_are_started(segment):
    assert not os.get_inheritable(segment.fd)


def test_segment_has_no_name(segment):
    assert os.fstat(segment.fd).st_nlink == 0


def test_prepared_huge_range_takes_no_memory_before_it_is_written(segment, resident_bytes):
    segment.prepare(HUGE_PAGE_BYTES, 8 * HUGE_PAGE_BYTES)
    assert resident_bytes() == 0


SMALL_ADDRESS_SPACE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]) << 30,) * 2)
import pardata
print(pardata.zeros(1 << 20).sum())
"""


@pytest.mark.parametrize("limit_gib", [1000, 100, 8])
def test_arrays_are_made_where_the_address_space_is_limited(limit_gib):
    command = [sys.executable, "-c", SMALL_ADDRESS_SPACE, str(limit_gib)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert (done.returncode, done.stdout) == (0, "0.0\n"), done.stderr


def test_too_few_addresses_are_an_error_that_names_the_limit():
    done = subprocess.run(
        [sys.executable, "-c", SMALL_ADDRESS_SPACE, "2"], capture_output=True, text=True, timeout=HANG_S
    )
    assert "pardata.errors.CapacityError: 2147483648 bytes of shared memory cannot be mapped" in done.stderr
    assert "limited to 2147483648 bytes (`ulimit -v`)" in done.stderr
