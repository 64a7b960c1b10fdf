"""An island takes messages in while another run is opened for one that was overtaken."""

import threading
from typing import ClassVar

import pytest

from pardata.cluster import island, wire
from pardata.cluster.messages import Broken, Message
from pardata.cluster.suspects import BlamedItem


class FakeLine:
    """A run that takes messages by number. The second one is opened when the test says so."""

    made: ClassVar = []
    may_open = threading.Event()
    error = None

    def __init__(self, frames, memory_limit, on_answer, blamed=""):
        self.on_answer, self.blamed = on_answer, blamed
        if self.made:
            assert self.may_open.wait(60)
            if self.error is not None:
                raise self.error
        self.last, self.is_in_order, self.taken, self.ends = -1, True, [], []
        self.made.append(self)

    def take(self, number, frames):
        assert "end" not in self.ends
        self.last = max(self.last, number)
        self.taken.append(number)

    def end(self):
        self.ends.append("end")

    def abort(self):
        self.ends.append("abort")


@pytest.fixture
def opened(monkeypatch):
    """An island that has begun to open a second run for message 3, and the answers that it has given."""
    monkeypatch.setattr(island, "Line", FakeLine)
    monkeypatch.setattr(FakeLine, "made", [])
    monkeypatch.setattr(FakeLine, "may_open", threading.Event())
    answers = {}
    made = island.OpenIsland([], None, answers.__setitem__)
    for number in (5, 3, 8):
        made.take(number, [])
    (opener,) = [thread for thread in threading.enumerate() if thread.name == "pardata-island-open"]

    def go_on():
        FakeLine.may_open.set()
        opener.join(60)

    return made, answers, go_on


def test_messages_wait_for_the_run_that_is_opened(opened):
    made, _, go_on = opened
    first = FakeLine.made[0]
    assert (first.taken, len(FakeLine.made)) == ([5], 1)
    go_on()
    made.take(9, [])
    assert ([line.taken for line in FakeLine.made], first.ends) == ([[5], [3, 8, 9]], ["end"])


def test_a_run_that_is_opened_when_the_island_is_closed_ends(opened):
    made, _, go_on = opened
    made.close()
    go_on()
    assert [line.ends for line in FakeLine.made] == [["end", "abort"], ["abort"]]


def test_a_blamed_item_gets_a_run_of_its_own(monkeypatch):
    monkeypatch.setattr(island, "Line", FakeLine)
    monkeypatch.setattr(FakeLine, "made", [])
    monkeypatch.setattr(FakeLine, "may_open", threading.Event())
    FakeLine.may_open.set()
    answers = {}
    made = island.OpenIsland([], None, answers.__setitem__)
    made.take(-9, wire.encode(BlamedItem(Message(7, 1, None, ["x"]), "it costs nodes")))
    for thread in [thread for thread in threading.enumerate() if thread.name == "pardata-island-open"]:
        thread.join(60)
    first, second = FakeLine.made
    assert (second.blamed, second.taken, second.ends, first.taken) == ("it costs nodes", [7], ["end"], [])
    second.on_answer(7, [b"made"])
    made.take(8, [])
    assert (answers, first.taken) == ({-9: [b"made"]}, [8])


def test_a_run_that_cannot_be_opened_is_told(opened, monkeypatch):
    _, answers, go_on = opened
    monkeypatch.setattr(FakeLine, "error", MemoryError("none is left"))
    go_on()
    assert sorted(answers) == [3, 8] and all(type(wire.decode(told)) is Broken for told in answers.values())
