"""Whose array it is, in use: what a function may write to, what it sees of others, and what an error says.

`test_faithful` has the rule for each kind of object; here are the things that people do with them. Large arrays are
`LARGE` numbers, more than travel within a message.
"""

import functools

import numpy as np
import pytest

import pardata
from pardata.memory.array import find_anchor
from pardata.runtime.library_limits import usable_cores
from tests.conformance.kinds import Holder

ENGINES = ["serial", "threads", "processes"]
LARGE = 5000


def frozen(array):
    array.setflags(write=False)
    return array


def add_one(array):
    array += 1
    return array


def run(stream, engine):
    with stream.iterate(engine=engine) as items:
        return list(items)


# -- what is a function's own ------------------------------------------------------------------------------------------


class Own:
    """A stage with a state, that writes to all that is its own."""

    def __init__(self):
        self.total = np.zeros(LARGE)
        self.few = np.zeros(3)
        self.shared = frozen(np.ones(LARGE))

    def __call__(self, item):
        small, held, large = item
        small += 1
        held.held += 1
        self.total += large
        self.few += 1
        return small[0], held.held[0], self.total[0], self.few[0], self.shared.flags.writeable


@pytest.mark.parametrize("engine", ENGINES)
def test_small_arrays_held_ones_and_state_are_writable_and_nobody_elses(engine):
    small, held, large = np.zeros(3), Holder(np.zeros(LARGE)), frozen(np.ones(LARGE))
    source = pardata.source([(small, held, large)] * 3)
    captured = np.zeros(LARGE)

    def counts(item):
        captured[:] += 1
        return captured[-1]

    out = run(pardata.zip(source.map(Own()), source.map(Own()), source.map(counts)), engine)
    assert [pair[:2] for pair in out] == [((1, 1, n, n, False),) * 2 for n in (1, 2, 3)]
    assert [number for *_, number in out] == [1, 2, 3]
    assert small.sum() == held.held.sum() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_objects_of_libraries_can_be_used(engine):
    pandas, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(0)
    matrix = sparse.csr_matrix(sparse.random(500, 500, 0.1, random_state=rng, format="csr"))
    matrix.has_sorted_indices = False
    frame = pandas.DataFrame({"a": rng.random(LARGE), "b": rng.random(LARGE)})
    sections = signal.butter(4, 0.1, output="sos")

    def use(item):
        matrix, frame, wave = item
        matrix.sort_indices()
        matrix.sum_duplicates()
        matrix.data *= 2
        frame.iloc[0, 0] = -1
        filtered = signal.sosfilt(sections, wave)
        return matrix.sum(), frame.a.min(), float(filtered[-1])

    wave = rng.random(LARGE)
    out = run(pardata.source([(matrix, frame, wave)]).map(use), engine)
    assert out == [(pytest.approx(2 * matrix.sum()), -1, pytest.approx(signal.sosfilt(sections, wave)[-1]))]
    assert frame.a.min() >= 0


# -- writable=True -----------------------------------------------------------------------------------------------------


class FailsOnce:
    """Changes its item, and fails at the first of two attempts."""

    def __init__(self):
        self.calls = 0

    def __call__(self, item):
        add_one(item)
        self.calls += 1
        if self.calls % 2:
            raise RuntimeError("once more")
        return item[0], item[-1]


@pytest.mark.parametrize("engine", ENGINES)
def test_writable_gives_each_call_copies_of_its_own(engine):
    arrays = [np.full(LARGE, float(number)) for number in range(3)]
    source = pardata.source(arrays)
    out = run(
        pardata.zip(
            source.map(add_one, writable=True),
            source.map(lambda array: array[0]),
            source.map(FailsOnce(), writable=True, retries=1),
            source.filter(lambda array: add_one(array)[0] > 0, writable=True).map(lambda array: array[0]),
            source.map(lambda array: {"x": [array, array]}).map(
                lambda d: add_one(d["x"][0]) is d["x"][1], writable=True
            ),
        ),
        engine,
    )
    assert [(first[0], *rest) for first, *rest in out] == [(n + 1, n, (n + 1, n + 1), n, True) for n in range(3)]
    windows = source.window(2).map(lambda pair: tuple(add_one(array)[0] for array in pair), writable=True)
    assert run(windows, engine) == [(1, 2), (2, 3)]
    assert run(source.flat_map(lambda array: [add_one(array)[0]] * 2, writable=True), engine) == [1, 1, 2, 2, 3, 3]
    assert [array[0] for array in arrays] == [0, 1, 2]


