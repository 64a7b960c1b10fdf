"""Properties of the size classes of blocks."""

from hypothesis import given
from hypothesis import strategies as st

from pardata.memory.gaps import align, size_class
from pardata.memory.segment import HUGE_PAGE_BYTES, PAGE_BYTES

NBYTES = st.integers(0, 1 << 45)


@given(NBYTES)
def test_block_holds_what_was_asked_for_in_whole_pages(nbytes):
    extent = size_class(nbytes)
    assert extent >= nbytes
    assert extent % (HUGE_PAGE_BYTES if extent >= HUGE_PAGE_BYTES else PAGE_BYTES) == 0


@given(NBYTES)
def test_less_than_a_quarter_or_a_page_is_left_over(nbytes):
    page = HUGE_PAGE_BYTES if nbytes > HUGE_PAGE_BYTES // 2 else PAGE_BYTES
    assert size_class(nbytes) - nbytes <= max(nbytes // 4, page)


@given(NBYTES)
def test_class_of_a_class_is_itself(nbytes):
    assert size_class(size_class(nbytes)) == size_class(nbytes)


@given(NBYTES, NBYTES)
def test_larger_requests_get_no_smaller_blocks(one, other):
    assert size_class(min(one, other)) <= size_class(max(one, other))


@given(st.integers(0, 1 << 50), st.integers(1, 1 << 30))
def test_aligned_value_is_the_next_multiple(value, to):
    aligned = align(value, to)
    assert aligned % to == 0
    assert value <= aligned < value + to
