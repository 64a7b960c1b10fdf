"""The ledger of messages that are away: credits, redo in order, blame; also under random events."""

from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pardata.cluster.ledger import SUSPECT_AFTER, Ledger, Send


def filled(nodes=2, credits=2, messages=4, most_bytes=100):
    ledger = Ledger()
    for node in range(nodes):
        ledger.join(f"n{node}", credits, most_bytes)
    for number in range(messages):
        ledger.add(number, 1)
    return ledger


def lose(ledger, node):
    """Lose a node; suspects are sent again as they are. Return the blamed, and what is sent."""
    blamed, suspects = ledger.lose(node)
    sends = [send for number in suspects for send in ledger.add(number, 1, SUSPECT_AFTER)]
    return blamed, sends + ledger.send()


def test_the_node_with_most_free_credits_is_taken():
    ledger = Ledger()
    ledger.join("small", 1, 100)
    ledger.join("large", 3, 100)
    assert [ledger.add(number, 1) for number in range(5)] == [
        [Send("large", 0)], [Send("large", 1)], [Send("small", 2)], [Send("large", 3)], []
    ]  # fmt: skip


def test_bytes_are_limited_and_a_message_of_more_goes_alone():
    ledger = Ledger()
    ledger.join("n0", 10, 100)
    assert ledger.add(0, 60) == [Send("n0", 0)]
    assert ledger.add(1, 60) == []
    assert not ledger.has_room
    assert ledger.done("n0", 0) == (True, [Send("n0", 1)])
    assert ledger.add(2, 1000) == []
    assert ledger.done("n0", 1) == (True, [Send("n0", 2)])


def test_all_nodes_together_have_a_limit_in_bytes():
    ledger = Ledger(100)
    for node in ("n0", "n1"):
        ledger.join(node, 10, 1000)
    assert ledger.add(0, 60) == [Send("n0", 0)]
    assert ledger.add(1, 60) == []
    assert ledger.done("n0", 0) == (True, [Send("n0", 1)])
    assert ledger.add(2, 40) == [Send("n1", 2)]
    assert not ledger.has_room
    assert lose(ledger, "n0") == ([], [Send("n1", 1)])


def test_messages_of_a_lost_node_go_first_and_in_order():
    ledger = filled(messages=6)  # 0 and 2 are on n0, 4 and 5 wait
    assert lose(ledger, "n0") == ([], [])
    assert ledger.done("n1", 1) == (True, [Send("n1", 0)])
    assert ledger.done("n1", 3) == (True, [Send("n1", 2)])
    assert ledger.done("n1", 0) == (True, [Send("n1", 4)])
    assert ledger.redone == 2


def test_an_answer_counts_once_and_not_from_a_lost_node():
    ledger = filled()
    assert ledger.done("n0", 0)[0]
    assert not ledger.done("n0", 0)[0]
    lose(ledger, "n1")
    assert not ledger.done("n1", 1)[0]
    assert not ledger.done("n0", 3)[0]  # it waits, and is not there yet


def test_a_message_that_has_cost_two_nodes_is_handed_back_as_a_suspect():
    ledger = Ledger()
    ledger.add(0, 1)
    for node, suspects in (("a", []), ("b", [0])):
        ledger.join(node, 4, 100)
        assert ledger.node_of(0) == node
        assert ledger.lose(node) == ([], suspects)
    assert (ledger.count, ledger.node_of(0), ledger.redone) == (0, None, 2)


def test_a_suspect_goes_alone_and_after_three_nodes_is_blamed():
    ledger = Ledger()
    ledger.add(0, 1)
    for node in ("a", "b"):
        assert ledger.join(node, 4, 100) == [Send(node, 0)]
        assert lose(ledger, node) == ([], [])
    assert ledger.join("c", 4, 100) == [Send("c", 0)]
    assert not ledger.has_room
    assert ledger.add(1, 1) == []
    assert lose(ledger, "c") == ([0], [])
    assert ledger.join("d", 4, 100) == [Send("d", 1)]


def test_a_suspect_waits_for_a_node_without_messages():
    ledger = Ledger()
    ledger.add(5, 1)
    for node in ("a", "b"):
        ledger.join(node, 4, 100)
        if node == "b":
            assert lose(ledger, "a") == ([], [Send("b", 5)])
    ledger.add(6, 1)
    ledger.join("c", 4, 100)
    ledger.add(7, 1)  # on c
    assert lose(ledger, "b") == ([], [])
    assert ledger.done("c", 7) == (True, [Send("c", 5)])
    assert ledger.done("c", 5) == (True, [Send("c", 6)])


def test_what_is_there_cannot_come_again():
    ledger = filled()
    with pytest.raises(ValueError, match="message 0"):
        ledger.add(0, 1)
    with pytest.raises(ValueError, match="'n0'"):
        ledger.join("n0", 1, 1)
    assert (ledger.count, ledger.nodes) == (4, ["n0", "n1"])


@given(st.integers(0, 1 << 32), st.integers(1, 30))
def test_every_message_is_answered_once_or_blamed(seed, most):
    random = Random(seed)
    ledger, away, waiting, done, blamed, cost = Ledger(), {}, set(), set(), set(), {}
    added, names = 0, 0

    def take(sends):
        for node, number in sends:
            assert node in away and number not in done | blamed and number in waiting
            waiting.discard(number)
            away[node].append(number)
            assert len(away[node]) <= 3
            assert cost.get(number, 0) < 2 or len(away[node]) == 1

    while len(done) + len(blamed) < most:
        busy = [node for node in away if away[node]]
        steps = (
            ["join"] * (len(away) < 3) + ["done"] * 3 * bool(busy) + ["lose"] * bool(away) + ["add"] * (added < most)
        )
        step = random.choice(steps)
        if step == "join":
            names += 1
            away[f"n{names}"] = []
            take(ledger.join(f"n{names}", 3, 10))
        elif step == "add":
            waiting.add(added)
            added += 1
            take(ledger.add(added - 1, random.randrange(13)))
        elif step == "done":
            node = random.choice(busy)
            number = away[node].pop(random.randrange(len(away[node])))
            done.add(number)
            is_first, sends = ledger.done(node, number)
            assert is_first
            assert not ledger.done(node, number)[0]
            take(sends)
        else:
            node = random.choice(sorted(away))
            lost = away.pop(node)
            for number in lost:
                cost[number] = cost.get(number, 0) + 1
            found, sends = lose(ledger, node)
            assert found == sorted(number for number in lost if cost[number] == 3)
            blamed |= set(found)
            waiting |= set(lost) - blamed
            take(sends)
        assert ledger.count == added - len(done) - len(blamed)
        assert not (waiting and any(not numbers for numbers in away.values()))  # no node idles while messages wait