def test_copies_of_a_worker_lie_in_its_own_warm_memory():
    stream = pardata.source([np.zeros(LARGE)]).map(lambda array: find_anchor(array) is not None, writable=True)
    assert run(stream, "processes") == [True]


@pytest.mark.parametrize("engine", ENGINES)
def test_attempt_does_not_see_what_an_earlier_one_has_changed(engine):
    small = pardata.source([np.zeros(3), np.ones(3)]).map(FailsOnce(), retries=1)
    assert run(small, engine) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("engine", ENGINES)
def test_compiled_code_that_asks_for_writable_arrays_runs(engine):
    transform = pytest.importorskip("skimage.transform")
    image = np.random.default_rng(0).random((80, 80))
    out = run(pardata.source([image]).map(lambda each: transform.rotate(each, 30), writable=True), engine)
    np.testing.assert_allclose(out[0], transform.rotate(image, 30))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"writable": 1}, "writable must be True or False, not 1"),
        ({"writable": True, "inplace": True}, "inplace=True and writable=True: one of them"),
        ({"inplace": True, "retries": 1}, "with writable=True each try gets a copy"),
    ],
)
def test_wrong_use_is_told(options, message):
    with pytest.raises(pardata.ConfigError, match=message):
        pardata.source([1]).map(abs, **options)


# -- results -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_results_are_the_callers_where_nobody_else_reads_them(engine):
    source = pardata.source([np.zeros(LARGE)] * 2)
    made = source.map(lambda array: (array + 1, {"x": array + 2}, Holder(array + 3), array))
    for first, second, third, passed_on in run(made, engine):
        assert add_one(first)[0] == 2 and add_one(second["x"])[0] == 3 and add_one(third.held)[0] == 4
        assert not passed_on.flags.writeable
    for bare in run(source.map(lambda array: array + 1), engine):
        assert add_one(bare)[0] == 2
    for view in (lambda array: array[1:], lambda array: array[::2].reshape(2, -1).T, lambda array: array):
        assert [add_one(part).flat[0] for part in run(source.map(view), engine)] == [1, 1]
    pair = source.map(lambda array: array + 1)
    assert [a.flags.writeable or b.flags.writeable for a, b in run(pardata.zip(pair, pair), engine)] == [False] * 2


def repeats(items):
    for item in items:
        yield item
        yield item


@pytest.mark.parametrize("engine", ENGINES)
def test_array_that_comes_out_twice_is_read_only(engine):
    source = pardata.source([np.zeros(LARGE)]).map(lambda array: array + 1)
    out = run(source | repeats, engine)
    assert [array.flags.writeable for array in out] == [False, False] and [array[0] for array in out] == [1, 1]


# -- pools -------------------------------------------------------------------------------------------------------------


def test_pool_gives_what_a_run_gives():
    large, small, held = np.zeros(LARGE), np.zeros(3), Holder(np.zeros(LARGE))
    count = np.zeros(LARGE)

    def counts():
        return add_one(count)[0]

    with pardata.WorkerPool(1) as pool:
        with pytest.raises(ValueError, match="read-only"):
            pool.submit(add_one, large).result()
        assert add_one(pool.submit(add_one, small).result())[0] == 2
        assert pool.submit(lambda held: add_one(held.held)[0], held).result() == 1
        assert [pool.submit(counts).result() for _ in range(3)] == [1, 2, 3]
        assert [array[0] for array in pool.map(add_one, [large] * 3, chunksize=3, writable=True)] == [1] * 3
        for items in ([small] * 3, [held.held[:3]] * 3):
            assert [array[0] for array in pool.map(add_one, items, chunksize=3)] == [1] * 3
        pairs = [(held, number) for number in range(3)]
        assert list(pool.map(lambda pair: add_one(pair[0].held)[0], pairs, chunksize=3)) == [1] * 3
        results = [*pool.map(lambda array: array + 1, [large] * 3), pool.submit(lambda: [np.ones(LARGE)]).result()[0]]
        assert all(array.flags.writeable for array in results)
    assert large.sum() == small.sum() == held.held.sum() == count.sum() == 0


