"""A message that is taken apart, whose items go through one by one, is as if it had gone as a whole."""

import os

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pardata.cluster import wire
from pardata.cluster.messages import Message, News, Result
from pardata.cluster.suspects import apart, message_in, together


def through(message):
    """Two outlets, the second one without odd items; items of 3 fail, those of 4 are skipped."""
    places = range(len(message.items)) if message.positions is None else message.positions
    rows = list(zip(places, message.items, strict=True))
    kept = [(place, item) for place, item in rows if item not in (3, 4)]
    even = [(place, -item) for place, item in kept if item % 2 == 0]
    outlets = [([place for place, _ in part], [item for _, item in part]) for part in (kept, even)]
    failures = [(place, "fault") for place, item in rows if item == 3]
    skipped = [message.number + place % message.size for place, item in rows if item == 4]
    return Result(outlets, failures, News(skipped, None, []))


@given(st.integers(0, 50), st.integers(1, 6), st.data())
def test_parts_give_what_the_whole_gives(number, size, data):
    items = data.draw(st.lists(st.integers(0, 9), min_size=size, max_size=size))
    positions = None
    if data.draw(st.booleans()):
        positions = sorted(data.draw(st.sets(st.integers(0, 3 * size - 1), min_size=1)), key=lambda at: at % size)
        items = [at % 10 for at in positions]
    message = Message(number, size, positions, items)
    parts = apart(message)
    assert all(part.size == 1 and number <= part.number < number + size for part in parts)
    assert together(message, [(part, through(part)) for part in parts]) == through(message)


class Opens:
    """It is loaded as an open file, which cannot be sent on."""

    def __reduce__(self):
        return open, (os.devnull,)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_message_whose_items_cannot_be_sent_from_here_is_not_taken_apart():
    assert message_in(wire.encode(Message(0, 2, None, [Opens(), 1]))) is None
    assert message_in(wire.encode(Message(0, 2, None, [3, 1]))).items == [3, 1]
