"""A sender rings for a receiver that sleeps, once for each of its sleeps."""

import contextlib
import signal
from array import array

import pytest

from pardata.channel.sleep import Sleep, Waker
from tests.faults.interrupting import interrupt_at, lines_of
from tests.unit.channel.rig import Rig, numbers


@pytest.fixture
def word():
    return memoryview(array("q", [0]))


def test_only_a_sleeper_is_rung_for_and_once_in_each_sleep(word):
    sleep, waker = Sleep(word), Waker(word)
    assert not waker.is_needed()
    for _ in range(3):
        sleep.begin()
        assert [waker.is_needed(), waker.is_needed()] == [True, False]
        sleep.end()
        assert not waker.is_needed()


@pytest.mark.parametrize("is_asleep", [True, False])
def test_a_successor_that_sleeps_is_rung_for_whatever_its_predecessor_was_rung_for(word, is_asleep):
    sleep, waker = Sleep(word), Waker(word)
    sleep.begin()
    assert waker.is_needed()
    if not is_asleep:
        sleep.end()
    Sleep(word).begin()
    assert waker.is_needed()


def test_the_successor_of_a_sender_rings_once_more(word):
    Sleep(word).begin()
    assert Waker(word).is_needed() and Waker(word).is_needed()


def test_a_sleep_that_was_not_ended_is_followed_by_another_one(word):
    sleep, waker = Sleep(word), Waker(word)
    sleep.begin()  # as Ctrl-C in the wait leaves it
    assert waker.is_needed()
    sleep.begin()
    assert waker.is_needed()


def test_a_handler_of_a_signal_may_raise_at_each_step_or_come_to_the_same_steps(word):
    sleep = Sleep(word)
    before = signal.signal(signal.SIGUSR1, lambda *_: sleep.begin())
    try:
        lines = lines_of(sleep.begin)[1]
        for line in lines:
            with pytest.raises(KeyboardInterrupt):
                interrupt_at(line, sleep.begin)
            sleep.begin()
            interrupt_at(line, sleep.begin, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert word[0] > 3 * len(lines)


def test_what_comes_behind_the_doorbell_of_a_sleep_is_found_with_it():
    rig = Rig(4, elides_wakeups=True)
    with contextlib.closing(rig):
        sleep = Sleep(rig.receiver.asleep)
        sleep.begin()
        rig.send(0, 1, 2, size=1)
        sleep.end()
        claims = rig.receiver.receive()
        assert numbers(claims) == [0, 1, 2]
        with pytest.raises(BlockingIOError):
            rig.receiver.sock.recv(8)
        rig.finish(claims)
