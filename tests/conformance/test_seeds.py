"""With `seed=` an item draws the same random numbers in every run: on all engines, in any message, at every attempt."""

import numpy as np
import pytest

import pardata

ENGINES = ["threads", "processes"]  # compared with "serial"


def number():
    return int(pardata.worker().random.integers(1_000_000))


def draw(item):
    return item, number()


def drawn():
    generator = pardata.worker().random  # of a source it is one for all items
    for _ in range(20):
        yield int(generator.integers(1_000_000)), number()


def draw_around(items):
    yield number()
    for item in items:
        yield item, number(), number()
    yield number()


class Retried:
    """Fails at each third item once, after it has drawn."""

    def __init__(self):
        self.tried = set()

    def __call__(self, item):
        found = draw(item)
        if item % 3 == 0 and item not in self.tried:
            self.tried.add(item)
            raise ArithmeticError
        return found


class RetriedRows(Retried):
    """The same of blocks of rows."""

    def __call__(self, rows):
        return rows * 0 + super().__call__(int(rows[0]))[1]


class RetriedAwaiting(Retried):
    """The same of a coroutine function."""

    async def __call__(self, item):
        return super().__call__(item)


class Opened:
    def open(self):
        self.weight = number()

    def __call__(self, item):
        return item, self.weight, number()


def numbers():
    return pardata.source(range(30))


def parted():
    branches = numbers().partition(lambda _: number(), 2)
    return pardata.merge(*[branch.map(tagged(tag)) for tag, branch in enumerate(branches)], policy="ordered")


def tagged(tag):
    return lambda item: (tag, item)


def woven():
    stem = numbers()
    return pardata.merge(stem.map(abs), stem.filter(lambda x: x % 2), policy="ordered").map(draw, workers=2)


STREAMS = {
    "map": lambda: numbers().map(draw).map(draw),
    "farm": lambda: numbers().map(draw, workers=3, chunksize=2),
    "large messages": lambda: numbers().map(draw, chunksize=11),
    "threads": lambda: numbers().map(draw, kind="thread", workers=3),
    "source": lambda: pardata.source(drawn).map(draw),
    "filter": lambda: numbers().filter(lambda _: number() % 2),
    "partition": parted,
    "generator": lambda: numbers() | draw_around,
    "flat_map": lambda: numbers().flat_map(lambda x: [draw(x), draw(x)]).map(draw),
    "reduce": lambda: numbers().reduce(lambda total, _: total + number(), 0),
    "retries": lambda: numbers().map(Retried(), retries=1),
    "awaited retries": lambda: numbers().map(RetriedAwaiting(), retries=1),
    "object": lambda: numbers().map(Opened(), workers=2),
    "ordered merge": woven,
    "merge": lambda: pardata.merge(numbers().map(draw), numbers().map(draw)).map(draw),
}


def items_of(engine, seed):
    """The items of all streams, which are one run."""
    found = {name: [] for name in STREAMS}
    pardata.run(*[make().to(found[name]) for name, make in STREAMS.items()], engine=engine, seed=seed)
    found["merge"].sort()
    return found


@pytest.fixture(scope="module")
def expected():
    return items_of("serial", 5)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_run_with_a_seed_draws_the_same_numbers(engine, expected):
    assert items_of(engine, 5) == expected


def test_another_attempt_draws_the_same_numbers():
    found = []

    def fail_at_first(item):
        found.append(draw(item))
        if len(found) % 2:
            raise ArithmeticError

    async def fail_at_first_awaiting(item):
        fail_at_first(item)

    for fn in fail_at_first, fail_at_first_awaiting:
        found.clear()
        numbers().map(fn, retries=1).to([]).run(engine="serial", seed=5)
        assert found[::2] == found[1::2]


@pytest.mark.parametrize("seed", [6, None])
def test_another_seed_and_none_draw_others(seed, expected):
    others = items_of("serial", seed)
    assert not any(others[name] == expected[name] for name in STREAMS)


def test_no_two_items_and_no_two_stages_draw_the_same(expected):
    drawn = [number for pair in expected["map"] for number in (pair[0][1], pair[1])]
    drawn += [number for _, number in expected["ordered merge"]]
    assert len(set(drawn)) == len(drawn) == 60 + 45


def test_a_stage_knows_its_worker_and_its_item():
    def who(_):
        worker = pardata.worker()
        return worker.pool, worker.index, worker.workers, worker.item, worker.shared

    for engine in ["serial", *ENGINES]:
        assert list(numbers().map(who, name="asked").iterate(engine=engine)) == [
            ("asked", 0, 1, item, None) for item in range(30)
        ]
        places = {(index, workers) for _, index, workers, _, _ in numbers().map(who, workers=2).iterate(engine=engine)}
        assert places <= {(0, 2), (1, 2)}
    assert pardata.worker().pool.startswith("process")  # no longer that of a stage


def test_a_serial_run_in_a_task_of_a_pool_leaves_the_pools_context():
    def task(_):
        list(numbers().map(draw).iterate(engine="serial", seed=1))
        return pardata.worker().pool, number()

    with pardata.WorkerPool(1, kind="thread", name="outer", seed=3) as pool:
        inner = list(pool.map(task, [0]))
    with pardata.WorkerPool(1, kind="thread", name="outer", seed=3) as pool:
        assert inner == [("outer", *pool.map(lambda _: number(), [0]))]


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_task_of_a_pool_draws_the_same_at_another_attempt(kind):
    with pardata.WorkerPool(1, kind=kind, retries=1, seed=3) as pool:
        called = pool.submit(Retried(), 0).result()
        mapped = list(pool.map(Retried(), range(4)))
        rows = pool.map_array(RetriedRows(), np.arange(4), chunksize=1)
    with pardata.WorkerPool(1, kind=kind, seed=3) as pool:
        assert called == pool.submit(draw, 0).result()
        assert mapped == list(pool.map(draw, range(4)))
        assert rows.tolist() == pool.map_array(lambda rows: rows * 0 + number(), np.arange(4), chunksize=1).tolist()


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True])
def test_wrong_seeds_are_refused(seed):
    with pytest.raises(pardata.PlanError, match="seed must be an int of at least 0"):
        numbers().run(seed=seed)
