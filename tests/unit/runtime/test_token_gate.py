"""A source asks for the sizes of all workers once for several batches, and at once when they may have changed."""

from types import SimpleNamespace

import pytest

from pardata.memory.budget import LARGEST
from pardata.runtime.worker.token_gate import TokenGate


class Surroundings:
    """Tokens and a budget that count how often they are asked; `room`: batches that the budget has room for."""

    def __init__(self, room=1000):
        self.has_free, self.in_flight, self.room_left, self.asked, self.waits = True, 0, room, 0, 0
        self.spec = SimpleNamespace(window=SimpleNamespace(fewest=4))
        self.limit_bytes = 1 << 30
        self.words = [0] * 64
        self.gate = TokenGate(self, self.words, self, self, False, False)

    def room(self, largest_bytes):
        return 64 - self.in_flight

    def take(self, number):
        self.in_flight += 1
        return number

    def largest_bytes(self):
        self.asked += 1
        return 0

    def may_widen(self):
        return True

    def has_room_on_its_way(self, in_flight, more=1):
        return in_flight + more <= self.room_left

    def wait(self, waits_for, ready):
        self.waits += 1
        self.room_left = 1000
        assert ready()


def test_sixteen_batches_set_out_before_the_words_are_added_up_again():
    around = Surroundings()
    for number in range(32):
        around.gate.take(number)
    assert (around.asked, around.waits) == (2, 0)


def test_behind_a_larger_batch_of_its_own_a_source_asks_at_once():
    around = Surroundings()
    around.gate.take(0)
    around.words[LARGEST] = 80_000_000
    around.gate.take(1)
    assert around.asked == 2


@pytest.mark.parametrize("room", [1, 3, 15])
def test_where_there_is_no_room_for_so_many_each_is_asked_for(room):
    around = Surroundings(room)
    for number in range(room):
        around.gate.take(number)
    assert (around.asked, around.waits) == (room, 0)
    around.gate.take(room)
    assert around.waits == 1
