"""Several threads take the items of one run: what its workers are told of them, who may have to wait for memory."""

import os
import queue
import threading

import numpy as np
import pytest

import pardata
from pardata.memory.shared_heap import shared_heap
from pardata.runtime.header import CONSUMER_BUSY, THREAD


class Taker(threading.Thread):
    """Takes an item whenever it is asked to (True); ends (False)."""

    def __init__(self, items):
        super().__init__()
        self._items = items
        self.asked, self.taken = queue.SimpleQueue(), queue.SimpleQueue()
        self.start()

    def run(self):
        while self.asked.get():
            self.taken.put(next(self._items))

    def take(self):
        self.asked.put(True)
        return self.taken.get()


@pytest.mark.parametrize("comes_back", [True, False])
def test_another_thread_is_away_until_it_comes_back_or_ends(tmp_path, comes_back):
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)

    def wait(x):
        if x == 1:
            open(fifo).close()
        return x

    looks = queue.SimpleQueue()
    with pardata.source(range(3)).map(wait, chunksize=1).iterate() as items:
        words, look = items._loop._port.words, items._loop._stall.look

        def look_and_tell():
            looks.put((words[CONSUMER_BUSY], words[THREAD]))
            return look()

        assert words[CONSUMER_BUSY]  # nobody has come for the first item
        first, second = takers = Taker(items), Taker(items)
        try:
            assert first.take() == 0
            items._loop._stall.look = look_and_tell
            second.asked.put(True)
            assert looks.get() == (1, second.native_id)
            first.asked.put(comes_back)
            while looks.get()[0]:
                pass
        finally:
            open(fifo, "w").close()
            for taker in takers:
                taker.asked.put(False)
                taker.join()
        assert words[CONSUMER_BUSY]
        assert second.taken.get() == 1


def tagged_arrays():
    for number in range(20):
        yield "tag", np.full(5_000, float(number))


@pytest.mark.parametrize(
    "passed_on",
    [
        lambda stream: stream.map(lambda item: item, kind="thread"),
        lambda stream: stream.batch(2).unbatch(),
        lambda stream: pardata.concat(stream, pardata.source([1])),
    ],
    ids=["thread", "batch", "concat"],
)
def test_what_threads_have_passed_on_to_a_list_is_given_back_at_once_when_the_list_goes(passed_on):
    spans = shared_heap().spans_in_use
    found = []
    passed_on(pardata.source(tagged_arrays)).to(found).run()
    assert shared_heap().spans_in_use > spans  # as long as the list has the arrays
    del found[:]  # the garbage collector is not needed
    assert shared_heap().spans_in_use == spans


def test_arrays_that_threads_have_passed_on_outlive_the_runs_after_theirs():
    """Two threads of this process lend one block here: the source, and `unbatch`, which has it back from a worker."""
    other = pardata.source(iter([np.ones(10_000)] * 3)).map(np.sqrt).iterate()
    next(other)
    rows = ([np.full(5000, number)] for number in range(20))
    kept = list(pardata.source(rows).map(list).unbatch())
    other.close()
    assert [int(array[0]) for array in kept] == list(range(20))
