"""Which message is next."""

from dataclasses import dataclass

import pytest

from pardata.pipeline.plan.ordering import Arrival, Fanin, InOrder


@dataclass(frozen=True)
class Message:
    number: int
    count: int = 1
    sequence: int = 0
    edge: int = 0


def take_all(order):
    steps = []
    while (messages := order.take_next()) is not None:
        steps.append(messages)
    return steps


def add(order, *messages):
    for message in messages:
        order.add(message.edge, message)
    return take_all(order)


# -- by arrival --------------------------------------------------------------------------------------------------------


def test_arrival_hands_out_what_comes_first():
    messages = [Message(3), Message(1, sequence=2), Message(2)]
    assert add(Arrival(), *messages) == [[message] for message in messages]


def test_arrival_is_empty_before_something_comes():
    order = Arrival()
    assert order.take_next() is None
    assert order.parked == 0


def test_arrival_knows_nothing_as_finished():
    assert not Arrival().is_stale(Message(0))


# -- by number ---------------------------------------------------------------------------------------------------------


def test_message_waits_for_those_before_it():
    order = InOrder()
    assert add(order, Message(2), Message(1)) == []
    assert order.parked == 2
    assert add(order, Message(0)) == [[Message(0)], [Message(1)], [Message(2)]]
    assert order.parked == 0


def test_message_that_stands_for_several_items_is_followed_by_the_number_behind_them():
    order = InOrder()
    assert add(order, Message(5, 2), Message(3, 2)) == []
    assert add(order, Message(0, 3)) == [[Message(0, 3)], [Message(3, 2)], [Message(5, 2)]]


def test_sequences_do_not_wait_for_each_other():
    order = InOrder()
    assert add(order, Message(1, sequence=4)) == []
    assert add(order, Message(0, sequence=7)) == [[Message(0, sequence=7)]]
    assert add(order, Message(0, sequence=4)) == [[Message(0, sequence=4)], [Message(1, sequence=4)]]


def test_zip_waits_for_the_same_number_on_every_edge():
    order = InOrder(edges=3)
    first, second, third = (Message(0, edge=edge) for edge in range(3))
    assert add(order, third, first) == []
    assert order.parked == 2
    assert add(order, second) == [[first, second, third]]


def test_zip_keeps_order_and_pairs_at_once():
    order = InOrder(edges=2)
    ahead = [Message(1, edge=0), Message(1, edge=1), Message(0, edge=1)]
    assert add(order, *ahead) == []
    assert add(order, Message(0, edge=0)) == [[Message(0, edge=0), ahead[2]], [ahead[0], ahead[1]]]


def test_order_goes_on_where_a_predecessor_stopped():
    order = InOrder(following={0: 10, 2: 5})
    assert add(order, Message(11), Message(5, sequence=2)) == [[Message(5, sequence=2)]]
    assert add(order, Message(10)) == [[Message(10)], [Message(11)]]
    assert add(order, Message(0, sequence=1)) == [[Message(0, sequence=1)]]


def test_what_a_predecessor_has_finished_is_stale():
    order = InOrder(following={0: 10})
    assert order.is_stale(Message(9))
    assert not order.is_stale(Message(10))
    assert not order.is_stale(Message(0, sequence=1))


def test_what_was_handed_out_is_stale():
    order = InOrder()
    add(order, Message(0, 4))
    assert order.is_stale(Message(3))
    assert not order.is_stale(Message(4))


def test_given_numbers_are_not_changed():
    following = {0: 1}
    add(InOrder(following=following), Message(1))
    assert following == {0: 1}


@pytest.mark.parametrize("again", [Message(0), Message(2)], ids=["finished", "parked"])
def test_second_message_of_a_number_is_refused(again):
    order = InOrder()
    add(order, Message(0), Message(2))
    with pytest.raises(ValueError, match=f"item 0:{again.number} came twice on edge 0"):
        order.add(0, again)
    assert add(order, Message(1)) == [[Message(1)], [Message(2)]]  # the order is as it was


def test_same_number_on_another_edge_is_no_second_message():
    order = InOrder(edges=2)
    order.add(0, Message(0))
    with pytest.raises(ValueError, match="came twice on edge 0"):
        order.add(0, Message(0))
    assert add(order, Message(0, edge=1)) == [[Message(0), Message(0, edge=1)]]


# -- by position -------------------------------------------------------------------------------------------------------


def test_by_position_the_input_that_is_behind_comes_next():
    order = Fanin("position", 2).order({})
    order.has_ended = lambda edge: False
    assert add(order, Message(0, 4), Message(4, 4)) == [[Message(0, 4)]]  # the other one is waited for
    assert add(order, Message(3, 9, 1, 1)) == []  # out of its order
    assert add(order, Message(0, 3, 1, 1)) == [[Message(0, 3, 1, 1)], [Message(3, 9, 1, 1)], [Message(4, 4)]]
    assert order.parked == 0


def test_by_position_the_rest_comes_when_the_input_that_is_behind_has_ended():
    order = Fanin("position", 2).order({})
    order.has_ended = lambda edge: edge == 1
    assert add(order, Message(0, 2), Message(2, 2)) == [[Message(0, 2)], [Message(2, 2)]]
