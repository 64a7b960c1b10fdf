"""Whatever a worker tells arrives, shortened if it is too long for one message of its control socket."""

import socket
from typing import get_args

import pytest

from pardata.channel.channel import RunGone, socket_pair
from pardata.errors import RemoteError
from pardata.runtime.bars import BarState
from pardata.runtime.events import (
    MOST_EVENT_BYTES,
    AnyEvent,
    BarChanged,
    Closed,
    CutPassed,
    Departing,
    Done,
    Failed,
    Hurried,
    ItemSkipped,
    Logged,
    Marked,
    Said,
    Warned,
    receive_event,
    send_event,
)
from pardata.runtime.faults import Fault

LONG = "\N{GRINNING FACE}" * 300_000  # four bytes each
HUGE_TYPE = type("E" * 100_000, (ValueError,), {})


class Wordy(Exception):
    """An error of which everything is long: its text, its traceback and its pickle."""

    def __str__(self):
        return LONG


def fault(error):
    try:
        raise error
    except Exception as caught:
        return Fault.of(caught, "s" * 100_000, 7, LONG)


def sent(event, most_bytes=None):
    """Send an event over a socket, of a size if one is given; return what arrives."""
    ours, theirs = socket_pair()
    with ours, theirs:
        if most_bytes is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, most_bytes)
        send_event(ours, event)
        assert len(theirs.recv(1 << 20, socket.MSG_PEEK)) <= MOST_EVENT_BYTES
        return receive_event(theirs)


def test_what_fits_arrives_as_it_is():
    told = fault(ValueError("bad"))
    events = [
        Closed(),
        Done(),
        Departing(),
        Hurried(),
        Said("f 0", "stdout", "a" * 16_000),
        Marked(),
        CutPassed(1, 2, 3),
    ]
    events += [
        Failed(told),
        ItemSkipped(told, 2, True),
        Logged("f 0", {"msg": "text", "n": 10**100}, True, False),
        Warned("f 0", "text", "UserWarning", "f.py", 3),
        BarChanged("f 0", 3, BarState("text", 5, 10.0, "it")),
        BarChanged("f 0", 3, None),
    ]
    assert {type(event) for event in events} == set(get_args(AnyEvent))
    for event in events:
        assert sent(event) == event


@pytest.mark.parametrize("most_bytes", [None, 4608])
def test_a_record_that_is_too_long_arrives_shortened(most_bytes):
    record = {"msg": LONG, "levelno": 20, "dump": LONG, "n": 10**1_000_000, "none": None}
    event = sent(Logged("f 0", record, True, False), most_bytes)
    arrived = event.record
    assert (type(event), arrived["levelno"], arrived["none"], list(arrived)) == (Logged, 20, None, list(record))
    assert arrived["msg"].startswith(LONG[:8])
    assert arrived["msg"].endswith("(300000 characters)")
    assert "bits" in arrived["n"]


def test_so_do_texts_that_are_printed_and_bars():
    assert sent(Said("f 0", "stderr", LONG)).text.startswith(LONG[:1000])
    bar = sent(BarChanged("f 0", 3, BarState(LONG, 5, 10.0, "it"))).state
    assert (bar.n, bar.total, bar.unit) == (5, 10.0, "it")


@pytest.mark.parametrize("most_bytes", [None, 20_000, 4608])
def test_an_error_of_which_all_is_long_arrives(most_bytes):
    event = sent(Failed(fault(Wordy("x" * 50_000))), most_bytes)
    arrived = event.fault
    assert (type(event), arrived.number) == (Failed, 7)
    error = arrived.exception()
    assert LONG[:100] in str(error)
    assert isinstance(error, Wordy)
    assert arrived.trace.endswith(LONG[:1] + "\n")  # of the traceback the end counts
    assert sent(ItemSkipped(fault(HUGE_TYPE()), 0, True), most_bytes).fault.number == 7


@pytest.mark.parametrize("kind", [Failed, lambda told: ItemSkipped(told, 0, True)])
def test_an_error_of_any_size_keeps_its_type(kind):
    event = sent(kind(fault(ValueError("x" * 5_000_000))), 4608)
    assert event.fault.exception().args == ("x" * 5_000_000,)


def test_without_a_memory_file_a_large_error_is_told_by_its_text(monkeypatch):
    def refuse(name):
        raise OSError(24, "too many open files")

    monkeypatch.setattr("os.memfd_create", refuse)
    error = sent(Failed(fault(ValueError("x" * 5_000_000)))).fault.exception()
    assert type(error) is RemoteError and str(error).startswith("ValueError: xxx")


def test_nobody_listens():
    ours, theirs = socket_pair()
    theirs.close()
    with ours, pytest.raises(RunGone):
        send_event(ours, Said("f 0", "stdout", LONG))
