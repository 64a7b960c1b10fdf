"""Whatever the order of arrival, messages are handed out in order, and all of them."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pardata.pipeline.plan.ordering import Arrival, InOrder


@dataclass(frozen=True)
class Message:
    sequence: int
    number: int
    count: int
    edge: int


@st.composite
def streams(draw, edges):
    """The messages of several sequences on `edges` edges, in order."""
    messages = []
    for sequence in range(draw(st.integers(1, 3))):
        number = 0
        for count in draw(st.lists(st.integers(1, 5), max_size=12)):
            messages.append([Message(sequence, number, count, edge) for edge in range(edges)])
            number += count
    return messages


@st.composite
def arrivals(draw):
    """(edges, groups of messages that belong together, all messages as they arrive)."""
    edges = draw(st.integers(1, 3))
    groups = draw(streams(edges))
    return edges, groups, draw(st.permutations([message for group in groups for message in group]))


def feed(order, messages):
    handed_out = []
    for message in messages:
        order.add(message.edge, message)
        while (group := order.take_next()) is not None:
            handed_out.append(group)
    return handed_out


def by_sequence(groups):
    return sorted(groups, key=lambda group: group[0].sequence)


@given(arrivals())
def test_any_arrival_is_handed_out_complete_and_in_order(given_):
    edges, groups, messages = given_
    order = InOrder(edges)
    assert by_sequence(feed(order, messages)) == groups
    assert order.parked == 0


@given(arrivals())
def test_nothing_waits_that_could_be_handed_out(given_):
    edges, groups, messages = given_
    order = InOrder(edges)
    handed_out, come = 0, set()
    for message in messages:
        handed_out += len(feed(order, [message]))
        come.add(message)
        complete = 0
        for sequence in {group[0].sequence for group in groups}:
            for group in (group for group in groups if group[0].sequence == sequence):
                if not come.issuperset(group):
                    break
                complete += 1
        assert handed_out == complete
        assert order.parked == len(come) - edges * complete


@given(arrivals(), st.data())
def test_successor_hands_out_the_rest_and_knows_what_is_stale(given_, data):
    """The predecessor had finished a part of each sequence; all messages arrive again."""
    edges, groups, messages = given_
    following = {}
    for sequence in {group[0].sequence for group in groups}:
        ends = [group[0].number + group[0].count for group in groups if group[0].sequence == sequence]
        following[sequence] = data.draw(st.sampled_from([0, *ends]))
    order = InOrder(edges, following)
    fresh = [message for message in messages if not order.is_stale(message)]
    assert by_sequence(feed(order, fresh)) == [
        group for group in groups if group[0].number >= following[group[0].sequence]
    ]


@given(arrivals())
def test_arrival_hands_out_everything_as_it_comes(given_):
    _, _, messages = given_
    assert feed(Arrival(), messages) == [[message] for message in messages]
