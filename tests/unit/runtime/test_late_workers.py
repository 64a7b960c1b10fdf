import time
from types import SimpleNamespace

import pytest

from pardata.process.lifecycle import Event
from pardata.runtime.header import BEGUN_NS, CURRENT_CALL, batch_of_word, batch_word
from pardata.runtime.supervisor import Limits, Supervisor, Worker

LONG_NS = 10_000_000_000


class Words(list):
    """The header of a worker that is late with item 4, and begins the next one when its parent has read some words."""

    def __init__(self, reads):
        super().__init__([0] * 512)
        self.left = -1  # it stays at its item
        self[CURRENT_CALL], self[BEGUN_NS] = batch_word(0, 4), time.monotonic_ns() - LONG_NS
        self.left = reads

    def __getitem__(self, word):
        if self.left == 0:  # in the order of `WorkNotes.attempt`
            self[BEGUN_NS], self[CURRENT_CALL] = time.monotonic_ns(), batch_word(0, 5)
        self.left -= 1
        return super().__getitem__(word)


@pytest.mark.parametrize("reads", range(6))
def test_a_worker_that_has_just_begun_an_item_is_not_killed_for_it(reads):
    words, killed = Words(reads), []
    worker = Worker("a", (0, 0), words, None, [], redoable=True)
    worker.process = SimpleNamespace(signal=killed.append, ended=False)
    worker.shortest_s, worker.limits_of = 1.0, lambda batch: Limits(1.0, 0)
    worker.life.on(Event.STARTED)
    supervisor = Supervisor(None, None, None, None)
    supervisor._timed.append(worker)
    supervisor.enforce()
    assert bool(killed) == (worker.late is not None)
    assert worker.late is None or batch_of_word(worker.late) == (0, 4)
