"""Arrays of TensorStore beside what the conformance suite asks of every format: views, other drivers, refusals."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import pardata
from pardata.data.registry import file_array
from tests.conformance.data_formats import SHAPE, values_of

ts = pytest.importorskip("tensorstore")


def opened(folder, driver="zarr3", **options):
    """Return a new array of a driver."""
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{folder / driver}/"}}
    made = ts.open(spec, create=True, dtype=ts.float32, shape=SHAPE, **options).result()
    made[...] = values_of()
    return made


@pytest.mark.parametrize("driver", ["zarr", "zarr3", "n5"])
def test_an_array_and_its_views_are_opened_again(tmp_path, driver):
    store, values = opened(tmp_path, driver), values_of()
    for view, expected in (
        (store, values),
        (store[5:40], values[5:40]),
        (store[3:40:2, 1:][ts.d[0].label["t"]], values[3:40:2, 1:]),
        (store[ts.d[:].translate_by[-7]], values),
        (store.transpose([2, 0, 1]), values.transpose(2, 0, 1)),
        (store[4], values[4]),
        (store.astype(ts.float64), values.astype("f8")),
        (ts.stack([store[4], store[9]]), values[[4, 9]]),
    ):
        array = file_array(view)
        again = pickle.loads(pickle.dumps(array))
        for found in (array, again):
            assert found.dtype == expected.dtype and found.shape == expected.shape
            assert np.array_equal(found[:], expected) and np.array_equal(found[1:3, -2:], expected[1:3, -2:])
    again = pickle.loads(pickle.dumps(file_array(store[10:20, 2:])))
    again[2:4, 1:2] = values[:2, :1]
    assert np.array_equal(np.asarray(store[12:14, 3:4]), values[:2, :1])


def test_calls_get_chunks_and_outputs_shards(tmp_path):
    store = opened(tmp_path, chunk_layout=ts.ChunkLayout(read_chunk_shape=(7, 4, 4), write_chunk_shape=(14, 8, 4)))
    array = file_array(store)
    assert (array.page_shape, array.unit_shape) == ((7, 4, 4), (14, 6, 4))
    with pardata.WorkerPool(2, kind="thread") as pool, pytest.raises(pardata.ConfigError, match="two workers would"):
        pool.map_array(np.sqrt, values_of(), out=store, chunksize=7)
    chunks = list(pardata.source(store, by="chunk").iterate(engine="serial"))
    assert len(chunks) == 16 and np.array_equal(chunks[3], values_of()[7:14, 4:])


def test_a_relative_path_is_that_of_the_process_that_opened_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(file_array(opened(Path())))
    monkeypatch.chdir("/")
    assert np.array_equal(pickle.loads(sent)[:], values_of())


def test_what_other_processes_cannot_open_is_told(tmp_path):
    in_memory = ts.open({"driver": "zarr3", "kvstore": "memory://"}, create=True, dtype=ts.int8, shape=(4,)).result()
    in_memory[...] = 3
    transaction = ts.Transaction()
    uncommitted = opened(tmp_path).with_transaction(transaction)
    computed = ts.virtual_chunked(lambda domain, chunk, options: chunk.fill(3), dtype=ts.int8, shape=[4])
    for store, message in (
        (in_memory, "in the memory of this process"),
        (ts.array(np.arange(4)), "in the memory of this process"),
        (ts.stack([in_memory, in_memory]), "in the memory of this process"),
        (computed, "it is computed by functions"),
        (uncommitted, "it is in a transaction"),
    ):
        array = file_array(store)
        assert np.array_equal(array[:], np.asarray(store))
        with pytest.raises(pardata.ConfigError, match=message):
            pickle.dumps(array)
    with pardata.WorkerPool(2, kind="thread") as pool:
        pool.map_array(np.negative, np.arange(4, dtype="i1"), out=in_memory)
    assert np.asarray(in_memory).tolist() == [0, -1, -2, -3]
    future = ts.open(opened(tmp_path, "n5").spec())
    for found, way in ((future, "future.result"), (in_memory.spec(), r"tensorstore.open\(spec\)")):
        with pytest.raises(pardata.ConfigError, match=f"is no array yet: give what {way}"):
            pardata.source(found)
    texts = ts.array(np.array(["a", "bc"], object))
    with pytest.raises(pardata.ConfigError, match="Python objects"):
        file_array(texts)
