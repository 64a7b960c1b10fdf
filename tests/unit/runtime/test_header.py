"""Sequence and number in one word: one store says which batch is being worked on."""

import pytest

from pardata.memory.arena import HEADER_WORDS
from pardata.memory.budget import LIVE, RESERVED
from pardata.runtime import header


@pytest.mark.parametrize("sequence", [0, 1, header.MOST_SEQUENCES - 1])
@pytest.mark.parametrize("number", [0, 1, 12345, (1 << 48) - 2])
def test_batch_is_read_back_from_its_word(sequence, number):
    word = header.batch_word(sequence, number)
    assert 0 < word < 1 << 63
    assert header.batch_of_word(word) == (sequence, number)


def test_word_zero_says_that_nothing_is_being_worked_on():
    assert header.batch_of_word(0) is None


def test_words_of_a_header_are_apart_and_fit():
    """The arena's two, the counters, and one per sequence behind them."""
    names = [
        name for name, value in vars(header).items() if name.isupper() and not name.startswith(("_", "MOST", "LOADING"))
    ]
    places = [LIVE, RESERVED, *(getattr(header, name) for name in names)]
    assert len(set(places)) == len(places)
    assert max(place for place in places if place != header.NEXT_NUMBER) < header.NEXT_NUMBER
    assert header.NEXT_NUMBER + header.MOST_SEQUENCES <= HEADER_WORDS
