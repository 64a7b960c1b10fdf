"""Messages that are published together: on all channels or on none, wherever their sender is killed."""

import pytest

from pardata.channel.joint import redeem_pledges
from pardata.channel.leases import TABLE_BYTES, LeaseTable
from pardata.channel.outbox import EdgeSenders, Outbox
from pardata.channel.receiver import Receiver
from pardata.channel.sender import Sender
from pardata.codec.batch_codec import Batch
from pardata.memory.arena import HEADER_BYTES, Arena
from tests.unit.channel.test_outbox import make_outbox as make_outbox_again  # noqa: F401
from tests.unit.runtime.chain import KillAtLine

MOST_LINES = 2000


@pytest.fixture
def make_outbox(make_outbox_again):  # noqa: F811
    """Make an outbox in place of the one before, of which nothing is left in the words."""

    def make(*farms):
        made = make_outbox_again(*farms)
        for sender in all_senders(made):
            sender._bytes[:] = bytes(len(sender._bytes))
            sender._done[:] = memoryview(bytes(8 * len(sender._done))).cast("q")
        return successor_of(made)

    return make


def successor_of(dead):
    """What the next process has in place of `dead`, before it has looked at its pledges."""
    header = dead.arena.span.words(dead.arena.segment)
    table = LeaseTable(dead.arena.span.words(dead.arena.segment, HEADER_BYTES, TABLE_BYTES // 8), header)
    arena = Arena(dead.arena.segment, dead.arena.span, 64 << 20, None, "worker")
    edges = [
        EdgeSenders(
            [Sender(sender.spec, sender.sock, arena.segment, table, sender.index, header) for sender in edge.senders]
        )
        for edge in dead.edges
    ]
    made = Outbox(arena, table, edges)
    made.receivers = dead.receivers
    return made


def all_senders(outbox):
    return [sender for edge in outbox.edges for sender in edge.senders]


def numbers_of(outbox):
    """Per edge, the numbers of the messages on it, as a successor of its readers finds them."""
    found = []
    for edge in outbox.receivers:
        fresh = [Receiver(end.spec, end.sock, outbox.arena.segment, 0) for end in edge]
        found.append(sorted(claim.number for end in fresh for claim in end.scan()))
    return found


def send(outbox, number):
    outbox.publish(Batch(0, number, 1, 0, ["x"]))


@pytest.mark.parametrize("farms", [(1, 1), (1, 2, 1), (3, 2)])
def test_killed_at_any_line_all_edges_get_the_batch_or_none(make_outbox, farms):
    fates = set()
    for line in range(1, MOST_LINES):
        dead = make_outbox(*farms)
        send(dead, 0)
        with KillAtLine(line) as tracer:
            send(dead, 1)
        if tracer.killed_at is None:
            break
        made = successor_of(dead)
        redeem_pledges(all_senders(made))
        is_published = made.has_published(0, 1)
        fates.add(is_published)
        assert numbers_of(made) == [[0, 1] if is_published else [0]] * len(farms), tracer.killed_at
        if not is_published:
            send(made, 1)
        send(made, 2)
        assert numbers_of(made) == [[0, 1, 2]] * len(farms), tracer.killed_at
    else:
        pytest.fail("a step is less than that")
    assert fates == {True, False}


@pytest.mark.parametrize("line", range(1, 200, 7))
def test_killed_again_while_it_redeems(make_outbox, line):
    """The first one dies at any line, its successor at any line of its recovery."""
    for again in range(1, MOST_LINES, 3):
        dead = make_outbox(1, 2, 1)
        send(dead, 0)
        with KillAtLine(line):
            send(dead, 1)
        made = successor_of(dead)
        with KillAtLine(again) as tracer:
            redeem_pledges(all_senders(made))
        made = successor_of(made)
        redeem_pledges(all_senders(made))
        assert numbers_of(made) == [[0, 1] if made.has_published(0, 1) else [0]] * 3
        if tracer.killed_at is None:
            return
    pytest.fail("a recovery is less than that")


def test_pledge_of_a_batch_that_was_not_published_is_not_redeemed_by_the_next_one(make_outbox):
    """The successor sends to another worker of the farm, by the same message of the leader."""
    dead = make_outbox(1, 2)
    leader, busy, other = all_senders(dead)
    batch = Batch(0, 0, 1, 0, ["x"])
    ((_, part, packed),) = dead.pack(batch)
    for sender in (leader, busy):
        sender.prepare(part, *packed, True)
    busy.pledge(leader)
    made = successor_of(dead)
    redeem_pledges(all_senders(made))
    leader, busy, other = all_senders(made)
    for sender in (leader, other):
        sender.prepare(part, *packed, True)
    other.pledge(leader)
    leader.complete()
    made = successor_of(made)
    redeem_pledges(all_senders(made))
    assert [sender.slots.last() for sender in all_senders(made)] == [(0, 0, 1, 0), None, (0, 0, 1, 0)]
