"""Streams from and to arrays in files, of each format and on each engine."""

import fcntl
import gc
import os
import pickle
import signal

import numpy as np
import pytest

import pardata
from pardata.data.registry import file_array
from tests.conformance.data_formats import (
    CHUNKS,
    KINDS,
    LIBRARIES,
    SHAPE,
    each_kind,
    is_there,
    read_all,
    values_of,
    warm_up,
)

ENGINES = ("serial", "threads", "processes")
TRICKIEST = ["zarr shards", "hdf5 gzip", "tiff ome"]
# Each worker imports the library, which takes a second or two: for processes the kinds that have most to go wrong.
EACH, WRITTEN = (
    [
        pytest.param(*kind.values, engine, id=f"{kind.id}-{engine}", marks=kind.marks)
        for kind in each_kind(is_written=is_written)
        for engine in ENGINES
        if engine != "processes" or kind.id in TRICKIEST
    ]
    for is_written in (False, True)
)


@pytest.fixture(autouse=True)
def collected(request):
    """Have arrays of xarray collected, which are in cycles: the last one closes the file."""
    yield
    if "netcdf" in request.node.name:
        gc.collect()


@pytest.fixture(scope="module", autouse=True)
def warm():
    """Start what the libraries start once."""
    warm_up()


def is_equal(items, expected):
    return all(np.array_equal(one, other) for one, other in zip(items, expected, strict=True))


@pytest.mark.parametrize(("kind", "engine"), EACH)
def test_rows_and_parts_of_an_array(kind, engine, tmp_path):
    values = kind.values()
    array = kind.save(tmp_path / f"in{kind.ending}", values)

    def items(**options):
        return pardata.source(array, **options).map(np.negative).iterate(engine=engine)

    assert is_equal(items(), -values)
    assert is_equal(items(by=9, axis=-3, workers=2), [-values[at : at + 9] for at in range(0, 50, 9)])
    assert is_equal(items(by=3, workers=2), [-values[at : at + 3] for at in range(0, 50, 3)])
    if engine != "processes":  # a run of processes takes longer, and these differ in nothing that an engine does
        assert is_equal(items(axis=1), -np.moveaxis(values, 1, 0))
        assert is_equal(items(workers=2), -values)
        assert is_equal(items(axis=2, workers=2), -np.moveaxis(values, 2, 0))
        assert is_equal(items(by=4, axis=1), [-values[:, :4], -values[:, 4:]])
        assert is_equal(items(by=1, axis=1), [-values[:, at : at + 1] for at in range(6)])
        if "chunks" in kind.options:
            chunks = [-values[x : x + 7, y : y + 4] for x in range(0, 50, CHUNKS[0]) for y in range(0, 6, CHUNKS[1])]
            assert is_equal(items(by="chunk"), chunks)


@pytest.mark.parametrize(("by", "workers", "reads"), [(1, 1, 8), (3, 2, 6), (7, 2, 8), (None, 1, 8)])
@pytest.mark.parametrize("kind", each_kind(is_written=True))
def test_a_chunk_is_not_read_for_each_of_its_rows(kind, by, workers, reads, tmp_path):
    array, parts = kind.save(tmp_path / f"in{kind.ending}", kind.values()), []

    class Counted(type(file_array(array))):
        def read_into(self, selection, out):
            parts.append(selection)
            super().read_into(selection, out)

    blocks = list(pardata.source(Counted(array), by=by, workers=workers).iterate(engine="serial"))
    assert len(parts) == (reads if kind.options else 1)
    assert is_equal(blocks, kind.values() if by is None else [kind.values()[at : at + by] for at in range(0, 50, by)])


@pytest.mark.parametrize(("kind", "engine"), WRITTEN)
def test_a_sink_writes_rows_and_blocks_in_order(kind, engine, tmp_path):
    values = kind.values()
    target = kind.create(tmp_path / f"out{kind.ending}")
    pardata.source(values, by=9).map(np.negative).to(target).run(engine=engine)
    assert np.array_equal(target[...], -values)
    pardata.source(values).to(target).run(engine=engine)
    assert np.array_equal(target[...], values)
    if engine != "processes":
        for wrong, message in (
            (values[:49], "has 50 rows, and got 49"),
            (np.concatenate([values, values]), "has 50 rows, and got more"),
            (values[:, :3], "row 0 .* has shape"),
            (values * 1j, "row 0 .* is of complex"),
        ):
            with pytest.raises(ValueError, match=message):
                pardata.source(wrong).to(target).run(engine=engine)
    kind.close(target)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ending", [ending for ending, library in LIBRARIES.items() if is_there(library)])
def test_a_new_file_appears_whole_or_not_at_all(ending, engine, tmp_path):
    values, path = values_of(), str(tmp_path / f"new{ending}")
    key = "deep/inside" if ending == ".h5" else None

    def fail_at(row):
        return row if row[0, 0] < 700 else 1 // 0

    with pytest.raises(ZeroDivisionError):
        pardata.source(values).map(fail_at).to(path, key=key).run(engine=engine)
    assert os.listdir(tmp_path) == []
    report = pardata.source(values).map(np.negative).to(path, key=key).run(engine=engine)
    assert report.stages[-1].name == f"new{ending}" and os.listdir(tmp_path) == [f"new{ending}"]
    assert np.array_equal(read_all(path, key), -values)
    with pytest.raises(pardata.ConfigError, match="is there already"):
        pardata.source(values).to(path).run(engine=engine)
    with pytest.raises(pardata.ConfigError, match="key= names|has no key"):
        pardata.source(values).to([] if ending == ".h5" else str(tmp_path / f"x{ending}"), key="a")
    if ending == ".tif":
        return
    pardata.source(values[:0]).to(str(tmp_path / f"none{ending}")).run(engine=engine)
    assert pardata.open(tmp_path / f"none{ending}").shape == (0,)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", [kind for kind in each_kind() if kind.id in TRICKIEST])
