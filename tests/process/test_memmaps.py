"""A memmap is opened by the name of its file in each process; what is written to it is in the file."""

import os
import re
import warnings

import numpy as np
import pytest

import pardata
from pardata.memory.mapped import file_address

ENGINES = ["serial", "threads", "processes"]


@pytest.fixture
def path(tmp_path):
    """A file of 20 x 1000 numbers behind a header of 24 bytes."""
    name = str(tmp_path / "numbers")
    made = np.memmap(name, float, "w+", offset=24, shape=(20, 1000))
    made[...] = np.arange(20_000.0).reshape(20, 1000)
    return name


def opened(path, mode, **options):
    return np.memmap(path, float, mode, offset=24, shape=(20, 1000), **options)


@pytest.fixture(scope="module")
def pool():
    with pardata.WorkerPool(2) as made:
        yield made


def describe(array):
    """What an array is, and what it shows."""
    kind, file = type(array).__name__, getattr(array, "filename", None)
    return (
        kind,
        file,
        getattr(array, "mode", None),
        getattr(array, "offset", None),
        array.flags.writeable,
        array.tolist(),
    )


def fill(array, value):
    array[...] = value


ROUTES = {
    "argument": lambda pool, array: pool.submit(describe, array).result(),
    "in an argument": lambda pool, array: pool.submit(lambda part: describe(part["x"]), {"x": array}).result(),
    "map item": lambda pool, array: next(iter(pool.map(describe, [array]))),
    "captured": lambda pool, array: pool.submit(lambda: describe(array)).result(),
}


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_the_name_of_a_file_may_be_any_bytes(path, mode):
    name = os.path.join(os.path.dirname(path), os.fsdecode(b"\xff"))
    os.rename(path, name)
    address = file_address(opened(name, mode), True)
    assert address is not None and address.file[0] == name


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("part", [slice(None), 3, (slice(2, 4), slice(None, None, -7)), (0, slice(0, 2))], ids=repr)
def test_a_memmap_that_is_handed_to_a_task_is_opened_there(pool, path, route, mode, part):
    array = opened(path, mode)[part]
    assert ROUTES[route](pool, array) == describe(array)


@pytest.mark.parametrize("order", ["C", "F"])
def test_it_keeps_its_order(pool, tmp_path, order):
    array = np.memmap(tmp_path / "x", "i4", "w+", shape=(30, 40), order=order)
    array[...] = np.arange(1200).reshape(30, 40)
    assert pool.submit(lambda x: (x.strides, x.ravel("K").tolist()), array).result() == (
        array.strides,
        array.ravel("K").tolist(),
    )


WRITES = {
    "argument": lambda pool, array: pool.submit(fill, array, 7).result(),
    "map item": lambda pool, array: list(pool.map(lambda x: fill(x, 7), [array])),
    "captured": lambda pool, array: pool.submit(lambda: fill(array, 7)).result(),
}


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[2:5], lambda x: x[1, :3], np.asarray], ids=list("abcd"))
@pytest.mark.parametrize("mode", ["r+", "w+"])
@pytest.mark.parametrize("route", WRITES)
def test_what_a_task_writes_is_in_the_file(pool, path, route, mode, view):
    array = view(opened(path, mode))
    WRITES[route](pool, array)
    assert (array == 7).all()
    assert np.count_nonzero(np.fromfile(path, float)[3:] == 7) >= array.size


def test_what_is_shared_and_given_to_an_initializer_is_the_file(path):
    array = opened(path, "r+")
    with pardata.WorkerPool(1, shared={"x": array}, initializer=fill, initargs=(array[0], 5)) as pool:
        pool.submit(lambda: fill(pardata.worker().shared["x"][1], 6)).result()
    assert array[:2, 0].tolist() == [5, 6]


def test_a_private_copy_of_a_file_stays_one(pool, path):
    array = opened(path, "c")
    with pytest.raises(AssertionError):
        pool.submit(lambda x: (fill(x, 9), (_ for _ in ()).throw(AssertionError))[0], array).result()
    assert array[0, 0] == 0 and np.fromfile(path, float)[3] == 0
    array[0, 0] = 5  # and what has been written to it is not lost
    assert pool.submit(lambda x: (float(x[0, 0]), x.flags.writeable), array).result() == (5, False)


def test_one_that_was_opened_for_reading_cannot_be_written_to(pool, path):
    with pytest.raises(ValueError, match="read-only"):
        pool.submit(fill, opened(path, "r"), 1).result()


def test_a_worker_maps_a_file_once(path):
    array = opened(path, "r")
    with pardata.WorkerPool(1) as pool:
        bases = pool.submit(lambda rows: len({id(row.base.base) for row in rows}), list(array)).result()
        assert bases == 1
        assert pool.submit(lambda x, y: x is y, array, array).result()


