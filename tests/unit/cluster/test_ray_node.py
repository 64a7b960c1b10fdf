"""The actor of an island on Ray, without Ray: calls that overtake each other, and answers that are fetched together."""

import threading

import numpy as np
import pytest

import pardata
from pardata.cluster import opening, ray_node
from pardata.cluster.opening import versions
from pardata.cluster.ray_node import BUNDLE_BYTES, RayIsland, carried, received


class FakeIsland:
    """Answers each message with itself, at once."""

    def __init__(self, frames, memory_limit, on_answer):
        self.on_answer, self.taken = on_answer, []

    def take(self, number, frames):
        self.taken.append(number)
        self.on_answer(number, frames)

    def close(self):
        self.taken.append("closed")


@pytest.fixture
def actor(monkeypatch):
    monkeypatch.setattr(opening, "island_of", FakeIsland)
    made = RayIsland()
    made.open(versions(), 1 << 20, [])
    yield made
    made.close()


def test_what_a_call_carries_arrives_and_may_be_written_to():
    array = np.arange(100_000, dtype=np.uint8)
    array.setflags(write=False)  # as Ray's are
    bundle = received(carried([(3, [b"head", array, b"tail"]), (4, [b"small"])]))
    assert [(number, [bytes(part) for part in frames]) for number, frames in bundle] == [
        (3, [b"head", array.tobytes(), b"tail"]),
        (4, [b"small"]),
    ]
    bundle[0][1][1][0] = 7
    assert type(carried([(4, [b"small"])])) is bytes


def test_calls_that_overtake_each_other_are_taken_in_their_order(actor):
    actor.take(1, carried([(12, [b""])]))
    assert actor._island.taken == []
    actor.take(0, carried([(10, [b""]), (11, [b""])]))
    assert actor._island.taken == [10, 11, 12]


def test_answers_are_fetched_together_but_for_large_ones(actor):
    large = np.zeros(BUNDLE_BYTES, np.uint8)
    actor.take(0, carried([(0, [b"a"]), (1, [b"b"]), (2, [b"c", large]), (3, [b"d"])]))
    assert [[number for number, _ in received(actor.answers())] for _ in range(2)] == [[0, 1, 2], [3]]


def test_answers_wait_for_the_first(actor):
    found = []
    waiting = threading.Thread(target=lambda: found.extend(received(actor.answers())))
    waiting.start()
    actor.take(0, carried([(5, [b"x"])]))
    waiting.join(60)
    assert found == [(5, [b"x"])]


def test_another_version_at_home_is_told(actor):
    with pytest.raises(pardata.ConfigError, match="different versions: NumPy .* and 0.1"):
        RayIsland().open(versions() | {"NumPy": "0.1"}, 1 << 20, [])


def test_a_limit_of_threads_that_was_set_meanwhile_is_the_engine_s(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(ray_node, "ENVIRONMENT", "/dev/null")
    assert ray_node._set_here() == {"OMP_NUM_THREADS": "1"}
