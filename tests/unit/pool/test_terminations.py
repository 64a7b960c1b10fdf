import itertools
from types import SimpleNamespace

from pardata.pool.processes.assignments import WorkerSlot
from pardata.pool.processes.terminations import Terminations
from pardata.pool.worker.words import POSITION, STARTED_NS, TaskProgress
from pardata.runtime.header import CURRENT_CALL, batch_word

LATE_NS = 1  # when the call began, in ns; the limit has long been passed


class Words(dict):
    """The words of a worker that makes its next call, store by store, while its parent reads one of them."""

    def __init__(self, reads, stores):
        super().__init__({CURRENT_CALL: batch_word(0, 7), POSITION: 4, STARTED_NS: LATE_NS})
        self.left, self.stores = reads, stores

    def __getitem__(self, key):
        if self.left == 0:
            self.left = -1
            stored = {}
            TaskProgress(stored, None).begin(5, 1)
            self.update(itertools.islice(stored.items(), self.stores))
        self.left -= 1
        return super().__getitem__(key)


def test_a_call_that_has_just_begun_is_not_ended_for_the_late_one_before_it():
    for reads, stores in itertools.product(range(5), range(1, 4)):
        worker = SimpleNamespace(words=Words(reads, stores), process=None)
        slot = WorkerSlot(0, worker, None)
        slot.numbers.append(7)
        terminations = Terminations([slot], None, 1.0)
        terminations.enforce()
        assert [cause.position for cause in terminations.causes.values()] in ([], [4]), (reads, stores)