def test_it_takes_no_shared_memory(tmp_path):
    array = np.memmap(tmp_path / "sparse", "u1", "w+", shape=2 << 40)  # more than there is
    with pardata.WorkerPool(1, shared={"x": array}) as pool:
        assert pool.submit(lambda x: int(x[-1]), array).result() == 0
        assert list(pool.map(lambda i: int(array[i]), range(4))) == [0] * 4
        assert pool.submit(lambda: int(pardata.worker().shared["x"][-1])).result() == 0


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_one_whose_file_is_gone_goes_by_value_and_says_so_once(pool, path, how):
    array = opened(path, "r+")
    array[0, 0] = 5
    os.unlink(path)
    if how == "replaced":
        np.zeros(20_003).tofile(path)
    with pytest.warns(RuntimeWarning, match=r"the file .* of a memmap is gone, or another one has its name"):
        assert pool.submit(lambda x: (float(x[0, 0]), x.flags.writeable), array).result() == (5, False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pool.submit(lambda x: float(x[0, 0]), array).result() == 5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_rows_of_a_source_are_views_of_the_file(path, engine, mode):
    array = opened(path, mode)
    named = None if mode == "c" else path
    out = list(pardata.source(array).map(describe).iterate(engine=engine))
    assert [row[-1] for row in out] == array.tolist()
    assert {row[:2] for row in out} == {("memmap", named)}
    assert {row[4] for row in out} == {mode == "c"}  # such a row goes by value, and is small


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_written_to_the_file_meanwhile_does_no_harm_to_a_source(path, engine):
    array = opened(path, "r+")

    def write(row):
        opened(path, "r+")[int(row[0]) // 1000] = -1
        os.utime(path)
        return 1

    assert sum(pardata.source(array).map(write).iterate(engine=engine)) == 20


def reused(path, kind):
    """Rows of a file that is written to again and again."""
    scratch = kind(np.memmap(path + ".scratch", float, "w+", shape=(1, 3000)))
    for number in range(30):
        scratch[0] = number
        yield scratch[0]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [lambda x: x, np.asarray], ids=["memmap", "view"])
def test_a_file_that_a_generator_writes_to_again_arrives_as_it_was_at_the_yield(path, engine, kind):
    stream = pardata.source(lambda: (yield from reused(path, kind))).map(lambda row: (row.min(), row.max()))
    assert list(stream.iterate(engine=engine)) == [(number, number) for number in range(30)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stage_hands_a_file_on_that_it_has_opened_for_reading(path, engine):
    stream = pardata.source([0, 1]).map(lambda i: opened(path, "r")[i]).map(describe)
    out = list(stream.iterate(engine=engine))
    assert [row[:3] for row in out] == [("memmap", path, "r")] * 2
    assert [row[-1][0] for row in out] == [0, 1000]


def test_a_result_is_what_was_there_when_the_task_ended(path):
    """Of one worker: another one would write to the same file meanwhile."""

    def call(value):
        scratch = opened(path, "r+")
        scratch[...] = value
        return scratch

    with pardata.WorkerPool(1) as pool:
        assert [made[0, 0] for made in pool.map(call, range(5), chunksize=1)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stage_that_changes_its_input_has_a_copy(path, engine):
    array = opened(path, "r+")
    out = list(pardata.source(array).map(lambda row: (fill(row, 1), row.sum())[1], inplace=True).iterate(engine=engine))
    assert out == [1000] * 20 and array[0, 1] == 1 * 1.0 and array[1, 0] == 1000


@pytest.mark.parametrize("change", ["written", "cut", "replaced", "removed"])
def test_a_file_that_has_changed_on_the_way_is_refused(path, change):
    address = file_address(opened(path, "r")[3], False)
    if change == "written":
        os.utime(path, ns=(0, 0))
    elif change == "cut":
        os.truncate(path, 100)
    else:
        os.unlink(path)
        if change == "replaced":
            np.zeros(20_003).tofile(path)
    with pytest.raises(pardata.StaleBlockError, match=re.escape(path)):
        address.open()


def test_a_queue_takes_over_what_can_be_written_to(path):
    queue, array = pardata.Queue(), opened(path, "r+")
    queue.put([array[0], opened(path, "r")[1]])
    array[0] = -1
    first, second = queue.get()
    assert type(first) is type(second) is np.memmap
    assert first[5] == 5 and first.filename is None
    assert second[0] == 1000 and second.filename is None
    queue.close()


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_masked_array_over_a_file_arrives_as_in_one_process(pool, path, mode):
    array = opened(path, mode)
    masked = np.ma.array(array, mask=np.indices(array.shape).sum(0) % 3 == 0)
    stream = pardata.source([masked]).map(lambda part: part)
    for found in [*stream, *pool.map(lambda part: part, [masked]), pool.submit(lambda: masked).result()]:
        assert type(found) is np.ma.MaskedArray
        np.testing.assert_array_equal(found.mask, masked.mask)
        np.testing.assert_array_equal(found.compressed(), masked.compressed())
