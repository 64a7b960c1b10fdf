"""Several threads take the items of one run: what its workers are told of them, who may have to wait for memory."""

import os
import queue
import threading

import pytest

import pardata
from pardata.runtime.words import AWAY, THREAD


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
        words, look = items._port.words, items._stall.look

        def look_and_tell():
            looks.put((words[AWAY], words[THREAD]))
            return look()

        assert words[AWAY]  # nobody has come for the first item
        first, second = takers = Taker(items), Taker(items)
        try:
            assert first.take() == 0
            items._stall.look = look_and_tell
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
        assert words[AWAY]
        assert second.taken.get() == 1
