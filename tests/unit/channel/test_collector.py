"""Fan-in: what several receivers get comes out in one order."""

import selectors
import socket
import threading

import pytest

from pardata.channel import collector as collectors
from pardata.channel.collector import Collector
from pardata.errors import BrokenError
from pardata.pipeline.plan.ordering import Arrival, Fanin, InOrder


@pytest.fixture
def make_collector(make_rig):
    """Make a collector over `count` channels; return it and the rigs. ``rig.receiver`` is what it reads."""
    made = []

    def make(count, order, rigs=None):
        rigs = rigs or [make_rig() for _ in range(count)]
        for edge, rig in enumerate(rigs):
            rig.receiver.edge = edge
        collector = Collector([rig.receiver for rig in rigs], order, [])
        made.append(collector)
        return collector, rigs

    yield make
    for collector in made:
        collector.close()
        vars(collector).clear()


def take(collector):
    """Everything that is there now, committed: (channel, number) pairs in a list per step."""
    collector.poll()
    steps = []
    while (claims := collector.next()) is not None:
        steps.append([(claim.receiver.edge, claim.number) for claim in claims])
        for claim in claims:
            claim.receiver.read(claim)
            claim.receiver.commit(claim)
    return steps


def test_nothing_is_next_before_something_comes(make_collector):
    collector, _ = make_collector(2, Arrival())
    assert collector.next() is None
    collector.poll()
    assert collector.next() is None


def test_what_comes_first_is_first_without_an_order(make_collector):
    collector, (left, right) = make_collector(2, Arrival())
    left.send(4)
    assert take(collector) == [[(0, 4)]]
    right.send(2)
    assert take(collector) == [[(1, 2)]]
    left.send(3)
    right.send(1)
    assert sorted(take(collector)) == [[(0, 3)], [(1, 1)]]


def test_order_is_restored_over_several_channels(make_collector):
    collector, (left, middle, right) = make_collector(3, InOrder())
    for rig in (left, middle, right):
        rig.receiver.edge = 0
    right.send(2)
    middle.send(1, 3)
    assert take(collector) == []
    left.send(0)
    assert [number for ((_, number),) in take(collector)] == [0, 1, 2, 3]


def test_zip_waits_for_all_its_edges(make_collector):
    collector, (left, right) = make_collector(2, InOrder(2))
    left.send(0, 1)
    assert take(collector) == []
    right.send(0)
    assert take(collector) == [[(0, 0), (1, 0)]]
    right.send(1)
    assert take(collector) == [[(0, 1), (1, 1)]]


def test_end_is_where_every_sender_has_closed_and_everything_is_committed(make_collector):
    collector, (left, right) = make_collector(2, Arrival())
    left.send(0)
    left.sender.close()
    take(collector)
    assert not collector.at_end
    right.send(1)
    right.sender.close()
    collector.poll()
    assert not collector.at_end
    take(collector)
    assert collector.at_end


def test_wait_tells_the_senders_before_it_sleeps(make_collector):
    collector, (rig,) = make_collector(1, Arrival())
    rig.send(0)
    take(collector)
    rig.send(1)  # so that the wait has an end
    collector.wait()
    rig.sender.receive()
    assert rig.free_slots == 3
    assert rig.live_blocks == 1
    assert len(take(collector)) == 1


def test_wait_ends_when_something_comes(make_collector):
    """Whichever comes first, the sleep or the message."""
    collector, (_, right) = make_collector(2, Arrival())
    thread = threading.Thread(target=right.send, args=(7,))
    thread.start()
    collector.wait()
    thread.join()
    assert take(collector) == [[(1, 7)]]


def test_senders_hear_while_the_collector_waits(make_collector, make_rig):
    """A stage in the middle: its selector watches both sides."""
    behind = make_rig()
    ahead = make_rig()
    collector = Collector([ahead.receiver], Arrival(), [behind.sender])
    behind.send(0)
    behind.finish(behind.receiver.receive())
    behind.receiver.flush()
    collector.wait()
    assert behind.free_slots == 4
    collector.close()


def test_other_files_can_be_watched_and_forgotten(make_collector):
    collector, _ = make_collector(1, Arrival())
    one, other = socket.socketpair()
    with one, other:
        heard = []
        collector.watch(one, lambda: heard.append(one.recv(10)))
        other.send(b"x")
        collector.wait()
        assert heard == [b"x"]
        collector.unwatch(one)
        other.send(b"y")
        collector.poll()
        assert heard == [b"x"]