def same(*args):
    return args[0] if len(args) == 1 else args


def half(array):
    return {"half": [array[LARGE:]]}


class Keeps:
    """Returns what it has received, and keeps it."""

    def __init__(self):
        self.kept = []

    def __call__(self, array):
        self.kept += [array] if array is not None else []
        return [kept.sum() for kept in self.kept] if array is None else array


@pytest.mark.parametrize("births", ["1", "0"])
def test_argument_that_a_call_returns_is_the_callers(births, monkeypatch):
    monkeypatch.setenv("PARDATA_BORN", births)
    large, keeps = np.zeros(2 * LARGE), Keeps()
    mine = run(pardata.source([large]).map(lambda array: array + 1), "processes")[0]
    with pardata.WorkerPool(1) as pool:
        results = [pool.submit(same, large).result(), *pool.map(same, [large, large + 1]), *pool.map(same, [large])]
        results += pool.submit(same, large, large + 1).result()
        results += pool.submit(half, large).result()["half"]
        assert [add_one(array)[0] for array in results] == [1, 1, 2, 1, 1, 2, 1]
        for twice in (lambda array: [array, (array, {"x": [array]})], lambda array: [array + 1] * 2):
            first, *rest = pool.submit(twice, large).result()
            again = rest[0] if rest[0] is first else rest[0][0]
            assert again is first and add_one(first)[0] <= 2
        both = pool.submit(lambda array: [{"x": array}, 1] * 2, large).result()
        assert both[0] is both[2] and add_one(both[0]["x"])[0] == 1
        assert large.sum() == 0
        for array in (large, frozen(mine)):  # the second goes by its address, and is the caller's already
            keeping = [pool.submit(keep, array) for keep in (keeps, same)][array is mine]
            assert not keeping.result().flags.writeable
        shared = pool.submit(lambda: large).result()
        assert not shared.flags.writeable or add_one(shared)[0] == 1
    assert large.sum() == 0 and mine.sum() == mine.size


def test_pool_that_looks_like_multiprocessing_gives_writable_arguments():
    large = np.zeros(LARGE)
    with pardata.Pool(1) as pool:
        assert add_one(pool.apply(add_one, (large,)))[0] == 2
        assert [array[0] for array in pool.map(add_one, [large] * 3, 3)] == [1] * 3
        assert pool.starmap(lambda array, n: add_one(array)[0] + n, [(large, n) for n in range(3)], 3) == [1, 2, 3]


def to_both(first, second, *, more):
    add_one(first)
    add_one(more["held"].held)
    return first[0], second[0], more["held"].held[0]


class FailsAtFirst:
    """Raises in its first call, when it has changed its argument."""

    def __init__(self):
        self.is_first = True

    def __call__(self, array):
        add_one(array)
        if self.is_first:
            self.is_first = False
            raise ValueError
        return array[0]


def fails(array):
    add_one(array)
    raise KeyError(array[0])


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_pool_with_writable_gives_each_call_copies_of_its_own(kind):
    array, small, held = np.zeros(LARGE), np.zeros(3), Holder(np.zeros(LARGE))
    with pardata.WorkerPool(1, kind=kind, writable=True, retries=1) as pool:
        assert pool.submit(add_one, array).result()[0] == 1
        assert pool.submit(to_both, array, array, more={"held": held}).result() == (1, 1, 1)  # one array stays one
        assert [each[0] for each in pool.map(add_one, [array, small, array, small], chunksize=4)] == [1] * 4
        assert list(pool.map(lambda a, b: add_one(a)[0] + b[0], [array] * 2, [small] * 2, chunksize=2)) == [1] * 2
        assert pool.submit(FailsAtFirst(), array).result() == 1  # the second attempt gets what the first one got
        with pytest.raises(KeyError) as caught:
            pool.submit(fails, array).result()
        assert "1.0" in str(caught.value) and any("'fails'" in note for note in caught.value.__notes__)
    frozen(array)
    with pardata.WorkerPool(1, kind=kind) as pool:
        assert next(pool.map(add_one, [array], writable=True))[0] == 1
        assert not next(pool.map(lambda each: each.flags.writeable, [array], writable=False))
        with pytest.raises(pardata.ConfigError, match="writable must be True or False"):
            pool.map(add_one, [array], writable="yes")
    assert array.sum() == small.sum() == held.held.sum() == 0
    with pytest.raises(pardata.ConfigError, match="writable must be True or False"):
        pardata.WorkerPool(1, kind=kind, writable="yes")


