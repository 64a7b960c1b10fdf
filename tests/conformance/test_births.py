"""Results whose memory NumPy has made in a block are handed over as they are, if nobody else can write to them."""

import numpy as np
import pytest

import pardata
from pardata.channel.placing import BlockPlacer
from pardata.codec.ownership import sole
from pardata.memory.born.library import OFF_VARIABLE, why_not
from tests.conformance.births import ALL, ENTRIES, HANDED, HELD, arrays_in, new

ELSEWHERE = {"forks"}  # within a process it is the tests' own that would be forked
COUNT = 6  # items of each function; at the first ones there is no block yet
ENGINES = ["serial", "threads", "processes", "copies"]
ARE_BORN = why_not() is None and sole.element != 0 and sole.base != 0

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(params=ENGINES)
def engine(request, monkeypatch):
    """An engine; "copies" is that of processes in which no array is born in a block."""
    if request.param == "copies":
        monkeypatch.setenv(OFF_VARIABLE, "0")
        return "processes"
    return request.param


def numbers(names):
    """Items for the functions of these names, one after the other."""
    return [(name, np.full(ENTRIES, float(number))) for name in names for number in range(COUNT)]


class Called:
    """Calls the function that an item names; an item without a name asks which results were handed over."""

    def open(self):
        self.handed, self.last = {}, None
        self._hand_over = hand_over = BlockPlacer._hand_over

        def count(placer, block, array):
            self.handed[self.last] = self.handed.get(self.last, 0) + 1
            return hand_over(placer, block, array)

        BlockPlacer._hand_over = count

    def close(self):
        BlockPlacer._hand_over = self._hand_over

    def __call__(self, item):
        name, x = item
        if name is None:
            return self.handed
        self.last = name
        return ALL[name](x)


def check(name, number, result):
    """Fail unless a result has the numbers that it must have, in the shape that its function gives it."""
    arrays = arrays_in(result)
    assert arrays, name
    for array in arrays:
        assert (array == number + 1).all(), (name, number, array)


def test_results_are_right_and_handed_over_if_nobody_has_them(engine, request):
    names = [name for name in ALL if engine == "processes" or name not in ELSEWHERE]
    given = [*numbers(names), (None, None)]
    *results, handed = pardata.source(given).map(Called(), chunksize=1).iterate(engine=engine)
    for (name, x), result in zip(given, results, strict=False):
        check(name, x[0], result)
    is_handed = ARE_BORN and "copies" not in request.node.name and engine == "processes"
    assert handed.keys() == (set(HANDED) if is_handed else set())


def refills(items):
    """A generator that fills its array again."""
    made = np.empty(ENTRIES)
    for x in items:
        made[...] = x + 1
        yield made


def spoils(items):
    for x in items:
        made = x + 1
        yield made
        made[...] = -1


def expressions(items):
    for x in items:
        yield x + 1


@pytest.mark.parametrize("function", [refills, spoils, expressions])
def test_generators(function, engine):
    items = [np.full(ENTRIES, float(number)) for number in range(COUNT)]
    stream = pardata.source(items) | function
    for number, array in enumerate(stream.iterate(engine=engine)):
        check(function.__name__, number, array)


def test_stage_behind_may_write_to_what_was_handed_over(engine):
    def double(x):
        x *= 2
        return x

    items = [np.full(ENTRIES, float(number)) for number in range(COUNT)]
    for number, doubled in enumerate(pardata.source(items).map(new).map(double, inplace=True).iterate(engine=engine)):
        assert (doubled == 2 * (number + 1)).all()


@pytest.mark.parametrize("way", ["map", "submit"])
def test_results_of_pools(way):
    given = numbers(ALL)
    with pardata.WorkerPool(1) as pool:
        results = pool.map(call, given, chunksize=3) if way == "map" else [pool.submit(call, one) for one in given]
        for (name, x), result in zip(given, results, strict=True):
            check(name, x[0], result if way == "map" else result.result())


def call(item):
    name, x = item
    return ALL[name](x)


def test_held_and_handed_are_apart():
    assert not HELD.keys() & HANDED.keys()
