"""The sink that writes to an array in a file, in a run that goes on: what lies behind the cut may be torn."""

import os
from pathlib import Path

import numpy as np
import pytest

from pardata.data.registry import file_array
from pardata.pipeline.file_sink import FileSink
from tests.conformance.data_formats import warm_up

zarr = pytest.importorskip("zarr")
ROWS = np.random.default_rng(1).random((14, 6, 25_000))  # three rows are a chunk of a new file


@pytest.fixture(scope="module", autouse=True)
def started():
    warm_up()


def tear(*paths):
    for path in paths:
        os.truncate(path, os.path.getsize(path) // 2)


def test_a_torn_shard_is_not_read(tmp_path):
    rows = ROWS[:, :, :10]
    array = zarr.create_array(tmp_path / "x.zarr", shape=rows.shape, chunks=(2, 3, 10), shards=(8, 6, 10), dtype="f8")
    array[:] = 1
    tear(*(path for path in Path(tmp_path, "x.zarr", "c").rglob("*") if path.is_file()))
    sink = FileSink(file_array(zarr.open_array(tmp_path / "x.zarr", mode="r+"))).going_on("")
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
