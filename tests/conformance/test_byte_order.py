"""`native=True` gives functions arrays in the machine's byte order, at every depth; without it the order is kept."""

import io
import pickle
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import pardata
from pardata.memory.array import find_anchor
from pardata.memory.shared_heap import set_thread_arena
from pardata.pool.arrays.addresses import SharedPlaces, is_shared
from pardata.runtime.native import as_native, native_items
from tests.conformance.kinds import Box, Tagged

ENGINES = ["processes", "threads", "serial"]
OTHER, OWN = (">", "<") if sys.byteorder == "little" else ("<", ">")
RECORD = np.dtype([("a", f"{OTHER}i4"), ("b", f"{OTHER}f8", (2,)), ("c", [("d", f"{OTHER}u2")])])


def numbers(n, kind="f8"):
    return np.arange(n).astype(f"{OTHER}{kind}")


def records(n):
    made = np.zeros(n, RECORD)
    made["a"], made["b"], made["c"]["d"] = np.arange(n), np.arange(2 * n).reshape(n, 2), 7
    return made


def tagged():
    made = numbers(3000).view(Tagged)
    made.tag = "m"
    return made


def objects():
    made = np.empty(2, object)
    made[:] = [numbers(3), "x"]
    return made


MAKERS = {
    "small": lambda: numbers(5),
    "large": lambda: numbers(5000),
    "Fortran order": lambda: np.asfortranarray(numbers(6000).reshape(60, 100)),
    "without entries": lambda: numbers(0),
    "without axes": lambda: numbers(1)[:].reshape(()),
    "sliding window": lambda: sliding_window_view(numbers(200), 20),
    "every second": lambda: numbers(6000)[::-2],
    "text": lambda: np.array(["a", "bc"]).astype(f"{OTHER}U2"),
    "times": lambda: np.array(["2020-01-01"], f"{OTHER}M8[s]"),
    "records": lambda: records(2000),
    "a record": lambda: records(3)[1],
    "array in a field only": lambda: np.ones(9, [("b", f"{OTHER}f8", (2,))]),
    "recarray": lambda: records(9).view(np.recarray),
    "matrix": lambda: numbers(6).reshape(2, 3).view(np.matrix),
    "masked": lambda: np.ma.masked_array(numbers(3000), numbers(3000) > 5, fill_value=7),
    "subclass": tagged,
    "subclass without entries": lambda: tagged()[:0],
    "masked without entries": lambda: np.ma.masked_array(numbers(0)),
    "container": lambda: {"x": [numbers(3), (numbers(5000), 1)], "y": "text"},
    "object": lambda: Box(Box(numbers(5000))),
    "objects": objects,
    "dtype with metadata": lambda: np.zeros(3, np.dtype(f"{OTHER}i4", metadata={"unit": "m"})),
    "own order": lambda: np.arange(3.0),
    "no array": lambda: ["x", None],
}


def arrays_in(obj):
    if isinstance(obj, np.ndarray | np.void):
        return [each for part in obj for each in arrays_in(part)] if obj.dtype.hasobject else [obj]
    if isinstance(obj, Box):
        return arrays_in(obj.value)
    parts = obj.values() if isinstance(obj, dict) else obj if isinstance(obj, list | tuple) else ()
    return [array for part in parts for array in arrays_in(part)]


def order_of(dtype):
    """Return the orders of bytes in a dtype, looked up in its description."""
    text = str(dtype.descr if dtype.names else dtype.str)
    return {order for order in "<>" if order in text}


def numbers_of(array):
    """Return the values of an array as Python's own."""
    names = array.dtype.names
    return {name: numbers_of(array[name]) for name in names} if names else array.tolist()


def looked_at(obj):
    """Return the orders of bytes in an object, and all of its numbers."""
    orders, values = set(), []
    for array in arrays_in(obj):
        orders |= order_of(array.dtype)
        values.append((type(array).__name__, array.shape, numbers_of(array), getattr(array, "tag", None)))
    return orders, values


def item(name):
    return MAKERS[name]()


def items():
    for make in MAKERS.values():
        yield make()


def queue_of_items():
    made = queue.Queue()
    for made_item in [*items(), None]:
        made.put(made_item)
    return made


