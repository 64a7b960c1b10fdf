"""Datasets of HDF5: chunks of gzip are decompressed here, outside of HDF5's lock, and all others by HDF5."""

import itertools
import os
import pickle
import types
import zlib

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

from pardata.data import hdf5, hdf5_chunks  # noqa: E402
from pardata.data.hdf5 import adapt  # noqa: E402

SHAPE, CHUNKS = (23, 7), (4, 3)
GZIP = {"compression": "gzip"}


@pytest.fixture(params=["zlib", "libdeflate"])
def library(request, monkeypatch):
    """What decompresses, also small chunks."""
    if request.param == "libdeflate":
        monkeypatch.setattr(hdf5_chunks, "_libdeflate", pytest.importorskip("imagecodecs"))
    else:
        monkeypatch.setattr(hdf5_chunks, "_libdeflate", None)
    monkeypatch.setattr(hdf5_chunks, "_LEAST_BYTES", 1)


@pytest.fixture
def left(monkeypatch):
    """The parts that HDF5 had to read."""
    parts = []

    def read_chunks(*arguments):
        for part, place in hdf5_chunks.read_chunks(*arguments):
            parts.append(part)
            yield part, place

    monkeypatch.setattr(hdf5, "read_chunks", read_chunks)
    return parts


def values_of(dtype):
    return (np.random.default_rng(0).random(SHAPE) * 99).astype(dtype)