def test_idle_process_is_told_so(make_collector, monkeypatch):
    monkeypatch.setattr(collectors, "IDLE_S", 0.001)
    collector, (rig,) = make_collector(1, Arrival())
    told = []
    collector.wait(0.001)
    collector.on_idle(lambda: told.append(True))
    collector.wait()
    assert told == [True]
    rig.send(0)
    collector.wait()
    assert told == [True]


def test_full_socket_is_tried_again(make_collector, monkeypatch):
    """Nobody reads, so nothing else would wake it up."""
    collector, (rig,) = make_collector(1, Arrival())
    rig.send(0)
    take(collector)
    monkeypatch.setattr(rig.receiver, "flush", lambda: False)
    collector.wait()  # comes back without an event
    monkeypatch.undo()
    assert collector.flush()
    rig.sender.receive()
    assert rig.free_slots == 4


def test_end_of_a_socket_ends_the_wait(make_collector):
    collector, (rig,) = make_collector(1, Arrival())
    rig.socks[0].close()
    with pytest.raises(BrokenError):
        collector.wait()


def test_closed_selector_leaves_the_sockets_open(make_collector, make_rig):
    rig = make_rig()
    collector = Collector([rig.receiver], Arrival(), [])
    collector.close()
    assert isinstance(collector.selector, selectors.BaseSelector)
    rig.send(0)
    assert len(rig.receiver.receive()) == 1


# -- after a death -----------------------------------------------------------------------------------------------------


def test_successor_takes_up_what_was_left_without_a_doorbell(make_collector, make_rig):
    rigs = [make_rig(), make_rig()]
    for rig in rigs:
        rig.send(0)
        rig.receiver.receive()  # the dead one takes the doorbell with it
        rig.receiver = type(rig.receiver)(rig.spec, rig.socks[1], rig.segment, 0)
    collector, _ = make_collector(2, InOrder(2), rigs)
    collector.resume(None, 0)
    assert collector.next() is not None


def test_successor_begins_with_what_was_being_worked_on(make_collector, make_rig):
    rig = make_rig()
    rig.send(3, 1, 2)
    collector, _ = make_collector(1, Arrival(), [rig])
    assert collector.resume((0, 2), 0)
    assert [number for ((_, number),) in take(collector)] == [2, 3, 1]


def two_inputs(make_rig):
    """Channels of two inputs with messages in them; the second one's belong to sequence 1."""
    rigs = [make_rig(), make_rig()]
    for rig in rigs:
        rig.send(0, 1)
    rigs[1].receiver.renamed = {0: 1}
    return rigs


@pytest.mark.parametrize("edge", [0, 1])
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("policy", ["arrival", "fair", "round_robin", "sequence"])
def test_successor_begins_with_what_was_being_worked_on_whatever_the_policy(
    make_collector, make_rig, policy, in_order, edge
):
    order = Fanin(policy, 1 if policy == "arrival" else 2, in_order).order({})
    rigs = two_inputs(make_rig)
    collector, _ = make_collector(2, order, rigs)
    for rig in rigs:
        rig.receiver.edge = rig.receiver.edge if policy != "arrival" else 0
    assert collector.resume((edge, 0), 1 - edge)
    (claim,) = collector.next()
    assert (claim.sequence, claim.number) == (edge, 0)


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("policy", ["fair", "round_robin", "sequence"])
def test_successor_goes_on_with_the_input_whose_turn_it_was(make_collector, make_rig, policy, turn):
    collector, _ = make_collector(2, Fanin(policy, 2).order({}), two_inputs(make_rig))
    assert not collector.resume((1, 7), turn)
    assert [claim.receiver.edge for claim in collector.next()] == [turn]


def test_what_was_noted_as_finished_is_not_begun_again_and_the_turn_goes_on(make_collector, make_rig):
    collector, _ = make_collector(2, Fanin("fair", 2).order({0: 1}), two_inputs(make_rig))
    assert not collector.resume((0, 0), 1)
    assert [edge for ((edge, _),) in take(collector)] == [1, 0, 1]


def test_message_that_was_finished_before_ends_its_leases(make_collector, make_rig):
    """Killed after it had noted the number and before the commit: nothing of the message is processed again."""
    rig = make_rig()
    rig.send(0, 1)
    collector, _ = make_collector(1, InOrder(1, {0: 1}), [rig])
    collector.resume(None, 0)
    assert take(collector) == [[(0, 1)]]
    rig.settle()
    assert (rig.free_slots, rig.live_blocks) == (4, 0)