SOURCES = {
    "generator function": lambda: items,
    "list": lambda: list(items()),
    "generator": items,
    "iterator": lambda: iter(list(items())),
    "queue": queue_of_items,
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_converts_all_that_it_gives(engine, kind):
    kept = list(pardata.source(SOURCES[kind]()).map(looked_at).iterate(engine=engine))
    converted = list(pardata.source(SOURCES[kind](), native=True).map(looked_at).iterate(engine=engine))
    for name, (before, values), (after, same) in zip(MAKERS, kept, converted, strict=True):
        assert before <= {OTHER} or name == "own order", name
        assert after <= {OWN} and bool(after) == bool(before) and repr(values) == repr(same), name


class Closing:
    """Items of a generator that says when it is closed."""

    def __init__(self):
        self.is_closed = threading.Event()

    def __iter__(self):
        try:
            while True:
                yield 1.0
        finally:
            self.is_closed.set()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("begin", [lambda made: made, iter], ids=["iterable", "generator"])
def test_a_run_that_is_left_closes_its_source(engine, native, begin):
    made = Closing()
    source = begin(made)
    with pardata.source(source, native=native).iterate(engine=engine) as run:
        assert next(run) == 1
    assert made.is_closed.wait(60)


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_of_arrays_and_of_files_are_converted(engine, tmp_path):
    np.save(tmp_path / "rows.npy", numbers(6000).reshape(3, 2000))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for rows in (str(tmp_path / "rows.npy"), mapped, np.array(mapped), records(3)):
        found = list(pardata.source(rows, native=True).map(looked_at).iterate(engine=engine))
        assert [orders for orders, _ in found] == [{OWN}] * 3
    assert isinstance(next(iter(pardata.source(mapped).map(lambda row: row))), np.memmap)


def shared_order(_):
    return looked_at(pardata.worker().shared)[0]


def doubled(rows):
    assert order_of(rows.dtype) == {OWN} and not (rows.size and rows.flags.writeable)
    return rows * 2


def halve(rows):
    assert order_of(rows.dtype) == {OWN}
    rows /= 2


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_functions_of_a_pool_get_converted_arguments(kind):
    captured = numbers(3)
    with pardata.WorkerPool(2, kind=kind, native=True, shared={"x": numbers(5000)}) as pool:
        for name, make in MAKERS.items():
            orders, values = pool.submit(looked_at, make()).result()
            assert orders <= {OWN} and repr(values) == repr(looked_at(make())[1]), name
        assert [orders for orders, _ in pool.map(looked_at, [numbers(3)] * 3)] == [{OWN}] * 3
        assert list(pool.map(lambda x, y: looked_at([x, y])[0], [numbers(3)], [numbers(5000)])) == [{OWN}]
        assert pool.submit(lambda: order_of(captured.dtype)).result() == {OTHER}
        assert pool.submit(shared_order, 0).result() == {OWN}


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_blocks_of_arrays_are_converted(kind, tmp_path):
    given = numbers(5000)
    np.save(tmp_path / "rows.npy", given)
    with pardata.WorkerPool(2, kind=kind, native=True) as pool:
        for array in (given, pardata.array(given), np.load(tmp_path / "rows.npy", mmap_mode="r"), given[:0]):
            made = pool.map_array(doubled, array)
            assert order_of(made.dtype) == {OWN} and made.tolist() == (2 * array).tolist()
        assert pool.reduce_array(lambda rows: doubled(rows).sum(), given, np.add) == 2 * given.sum()
        out = np.zeros_like(given)
        pool.map_array(doubled, given, out=out)
        assert out.dtype == given.dtype and out.tolist() == (2 * given).tolist()
        pool.foreach_array(halve, out)
        assert out.tolist() == given.tolist()


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_without_it_a_pool_keeps_the_order(kind):
    with pardata.WorkerPool(1, kind=kind) as pool:
        assert pool.submit(looked_at, [numbers(3), numbers(5000)]).result()[0] == {OTHER}
        assert order_of(pool.map_array(lambda rows: rows, numbers(5000)).dtype) == {OTHER}


def lies_in_a_block(array):
    return order_of(array.dtype) == {OWN} and find_anchor(array) is not None


def test_large_arrays_are_converted_by_the_only_copy_of_them():
    def source():
        set_thread_arena()
        return list(map(lies_in_a_block, native_items(lambda: [numbers(5000), numbers(9000).reshape(90, 100).T])))

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(source).result() == [True, True]
    items = [numbers(5000), numbers(9000).reshape(90, 100).T, records(2000)]
    with pardata.WorkerPool(1, native=True) as pool:
        assert pool.submit(lambda *given: list(map(lies_in_a_block, given)), *items).result() == [True] * 3
        assert pool.submit(lambda given: lies_in_a_block(given["x"]), {"x": items[0]}).result()
        assert all(pool.map(lies_in_a_block, items, chunksize=3))
    places = SharedPlaces()
    for given in items:
        held = places.hold(given, True)
        assert is_shared(held) and order_of(held.dtype) == {OWN} and np.array_equal(held, given)
        assert order_of(places.hold(given, False).dtype) == {OTHER}


def test_memory_that_is_short_is_an_error_and_not_an_array_that_is_not_converted():
    def none(shape, dtype):
        raise pardata.CapacityError("full")

    for item in (numbers(5000), {"x": numbers(5000)}):
        with pytest.raises(pardata.CapacityError):
            as_native(item, none)


def test_what_needs_no_conversion_is_not_copied():
    for obj in ({"x": np.arange(3)}, [1], (np.zeros(3), threading.Lock()), np.arange(3), "text", Box(np.arange(3))):
        assert as_native(obj) is obj
    shared = numbers(3)
    made = as_native([shared, {"again": shared}])
    assert made[0] is made[1]["again"]


class Scaled(np.ndarray):
    """Forgets its scale where `astype` changes its dtype, as tables of astropy do; its pickle keeps it."""

    def __array_finalize__(self, obj):
        is_alike = isinstance(obj, Scaled) and obj.dtype == self.dtype
        self.scale = obj.scale if is_alike else 1

    def __reduce__(self):
        make, arguments, state = super().__reduce__()
        return make, arguments, (*state, self.scale)

    def __setstate__(self, state):
        super().__setstate__(state[:-1])
        self.scale = state[-1]


class Odd(Scaled):
    """Pickles in a way of its own."""

    def __reduce__(self):
        return scaled, (Odd, len(self), self.scale)


def scaled(kind, count, scale=5):
    made = numbers(count).view(kind)
    made.scale = scale
    return made


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("count", [3, 3000])
def test_a_subclass_keeps_what_astype_would_drop(engine, count):
    given = scaled(Scaled, count).reshape(-1, 3).T
    given.scale = 5
    stream = pardata.source([given], native=True)
    [made] = stream.iterate(engine=engine)
    assert (type(made), made.scale, order_of(made.dtype), made.tolist()) == (Scaled, 5, {OWN}, given.tolist())
    with pytest.raises(TypeError, match="a tests.conformance.test_byte_order.Odd would lose .*, np.asarray"):
        list(pardata.source([[scaled(Odd, count)]], native=True).iterate(engine=engine))


def test_scales_of_columns_of_a_fits_table_stay():
    fits = pytest.importorskip("astropy.io.fits")
    columns = [
        fits.Column("u", "I", bzero=32768, array=np.arange(3, dtype="u2")),
        fits.Column("x", "E", array=[1, 2, 3]),
    ]
    table = fits.FITS_rec.from_columns(columns)
    stored = io.BytesIO()
    fits.BinTableHDU(table).writeto(stored)
    table = fits.getdata(io.BytesIO(stored.getvalue()))
    made = as_native({"table": table})["table"]
    assert made["u"].tolist() == [0, 1, 2] and made["x"].tolist() == [1, 2, 3]
    assert order_of(made.dtype) == {OWN} and as_native(pickle.loads(pickle.dumps(made)))["u"].tolist() == [0, 1, 2]


def test_beside_what_cannot_be_pickled_the_rest_is_converted():
    lock = threading.Lock()
    made = as_native({"x": numbers(3), "lock": lock, "y": (numbers(3), lock)})
    assert order_of(made["x"].dtype) == order_of(made["y"][0].dtype) == {OWN} and made["lock"] is lock


def test_layout_and_attributes_stay():
    assert as_native(MAKERS["Fortran order"]()).flags.f_contiguous
    windows = as_native(MAKERS["sliding window"]())
    assert windows.strides == (8, 8) and not windows.flags.writeable
    assert as_native(MAKERS["dtype with metadata"]()).dtype.metadata == {"unit": "m"}
    masked = as_native(MAKERS["masked"]())
    assert masked.fill_value == 7 and masked.mask.tolist() == MAKERS["masked"]().mask.tolist()