@pytest.mark.parametrize(
    ("options", "by_hdf5"),
    [
        (GZIP, False),
        (GZIP | {"compression_opts": 9, "shuffle": True}, False),
        (GZIP | {"compression_opts": 0}, False),
        (GZIP | {"fletcher32": True}, True),
        ({"compression": "lzf"}, True),
        ({}, True),
    ],
)
def test_values_are_those_of_hdf5(library, left, options, by_hdf5, tmp_path):
    """In any part and into any memory, also behind the last whole chunk."""
    dtypes = ["f4", ">i4", "?", "u1", ">f8", "f2"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for dtype in dtypes:
            file.create_dataset(dtype, data=values_of(dtype), chunks=CHUNKS, maxshape=(None, None), **options)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        for dtype in dtypes:
            values, array = values_of(dtype), adapt(file[dtype])
            left.clear()
            assert np.array_equal(array[...], values)
            assert left == ([(slice(0, 23), slice(0, 7))] if by_hdf5 else [])
            for rows, columns in itertools.product([(0, 4), (3, 9), (8, 23), (21, 22)], [(0, 7), (1, 6), (6, 7)]):
                part = slice(*rows), slice(*columns)
                assert np.array_equal(array[part], values[part])
                spread = np.zeros((46, 14), dtype)[::2, ::2][part]
                array.read_into(part, spread)
                assert np.array_equal(spread, values[part])


def test_parts_of_chunks_and_chunks_without_the_filter_are_read_by_hdf5(library, left, tmp_path):
    values = values_of("f4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", SHAPE, "f4", chunks=CHUNKS, fillvalue=7, **GZIP)
        dataset[4:] = values[4:]  # the first chunks are not there
        plain = np.ascontiguousarray(values[8:12, 3:6])
        dataset.id.write_direct_chunk((8, 3), plain.tobytes(), filter_mask=1)
    values[:4] = 7
    with h5py.File(tmp_path / "a.h5", "r") as file:
        array = adapt(file["x"])
        assert np.array_equal(array[...], values)
        assert [(part[0].start, part[1].start) for part in left] == [(0, 0), (0, 3), (0, 6), (8, 3)]
        left.clear()
        assert np.array_equal(array[5:12, 3:], values[5:12, 3:])
        assert [(part[0].start, part[1].start) for part in left] == [(5, 3), (5, 6), (8, 3)]


class Watched:
    """An identifier of a dataset that is not asked for what HDF5 goes through all chunks for."""

    def __init__(self, found):
        self._found = found

    def __getattr__(self, name):
        assert not name.startswith(("get_chunk_info", "get_num_chunks", "chunk_iter"))
        return getattr(self._found, name)


def test_the_time_for_a_chunk_does_not_depend_on_how_many_there_are(library, left, tmp_path):
    values = values_of("f4")
    long = zlib.compress(np.ascontiguousarray(values[4:8, :3]).tobytes()) + bytes(300)  # longer than any of HDF5
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", SHAPE, "f4", chunks=CHUNKS, data=values, **GZIP).id.write_direct_chunk((4, 0), long)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        array = adapt(file["x"])
        found = array._dataset
        array._dataset = types.SimpleNamespace(
            id=Watched(found.id), dtype=found.dtype, shape=SHAPE, chunks=CHUNKS, fillvalue=0,
            read_direct=found.read_direct,
        )  # fmt: skip
        assert np.array_equal(array[:, :3], values[:, :3])
        assert [part[0].start for part in left] == [4]


@pytest.mark.parametrize("name", ["data.h5", "raw"])
def test_a_checkpoint_compares_all_files_that_values_lie_in(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = values_of("f4")
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[:] = h5py.VirtualSource("data.h5", "x", SHAPE)
    with h5py.File("data.h5", "w") as file:
        file["x"] = values
    with h5py.File("a.h5", "w") as file:
        if name == "raw":
            file.create_dataset("x", SHAPE, "f4", external=[("raw", 0, h5py.h5f.UNLIMITED)])[:] = values
        else:
            file.create_virtual_dataset("x", layout)
        file["plain"] = values
    with h5py.File("a.h5", "r") as file:
        array, plain = adapt(file["x"]), adapt(file["plain"])
        before, other = array.age(), plain.age()
        assert before == pickle.loads(pickle.dumps(array)).age() and np.array_equal(array[...], values)
        if name == "data.h5":  # beside the dataset's own file, wherever the program stands
            (tmp_path / "sub").mkdir()
            monkeypatch.chdir("sub")
            with h5py.File(tmp_path / "a.h5", "r") as again:
                assert adapt(again["x"])._compared()["age"] == before and "_others" not in array._compared()
            monkeypatch.chdir(tmp_path)
        os.utime(name, (0, 0))
        assert array.age() != before and plain.age() == other


def test_a_dataset_that_nothing_was_written_to_has_its_fill_value(library, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("fixed", SHAPE, "f4", chunks=CHUNKS, fillvalue=7, **GZIP)
        file.create_dataset("growing", SHAPE, "f4", chunks=CHUNKS, maxshape=(None, 7), fillvalue=7, **GZIP)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        for name in file:
            assert (adapt(file[name])[...] == 7).all()


def test_a_damaged_chunk_is_an_error_of_hdf5(library, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", SHAPE, "f4", chunks=CHUNKS, data=values_of("f4"), **GZIP)
        dataset.id.write_direct_chunk((4, 0), b"x\x9c and nothing that was deflated")
    with h5py.File(tmp_path / "a.h5", "r") as file:
        array = adapt(file["x"])
        with pytest.raises(OSError, match=r"[Cc]an't"):
            array[...]
        assert np.array_equal(array[8:], file["x"][8:])


def test_a_virtual_dataset_finds_its_files_by_the_name_that_was_opened(tmp_path):
    """A folder of links to files in other folders: HDF5 has the fill value for files that it does not find."""
    for folder in ("links", "of the table", "of the data"):
        (tmp_path / folder).mkdir()
    virtual = h5py.VirtualLayout(SHAPE, "f4")
    virtual[:] = h5py.VirtualSource("data.h5", "x", SHAPE)
    with h5py.File(tmp_path / "of the data" / "data.h5", "w") as file:
        file["x"] = values_of("f4")
    with h5py.File(tmp_path / "of the table" / "all.h5", "w") as file:
        file.create_virtual_dataset("x", virtual, fillvalue=-1)
    for path in tmp_path.glob("of */*.h5"):
        (tmp_path / "links" / path.name).symlink_to(path)
    with h5py.File(tmp_path / "links" / "all.h5") as file:
        array = adapt(file["x"])
        sent = pickle.dumps(array)
    assert np.array_equal(pickle.loads(sent)[...], values_of("f4"))
    assert array.location == f"{tmp_path.resolve()}/of the table/all.h5:/x"  # the same by any name


def test_what_is_open_for_writing_is_read_by_hdf5(monkeypatch, tmp_path):
    """It knows which chunks it has in memory."""
    monkeypatch.setattr(hdf5, "read_chunks", None)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", SHAPE, "f4", chunks=CHUNKS, data=values_of("f4"), **GZIP)
        array = adapt(dataset)
        dataset[3] = 5
        assert (array[3] == 5).all()
