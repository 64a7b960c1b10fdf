"""The actor of an island on Ray, without Ray: calls that overtake each other, and answers that are fetched together."""

import itertools
import threading

import numpy as np
import pytest

import pardata
from pardata.cluster import opening, ray_node
from pardata.cluster.bundle import BUNDLE_BYTES
from pardata.cluster.opening import versions
from pardata.cluster.ray_node import CARRIED_BYTES, RayIsland, carried, received


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


def in_a_thread(actor, call, given):
    """Make a call; return its thread, and the list that gets the numbers of the answers that it takes home."""
    found = []
    waiting = threading.Thread(target=lambda: found.append(answers_of(actor, call, given)))
    waiting.start()
    return waiting, found


def answers_of(actor, call, given):
    return [number for number, _ in received(actor.exchange(call, carried(given)))]


def test_calls_that_overtake_each_other_are_taken_in_their_order(actor):
    waiting, found = in_a_thread(actor, 1, [(12, [b""])])
    assert set(answers_of(actor, 0, [(10, [b""]), (11, [b""])])) >= {10, 11}
    for call in (2, 3):
        answers_of(actor, call, [(11 + call, [b""])])
    waiting.join(60)
    assert actor._island.taken == [10, 11, 12, 13, 14] and len(found) == 1


def test_answers_go_together_as_far_as_that_costs_ray_no_more(actor):
    large, half = np.zeros(BUNDLE_BYTES, np.uint8), bytes(CARRIED_BYTES // 2)
    given = [(0, [b"a"]), (1, [b"b"]), (2, [b"c", large]), (3, [half]), (4, [half]), (5, [b"d"])]
    found = [answers_of(actor, 0, given), *(answers_of(actor, call, []) for call in (1, 2, 3))]
    assert found == [[0, 1], [2], [3, 4], [5]]
    stored = np.zeros(CARRIED_BYTES + 1, np.uint8)
    assert answers_of(actor, 4, [(6, [stored]), (7, [stored])]) == [6, 7]  # in the object store, whatever is added


def test_two_calls_wait_for_answers_and_no_more(actor):
    calls = [in_a_thread(actor, call, []) for call in range(3)]
    calls[0][0].join(60)
    assert [found for _, found in calls] == [[[]], [], []]
    numbers, given = itertools.count(5), []
    for waiting, _ in calls[1:]:
        while waiting.is_alive():
            given.append(next(numbers))
            actor._island.on_answer(given[-1], [b"x"])
            waiting.join(0.01)
    told = [number for _, found in calls for numbers in found for number in numbers]
    assert sorted([*told, *(number for number, _ in actor._answers.waiting)]) == given


def test_another_version_at_home_is_told(actor):
    with pytest.raises(pardata.ConfigError, match="different versions: NumPy .* and 0.1"):
        RayIsland().open(versions() | {"NumPy": "0.1"}, 1 << 20, [])


def test_a_limit_of_threads_that_was_set_meanwhile_is_the_engine_s(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(ray_node, "ENVIRONMENT", "/dev/null")
    assert ray_node._set_here() == {"OMP_NUM_THREADS": "1"}
