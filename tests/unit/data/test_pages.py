"""The entries that blocks are multiples of."""

from hypothesis import given
from hypothesis import strategies as st

from pardata.data.pages import step_of

LENGTHS = st.integers(1, 1000)


@given(LENGTHS, st.lists(LENGTHS, max_size=4))
def test_a_step_is_of_whole_units_and_not_much_longer_than_the_longest(unit, pages):
    step = step_of(unit, pages)
    assert step % unit == 0
    assert step <= max([unit, *pages]) * 4 ** len(pages)


@given(LENGTHS, st.integers(1, 4))
def test_pages_that_fit_units_are_kept_whole(unit, times):
    assert step_of(unit, [unit * times]) == unit * times
    assert step_of(unit * times, [unit]) == unit * times


def test_a_page_that_fits_badly_is_rather_read_twice():
    assert step_of(64, [63]) == 64
    assert step_of(1, [30, 100]) == 300