def test_a_reader_that_is_killed_is_replaced(kind, workers, tmp_path):
    values, flag = kind.values(), tmp_path / "killed"
    array = kind.save(tmp_path / f"in{kind.ending}", values)

    class Fragile(type(file_array(array))):
        def read_into(self, selection, out):
            if selection[0].stop > 20 and not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            super().read_into(selection, out)

    assert is_equal(pardata.source(Fragile(array), workers=workers).map(np.negative), -values)
    assert flag.exists()


def test_what_is_no_array_is_told():
    values = values_of()
    for options, message in (
        ({"by": "chunk"}, "has no chunks"),
        ({"by": 0}, "by must be an int of at least 1"),
        ({"axis": 3}, "no such axis"),
        ({"workers": 2}, "workers read arrays in files"),
    ):
        with pytest.raises(pardata.ConfigError, match=message):
            pardata.source(values, **options)
    with pytest.raises(pardata.ConfigError, match="these go with arrays"):
        pardata.source([1, 2], by=2)
    assert is_equal(pardata.source(values, axis=1).iterate(engine="serial"), np.moveaxis(values, 1, 0))


@pytest.mark.skipif(not is_there("zarr"), reason="not installed")
def test_what_is_in_memory_goes_to_threads_only():
    import zarr

    array = zarr.create_array(zarr.storage.MemoryStore(), shape=SHAPE, dtype="f4", chunks=CHUNKS)
    array[...] = values_of()
    assert is_equal(pardata.source(array).iterate(engine="threads"), values_of())
    with pytest.raises(pardata.ConfigError, match="in the memory of this process"):
        pardata.source(array).run()


@pytest.mark.skipif(not is_there("h5py"), reason="not installed")
def test_hdf5_says_who_holds_a_file(tmp_path):
    import h5py

    kind, path = KINDS[3], tmp_path / "a.h5"
    array = kind.save(path, values_of())
    stream = pardata.source(array)
    array.file.close()
    with pytest.raises(pardata.ConfigError, match="was closed"):
        pardata.source(array)
    with h5py.File(path, "r+") as file:
        with pytest.raises(BlockingIOError, match="is locked by HDF5.*must close"):
            stream.run()
        with pytest.raises(pardata.ConfigError, match="open for writing"):
            pardata.source(file["data"]).run()
    in_memory = h5py.File("x", "w", driver="core", backing_store=False)
    made = in_memory.create_dataset("data", data=values_of())
    assert is_equal(pardata.source(made).iterate(engine="serial"), values_of())
    with pytest.raises(pardata.ConfigError, match="by the driver 'core'"):
        pardata.source(made).run()
    in_memory.close()


@pytest.mark.skipif(not is_there("h5py"), reason="not installed")
def test_hdf5_is_opened_again_as_it_was(tmp_path):
    """Without locks, as on disks that have none; and beside a writer (SWMR), which makes the dataset longer."""
    import h5py

    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as writer:
        rows = writer.create_dataset("rows", (4, 3), "f4", chunks=(2, 3), maxshape=(None, 3), fillvalue=1)
        writer.swmr_mode = True
        sent = pickle.dumps(file_array(rows))
        rows.resize((6, 3))
        rows.flush()
        assert np.array_equal(pickle.loads(sent)[:], np.ones((4, 3)))
        rows.resize((2, 3))
        rows.flush()
        with pytest.raises(pardata.StaleBlockError, match="replaced or resized"):
            pickle.loads(sent)[:]
    for locking in (True, False, "best-effort"):
        with h5py.File(path, "r", locking=locking) as file:
            sent = pickle.dumps(file_array(file["rows"]))
        with open(path) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not locking:
                assert pickle.loads(sent)[:].shape == (2, 3)
                continue
            with pytest.raises(BlockingIOError, match="is locked by HDF5"):
                pickle.loads(sent)[:]


@pytest.mark.parametrize("shape", [(7, 3), (7, 0), (0, 3)])
def test_rows_within_chunks_are_counted_before_anything_starts(tmp_path, shape):
    """They are the rows that an array in memory has, also those without entries."""
    zarr = pytest.importorskip("zarr")
    values = np.arange(np.prod(shape)).reshape(shape)
    made = zarr.create_array(tmp_path / "rows.zarr", shape=shape, chunks=(3, 3), dtype=values.dtype)
    made[:] = values
    for options in ({}, {"workers": 2}, {"by": 2}, {"by": 2, "workers": 2}, {"axis": 1}, {"by": 5}, {"by": "chunk"}):
        stream = pardata.source(made, **options)
        found = list(stream.iterate(engine="serial"))
        if options.get("by") != "chunk":
            here = list(pardata.source(values, **{**options, "workers": 1}).iterate(engine="serial"))
            assert list(map(np.ndarray.tolist, found)) == list(map(np.ndarray.tolist, here))
        with pytest.raises(pardata.PlanError, match=f" {len(found)}, 'source' {len(found) + 1}: cut"):
            pardata.zip(stream, pardata.source(range(len(found) + 1)), by="position").run()
