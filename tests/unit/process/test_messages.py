"""What the main process and the fork server tell each other arrives as it was, or is known to have been cut."""

import contextlib
import os
import resource
import socket

import pytest

from pardata.process.messages import (
    FDS_PER_PACKET,
    Ended,
    Signal,
    Start,
    StartAnswer,
    close_all,
    decode,
    encode,
    receive,
    send,
)


@pytest.fixture
def pair():
    with contextlib.ExitStack() as stack:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        yield tuple(stack.enter_context(end) for end in ends)


@pytest.mark.parametrize("request_", [Start(7, 1 << 44, 1 << 20, 900), Signal(4194304, 15)])
def test_a_request_is_read_as_it_was_written(request_):
    assert decode(encode(request_)) == request_


def test_an_answer_and_an_end_are_read_as_they_were_written():
    assert StartAnswer.decode(StartAnswer(9, 11, 4194304).encode()) == StartAnswer(9, 11, 4194304)
    assert Ended.decode(Ended(-9, 1 << 40).encode()) == Ended(-9, 1 << 40)
    assert Ended.decode(b"") is None


@pytest.mark.parametrize("count", [0, 1, FDS_PER_PACKET, FDS_PER_PACKET + 1, 2 * FDS_PER_PACKET])
def test_descriptors_go_in_as_many_packets_as_they_need(pair, count):
    ours, theirs = pair
    mark, other = os.pipe()
    os.close(other)
    request = Start(1, 0, 0, count)
    send(ours, encode(request), [mark] * count)
    received = []
    while len(received) < count or not received:
        data, fds, is_whole = receive(theirs)
        assert decode(data) == request and is_whole
        received += fds
        if not count:
            break
    assert {os.fstat(fd).st_ino for fd in received} <= {os.fstat(mark).st_ino}
    close_all([mark, *received])


def test_descriptors_that_the_process_may_not_open_are_noticed(pair):
    ours, theirs = pair
    mark, other = os.pipe()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        send(ours, encode(Start(1, 0, 0, 100)), [mark] * 100)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(mark, other) + 20, limits[1]))
        _, fds, is_whole = receive(theirs)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    close_all([mark, other, *fds])
    assert not is_whole and len(fds) < 100
