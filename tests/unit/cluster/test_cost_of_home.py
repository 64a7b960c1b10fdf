"""What home costs at many nodes: the ledger under a virtual clock.

A node works on one message at a time, and has more of them as far as its credits go. Home is one process: while it
sends a message, or takes an answer in, other answers wait.
"""

import heapq

import pytest

from pardata.cluster.ledger import Ledger

MESSAGE_S = 0.1
LATENCY_S = 1e-3  # one way
CREDITS = 4  # of a stage with one worker on each node: `cluster.run._credits`
HOME_S = 440e-6  # of home's CPU for a message, there and back: the most that was measured (docs/cluster.md)
FOR_512_S = 250e-6  # the most that home may take at 512 nodes: that was not reached


def part_at_work(nodes, home_s, rounds=12):
    """The part of their time that nodes work, if home needs so long for each message, there and back."""
    ledger, free_s = Ledger(), {f"n{index}": 0.0 for index in range(nodes)}
    answers, number, done, now_s, begin_s = [], 0, 0, 0.0, 0.0
    for node in free_s:
        ledger.join(node, CREDITS, 1 << 40)

    def begin(sends):
        for node, message in sends:
            free_s[node] = max(free_s[node], now_s + LATENCY_S) + MESSAGE_S
            heapq.heappush(answers, (free_s[node] + LATENCY_S, node, message))

    while done < nodes * rounds:
        if ledger.has_room:
            now_s += home_s / 2
            begin(ledger.add(number, 1))
            number += 1
            continue
        came_s, node, message = heapq.heappop(answers)
        now_s = max(now_s, came_s) + home_s / 2
        done += 1
        begin(ledger.done(node, message)[1])
        if done == nodes * rounds // 2:
            begin_s = now_s
    return (done - nodes * rounds // 2) * MESSAGE_S / (nodes * (now_s - begin_s))


@pytest.mark.parametrize(
    ("nodes", "home_s", "least"),
    [(8, HOME_S, 0.95), (64, HOME_S, 0.9), (200, HOME_S, 0.9), (512, HOME_S, 0.4), (512, FOR_512_S, 0.75)],
)
def test_nodes_work_most_of_their_time(nodes, home_s, least):
    assert part_at_work(nodes, home_s) >= least


@pytest.mark.parametrize(("nodes", "home_s"), [(8, 2e-3), (64, 1e-3), (64, 2e-3), (256, 2e-3)])
def test_beyond_that_they_share_what_home_can_send(nodes, home_s):
    limit = min(1.0, MESSAGE_S / (nodes * home_s))
    assert 0.97 * limit <= part_at_work(nodes, home_s) <= 1.01 * limit