def nested(array):
    return [each[0] for each in pardata.map(add_one, [array] * 2, writable=True)]


def test_map_within_a_worker_takes_the_options_of_the_main_process():
    with pardata.WorkerPool(usable_cores()) as pool:  # each worker has one core, so a pool of its own has threads
        assert pool.submit(nested, np.zeros(LARGE)).result() == [1, 1]


def test_value_that_a_pool_shares_is_one_for_all():
    shared = {"large": np.zeros(LARGE), "held": Holder(np.zeros(LARGE))}
    with pardata.WorkerPool(1, shared=shared) as pool:
        given = pool.submit(lambda: pardata.worker().shared["large"].flags.writeable).result()
        held = pool.submit(lambda: pardata.worker().shared["held"].held.flags.writeable).result()
        assert not given and not held


# -- errors ------------------------------------------------------------------------------------------------------------


class Table:
    def __init__(self):
        self.table = frozen(np.zeros(LARGE))

    def __call__(self, item):
        self.table += 1


def deep(item):
    add_one(item["y"][1])


def with_table(table, item):
    table += 1


def captures():
    coefficients = frozen(np.zeros(LARGE))

    def stage(item):
        coefficients[0] = 1

    return stage


WRITERS = {
    "the item": (add_one, np.zeros(LARGE)),
    "the item['y'][1]": (deep, {"y": (1, np.zeros(LARGE))}),
    "self.table": (Table(), np.zeros(LARGE)),
    "the variable table": (functools.partial(with_table, frozen(np.zeros(LARGE))), 1),
    "the captured coefficients": (captures(), np.zeros(LARGE)),
    "the item ": (lambda array: array.sort(), np.zeros(LARGE)),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_error_about_a_read_only_array_names_it_and_two_ways_out(engine):
    for name, (fn, item) in WRITERS.items():
        with pytest.raises(ValueError, match="read-only") as caught:
            run(pardata.source([item]).map(fn), engine)
        (note,) = [note for note in caught.value.__notes__ if "Two ways out" in note]
        assert note.startswith(f"{name.strip()} is read-only") and "array.copy()" in note
        assert ("writable=True" in note) is name.startswith("the item")


def test_error_in_a_pool_names_it_as_well():
    with pardata.WorkerPool(1) as pool:
        for call in (
            lambda: pool.submit(add_one, np.zeros(LARGE)),
            lambda: pool.submit(deep, WRITERS["the item['y'][1]"][1]),
        ):
            with pytest.raises(ValueError, match="read-only") as caught:
                call().result()
            assert any(
                note.startswith("the item") and "writable=True to the pool" in note for note in caught.value.__notes__
            )
        for arrays, name in (([np.zeros(LARGE)], "the block"), ([np.ones(LARGE), np.zeros(LARGE)], "the block[1]")):
            with pytest.raises(ValueError, match="read-only") as caught:
                pool.map_array(lambda *blocks: add_one(blocks[-1]), *arrays)
            (note,) = [note for note in caught.value.__notes__ if "Two ways out" in note]
            assert note.startswith(f"{name} is read-only") and "foreach_array" in note
            assert "rows.py" not in str(caught.value.__cause__)  # of the frames those of user code are shown


@pytest.mark.parametrize("engine", ENGINES)
def test_the_way_out_that_an_error_names_is_one_that_stages_have(engine):
    def change_all(arrays):
        for array in arrays:
            yield add_one(array)

    source = pardata.source([np.ones(LARGE)])
    for stream in (source | change_all, source.filter(add_one), source.map(add_one), source.to(add_one)):
        with pytest.raises(ValueError, match="read-only") as caught:
            stream.run(engine=engine)
        (note, *_) = caught.value.__notes__
        assert "say writable=True to map, filter or flat_map, whose function then gets copies" in note
