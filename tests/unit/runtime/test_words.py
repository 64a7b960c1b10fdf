"""Domain and number in one word: one store says which batch is being worked on."""

import pytest

from pardata.memory.arena import HEADER_WORDS
from pardata.memory.budget import LIVE, RESERVED
from pardata.runtime import words


@pytest.mark.parametrize("domain", [0, 1, words.MOST_DOMAINS - 1])
@pytest.mark.parametrize("number", [0, 1, 12345, (1 << 48) - 2])
def test_batch_is_read_back_from_its_word(domain, number):
    word = words.running_word(domain, number)
    assert 0 < word < 1 << 63
    assert words.running_batch(word) == (domain, number)


def test_word_zero_says_that_nothing_is_being_worked_on():
    assert words.running_batch(0) is None


def test_words_of_a_header_are_apart_and_fit():
    """The arena's two, the counters, and one per domain behind them."""
    names = [
        name for name, value in vars(words).items() if name.isupper() and not name.startswith(("_", "MOST", "LOADING"))
    ]
    places = [LIVE, RESERVED, *(getattr(words, name) for name in names)]
    assert len(set(places)) == len(places)
    assert max(place for place in places if place != words.FOLLOWING) < words.FOLLOWING
    assert words.FOLLOWING + words.MOST_DOMAINS <= HEADER_WORDS
