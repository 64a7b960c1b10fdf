"""The words of a span's header: each has one use."""

from collections import Counter

from pardata.memory import budget
from pardata.pool.worker import words as pool
from pardata.runtime import header

# Values of words, and a number.
NO_WORDS = {header.ENDED, header.MEMORY, header.LOADING, header.ALONE, header.MOST_SEQUENCES}


def test_no_word_of_the_header_has_two_uses():
    own = [value for name, value in vars(header).items() if name.isupper() and not name.startswith("_")]
    places = [value for value in own if value not in NO_WORDS]
    places += [budget.LIVE, budget.RESERVED, budget.LARGEST, budget.WIDEST, budget.CONTROL]
    places += [pool.POSITION, pool.STRIDE, pool.STARTED_NS, pool.STARTUP_NS]
    assert len(places) > 20
    assert [place for place, uses in Counter(places).items() if uses > 1] == []
    assert max(places) == header.NEXT_NUMBER  # and those of all sequences behind it
