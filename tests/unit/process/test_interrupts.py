"""What `Uninterrupted` does with the signals of a block."""

import signal

import pytest

from pardata.errors import ConfigError
from pardata.process.interrupts import _DELAYED, Latch, Uninterrupted
from pardata.runtime.wiring import encode_program


class Came(Exception):
    """What the handlers of this test raise."""


@pytest.fixture
def came():
    """Numbers of signals whose handlers were called; each raises."""
    numbers = []

    def handle(number, frame):
        numbers.append(number)
        raise Came(number)

    before = {number: signal.signal(number, handle) for number in _DELAYED}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def test_every_handler_that_raises_is_called_behind_the_block_and_is_back(came):
    handlers = list(map(signal.getsignal, _DELAYED))
    done = []
    with pytest.raises(Came), Uninterrupted():
        for number in [*_DELAYED, *_DELAYED]:
            signal.raise_signal(number)
            done.append(number)
    assert done == [*_DELAYED, *_DELAYED] and sorted(came) == sorted(_DELAYED)
    assert list(map(signal.getsignal, _DELAYED)) == handlers


class Signals:
    """What sends a signal when it is pickled."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        signal.raise_signal(self.number)
        raise TypeError("no handler was called")


def test_what_a_handler_raises_while_a_program_is_encoded_comes_out(came):
    with pytest.raises(Came):
        encode_program(Signals(signal.SIGALRM), "it", abs, None)
    signal.signal(signal.SIGALRM, lambda number, frame: came.append(-number))
    with pytest.raises(ConfigError, match="no handler was called"):
        encode_program(Signals(signal.SIGALRM), "it", abs, None)
    assert came == [signal.SIGALRM, -signal.SIGALRM]


@pytest.mark.parametrize("when", range(2 * len(_DELAYED)))
def test_a_handler_that_raises_as_others_are_replaced_or_put_back_leaves_all_of_them(came, monkeypatch, when):
    handlers = list(map(signal.getsignal, _DELAYED))
    real, calls = signal.signal, []

    def set_handler(number, handler):
        calls.append(number)
        if len(calls) == when + 1:
            signal.raise_signal(signal.SIGALRM)
        return real(number, handler)

    monkeypatch.setattr("pardata.process.interrupts._set", set_handler)
    with pytest.raises(Came), Uninterrupted():
        pass
    assert came == [signal.SIGALRM]
    assert list(map(signal.getsignal, _DELAYED)) == handlers


def test_a_latch_is_open_while_a_thread_passes():
    latch = Latch()
    assert not latch.is_open
    latch.open()
    latch._gate.acquire()  # as a thread that waited does for a moment
    assert latch.is_open
    latch.wait()
