"""The table of what a process has given out survives the process."""

import pytest

from pardata.channel.channel import WORDS_PER_MESSAGE
from pardata.channel.lease_report import ReportReader, encode_report
from pardata.channel.leases import OWN, ROW_WORDS, TABLE_BYTES, Lease, LeaseTable
from pardata.memory.arena import HEADER_BYTES, Span


@pytest.fixture
def words(segment):
    return Span(1 << 30, 1 << 30).words(segment, HEADER_BYTES, TABLE_BYTES // 8)


@pytest.fixture
def header(segment):
    return Span(1 << 30, 1 << 30).words(segment)


@pytest.fixture
def table(words, header):
    return LeaseTable(words, header)


FROM_HERE = Lease(OWN, 0, 0)


def give(table, arena, channel=0, message=1, origin=FROM_HERE):
    block = arena.reserve(1)
    return block, table.give(block, channel, message, origin)


def live_blocks(arena):
    return arena.statistics()["live_bytes"] // 4096


def test_lease_keeps_its_block_until_it_is_released(table, arena):
    block, lease = give(table, arena)
    assert block.live_rows == 1
    del block
    assert live_blocks(arena) == 1
    table.release(lease.row, lease.stamp)
    assert live_blocks(arena) == 0
    assert len(table) == 0


def test_block_with_two_leases_is_kept_by_the_second(table, arena):
    block, first = give(table, arena)
    second = table.give(block, 1, 1, FROM_HERE)
    assert block.live_rows == 2
    del block
    table.release(first.row, first.stamp)
    assert live_blocks(arena) == 1
    table.release(second.row, second.stamp)
    assert live_blocks(arena) == 0


def test_releasing_twice_ends_nothing_else(table, arena):
    _, first = give(table, arena)
    table.release(first.row, first.stamp)
    _, second = give(table, arena)
    assert second.row == first.row
    table.release(first.row, first.stamp)
    assert len(table) == 1
    table.release(second.row, second.stamp)
    assert len(table) == 0


def test_successor_reads_what_is_still_out(table, words, arena, header):
    leases = [give(table, arena, channel, 10 + channel, Lease(2, 3, 4))[1] for channel in range(4)]
    table.release(leases[1].row, leases[1].stamp)
    rows = list(LeaseTable(words, header).rows())
    assert [(row.row, row.stamp, row.channel, row.message) for row in rows] == [
        (lease.row, lease.stamp, channel, 10 + channel) for channel, lease in enumerate(leases) if channel != 1
    ]
    assert {row.origin for row in rows} == {Lease(2, 3, 4)}
    assert all(row.extent_bytes == 4096 for row in rows)


def test_successor_never_gives_a_stamp_again(table, words, arena, header):
    leases = [give(table, arena)[1] for _ in range(5)]
    table.release(leases[4].row, leases[4].stamp)
    successor = LeaseTable(words, header)
    anchors = {row.row: arena.adopt(row.offset, row.extent_bytes) for row in successor.rows() if row.row < 2}
    successor.restore(anchors)
    assert len(successor) == 2
    given = [give(successor, arena)[1] for _ in range(6)]
    assert not {lease.stamp for lease in given} & {lease.stamp for lease in leases}
    assert not {lease.row for lease in given} & set(anchors)
    for lease in leases[2:]:
        successor.release(lease.row, lease.stamp)  # of the dead: they end nothing
    assert len(successor) == 8


@pytest.mark.parametrize("written", range(1, ROW_WORDS))
def test_row_that_its_owner_did_not_finish_writing_counts_for_nothing(words, written, table, arena, header):
    give(table, arena)
    torn = ROW_WORDS
    for index in range(1, 1 + written):
        words[torn + index] = 7  # of the second row; its stamp would have come last
    successor = LeaseTable(words, header)
    rows = {row.row: arena.adopt(row.offset, row.extent_bytes) for row in successor.rows()}
    assert list(rows) == [0]
    successor.restore(rows)
    assert [give(successor, arena)[1].row for _ in range(2)] == [1, 2]


def test_leases_of_a_channel_are_told_with_their_messages(table, arena):
    given = [give(table, arena, channel=number % 2, message=number)[1] for number in range(6)]
    table.release(given[2].row, given[2].stamp)
    assert table.on_channel(0) == [(given[n].row, given[n].stamp, n) for n in (0, 4)]


def test_room_counts_what_is_out(table, arena):
    room = table.room
    _, lease = give(table, arena)
    assert table.room == room - 1
    table.release(lease.row, lease.stamp)
    assert table.room == room


def test_a_report_is_read_behind_the_parts_of_one_that_was_not_finished():
    reader = ReportReader()
    held = list(range(WORDS_PER_MESSAGE + 5))
    last = encode_report([7, *held], 3, [2])[:1]  # its receiver dies between the parts
    found = [reader.take(memoryview(data).cast("q")) for data in [*last, *encode_report(held[1:], 4, [])]]
    assert found[:-1] == [None] * (len(found) - 1)
    assert (found[-1].newest, found[-1].held) == (4, set(held[1:]))
