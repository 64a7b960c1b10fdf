"""The sink that writes to an array in a file, in a run that goes on: what lies behind the cut may be torn."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import pardata
from pardata.data.registry import file_array
from pardata.pipeline.file_sink import FileSink
from tests.conformance.data_formats import warm_up

zarr = pytest.importorskip("zarr")
ROWS = np.random.default_rng(1).random((14, 6, 25_000))  # three rows are a chunk of a new file


@pytest.fixture(scope="module", autouse=True)
def started():
    warm_up()
    if find_spec("fsspec"):
        from fsspec.asyn import get_loop

        get_loop()  # its thread stays


def tear(*paths):
    for path in paths:
        os.truncate(path, os.path.getsize(path) // 2)


needs_fsspec = pytest.mark.skipif(find_spec("fsspec") is None, reason="not installed")


@pytest.mark.parametrize("url", ["", pytest.param("file://", marks=needs_fsspec)])
def test_a_torn_shard_is_not_read(tmp_path, url):
    rows = ROWS[:, :, :10]
    array = zarr.create_array(tmp_path / "x.zarr", shape=rows.shape, chunks=(2, 3, 10), shards=(8, 6, 10), dtype="f8")
    array[:] = 1
    tear(*(path for path in Path(tmp_path, "x.zarr", "c").rglob("*") if path.is_file()))
    sink = FileSink(file_array(zarr.open_array(f"{url}{tmp_path}/x.zarr", mode="r+"))).going_on("")
    assert list(sink(iter(rows))) == [] and np.array_equal(array[:], rows)


def test_a_new_file_is_that_of_the_cut(tmp_path):
    path, part = f"{tmp_path}/x.zarr", f"{tmp_path}/x.begun"
    sink, states = FileSink(path).going_on(part), []

    def items():
        for number, row in enumerate(ROWS):
            if number == 7:
                states.append(sink.snapshot())
            yield row

    assert list(sink(items())) == [] and np.array_equal(zarr.open_array(part)[:], ROWS)
    ((written, held, _),) = states
    assert written and len(held) and written + len(held) == 7
    rows_of_chunk = zarr.open_array(part).chunks[0]
    chunks = [file for file in Path(part, "c").rglob("*") if file.is_file()]
    behind = [file for file in chunks if int(file.relative_to(f"{part}/c").parts[0]) >= written // rows_of_chunk]
    assert 0 < len(behind) < len(chunks)
    tear(f"{part}/zarr.json", *behind)
    again = FileSink(path).going_on(part)
    again.restore(states[0])
    assert list(again(iter(ROWS[7:]))) == [] and np.array_equal(zarr.open_array(part)[:], ROWS)


def test_where_no_more_rows_come_the_description_is_on_the_disk(tmp_path, monkeypatch):
    path, part = f"{tmp_path}/x.zarr", f"{tmp_path}/x.begun"
    sink, states, flushed, fsync = FileSink(path).going_on(part), [], [], os.fsync

    def items():
        yield from ROWS[:6]
        states.append(sink.snapshot())

    assert list(sink(items())) == [] and states[0][0] == 6
    monkeypatch.setattr(os, "fsync", lambda fd: (flushed.append(os.fstat(fd).st_ino), fsync(fd)))
    again = FileSink(path).going_on(part)
    again.restore(states[0])
    assert list(again(iter(()))) == [] and np.array_equal(zarr.open_array(part)[:], ROWS[:6])
    assert os.stat(f"{part}/zarr.json").st_ino in flushed


def test_too_few_rows_leave_the_others_of_their_chunk(tmp_path):
    array = zarr.create_array(tmp_path / "x.zarr", shape=(10,), chunks=(4,), dtype="f8")
    array[:] = 7
    sink = FileSink(file_array(array)).going_on("")
    with pytest.raises(ValueError, match="has 10 rows, and got 5"):
        list(sink(iter(np.zeros(5))))
    assert array[:].tolist() == [0] * 5 + [7] * 5


@needs_fsspec
def test_a_store_elsewhere_has_no_files_in_the_working_directory(tmp_path, monkeypatch):
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.local import LocalFileSystem

    elsewhere = zarr.storage.FsspecStore(
        AsyncFileSystemWrapper(DirFileSystem(tmp_path, LocalFileSystem(auto_mkdir=True)), asynchronous=True),
        path="x.zarr",
    )
    zarr.create_group(tmp_path / "here.zarr")
    monkeypatch.chdir(tmp_path / "here.zarr")
    for store in (elsewhere, zarr.storage.FsspecStore.from_url(f"file://{tmp_path}/y.zarr", {"auto_mkdir": True})):
        array = zarr.create_array(store, shape=(6,), chunks=(2,), dtype="f8")
        assert list(FileSink(file_array(array)).going_on("")(iter(np.arange(6.0)))) == []
        assert array[:].tolist() == [0, 1, 2, 3, 4, 5]


def test_rows_of_another_byte_order(tmp_path):
    rows = np.arange(6).astype(">i4").reshape(2, 3)
    assert list(FileSink(f"{tmp_path}/x.zarr")(iter(rows))) == []
    assert np.array_equal(zarr.open_array(tmp_path / "x.zarr")[:], rows)


def test_a_url_is_refused_as_what_it_is():
    with pytest.raises(pardata.ConfigError, match="^s3://bucket/x.zarr: a new file is made in a folder"):
        pardata.source([1]).map(abs).to("s3://bucket/x.zarr")
