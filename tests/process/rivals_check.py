"""``python rivals_check.py <rival>...``: every job that the rivals offer, on little, beside a plain loop."""

import sys
import tempfile
from functools import partial
from threading import Thread

import numpy as np

from benchmarks import rivals
from benchmarks.rivals import ArrayWork, Flow
from benchmarks.scenarios.kinds import row_sums
from benchmarks.scenarios.lookups import look_one_by_one
from benchmarks.victims import kill_when_ready, victim

COUNT = 13


def items(begin, empty):
    """Arrays of ten, some of them in the library's own memory."""
    for i in range(begin, begin + COUNT):
        x = empty(10)
        x[:] = i
        yield x


def add(n, x):
    return x + n


def double(x):
    x *= 2
    return x


def first(x):
    return x[:1] + 0.5


def join(left, right):
    return np.array([left[0], right[0]])


def same(x):
    return x


def fill(a):
    a[:] = np.arange(a.size).reshape(a.shape)


def values(arrays):
    return [tuple(np.unique(x).tolist()) for x in arrays]


class Checks:
    """One method for each job."""

    def __init__(self, rival):
        self.rival = rival

    def flow(self, *stages, begin=0, **options):
        return Flow(partial(items, begin), 80, stages, **options)

    def chain(self):
        offset = 1000  # a closure
        flow = self.flow(partial(add, 1), lambda x: x + offset, partial(add, 3))
        assert values(x.copy() for x in self.rival.chain(flow)) == [(i + 1004.0,) for i in range(COUNT)]
        if not self.rival.writable:
            return
        flow = self.flow(double, double, inplace=True)
        assert values(x.copy() for x in self.rival.chain(flow)) == [(4.0 * i,) for i in range(COUNT)]

    def farm(self):
        flow = self.flow(partial(add, 1), chunk=1)
        assert values(self.rival.farm(flow, 2)) == [(i + 1.0,) for i in range(COUNT)]

    def broadcast(self):
        flow = self.flow(partial(add, 100), partial(add, 200), first)
        found = sorted(values(self.rival.broadcast(flow)))
        assert found == sorted((i + n,) for i in range(COUNT) for n in (0.5, 100.0, 200.0))

    def gather(self):
        flows = [self.flow(begin=100 * sender, chunk=1) for sender in range(3)]
        found = values(self.rival.gather(flows))
        assert sorted(found) == [(100.0 * sender + i,) for sender in range(3) for i in range(COUNT)]

    def diamond(self):
        flow = self.flow(partial(add, 1), first)
        assert values(self.rival.diamond(flow, join)) == [(i + 0.5, i + 1.0) for i in range(COUNT)]

    def nodes(self):
        if rivals.missing("dask actors"):
            return
        flow = self.flow(partial(add, 1), double, chunk=3)
        assert values(self.rival.nodes(flow)) == [(2.0 * (i + 1),) for i in range(COUNT)]

    def ping_pong(self):
        with self.rival.ping_pong(80) as call:
            for i in range(3):
                assert values([call(np.full(10, float(i)))]) == [(float(i),)]

    def pool(self):
        with self.rival.pool(2) as pool:
            assert pool.call(same, 5) == 5
            for chunksize in (None, 1):
                assert list(pool.map(same, [float(i) for i in range(20)], chunksize)) == list(range(20))

    def map_array(self):
        for shape in ((200,), (70, 3)):
            with self.rival.map_array(ArrayWork(partial(add, 1), fill, shape), 2) as call:
                for _ in range(2):
                    found = call()
                    assert found.shape == shape and np.array_equal(found.reshape(-1), np.arange(found.size) + 1)
                del found

    def map_windows(self):
        a = np.arange(50.0)
        for is_shared in (True, False):
            with self.rival.map_windows(ArrayWork(row_sums, fill, (50,)), a, 7, is_shared, 2) as call:
                assert call().tolist() == [7 * begin + 21.0 for begin in range(44)]

    def tasks(self):
        if rivals.missing("joblib"):
            return
        with self.rival.tasks(2) as call:
            assert call(pow, [(2, 3), (3, 2)]) == [8, 9]

    def survive(self):
        with tempfile.TemporaryDirectory() as folder, self.rival.survive() as call:
            assert call(same, f"{folder}/other") == f"{folder}/other"
            path = f"{folder}/file"
            killer = Thread(target=kill_when_ready, args=(path,))
            killer.start()
            assert call(victim, path) > 0
            killer.join()

    def shared_memory(self):
        block = self.rival.shared_memory()(create=True, size=100)
        block.buf[3] = 3
        again = self.rival.shared_memory()(block.name)
        assert again.buf[3] == 3
        again.close()
        block.close()
        block.unlink()

    def shareable_list(self):
        shared = self.rival.shareable_list()([1, "two", None])
        assert list(shared) == [1, "two", None]
        shared.shm.close()
        shared.shm.unlink()

    def put_array(self):
        with self.rival.put_array(np.arange(10)) as made:
            assert made.tolist() == list(range(10))
        del made

    def lookup(self):
        keys, found = np.arange(20), np.array([b"%02d" % i for i in range(20)])
        for place in ("table", "database"):
            seconds = self.rival.lookup(place, keys, found, look_one_by_one, [(keys[:5], found[:5])] * 3)
            assert len(seconds) == 3

    def random_pages(self):
        with self.rival.random_pages(np.zeros((5, 1000), np.uint8), [3, 1, 3]) as read:
            assert read() == 3

    def all_pages(self):
        for whole in (True, False):
            with self.rival.all_pages(np.zeros((5, 1000), np.uint8), whole) as read:
                assert read() == 5


def main(names):
    jobs = [name for name in vars(Checks) if not name.startswith("_") and name != "flow"]
    for name in names:
        rival = rivals.load(name)
        offered = [job for job in jobs if rival.offers(job)]
        for job in offered:
            getattr(Checks(rival), job)()
        print(f"{name}: {', '.join(offered)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
