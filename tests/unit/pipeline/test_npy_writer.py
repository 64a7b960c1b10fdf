"""The writer of a file, when the run before has begun the file."""

import os

import numpy as np
import pytest

import pardata
from pardata.pipeline.npy_writer import NpyWriter


def test_a_file_that_was_begun_is_not_removed_before_it_is_begun_again(tmp_path, monkeypatch):
    part = f"{tmp_path}/x.begun"
    assert list(NpyWriter(f"{tmp_path}/x.npy", part)(iter([1, 2, 3, 4]))) == []
    monkeypatch.delattr(os, "unlink")  # a kill behind it would leave a checkpoint without its file
    assert list(NpyWriter(f"{tmp_path}/x.npy", part)(iter([1.5]))) == []
    assert np.load(part).tolist() == [1.5] and os.listdir(tmp_path) == ["x.begun"]


@pytest.fixture
def writes(monkeypatch):
    """The lengths of what is written."""
    made, write = [], os.write
    monkeypatch.setattr(os, "write", lambda fd, data: made.append(len(data)) or write(fd, data))
    return made


def test_small_rows_are_written_together_and_large_ones_by_themselves(tmp_path, writes):
    rows = np.arange(5 * 50_000.0).reshape(5, 50_000)
    for items in (range(100_000), rows, [rows[0], rows[1]], [np.empty((0, 3))] * 4, []):
        writes.clear()
        assert list(NpyWriter(f"{tmp_path}/x.npy")(iter(items))) == []
        made = np.load(f"{tmp_path}/x.npy")
        assert np.array_equal(made, np.array(items).reshape(made.shape)) and len(made) == len(items)
        assert len(writes) <= 6


def test_all_rows_of_a_snapshot_are_in_the_file(tmp_path, writes):
    writer = NpyWriter(f"{tmp_path}/x.npy", f"{tmp_path}/x.part")
    states = []

    def items():
        for number in range(1, 7):
            yield number
            if not number % 3:
                states.append((writer.snapshot(), os.path.getsize(writer.part) // 8))

    assert list(writer(items())) == []
    header = os.path.getsize(writer.part) // 8 - 6
    assert [(state[0], length - header) for state, length in states] == [(3, 3), (6, 6)] and len(writes) == 3
    writer = NpyWriter(writer.path, writer.part)
    writer.restore(states[0][0])
    assert list(writer(iter([40]))) == [] and np.load(writer.part).tolist() == [1, 2, 3, 40]


def test_a_file_that_cannot_be_made_is_refused_before_anything_starts(tmp_path, monkeypatch):
    folder, taken = tmp_path / "folder", tmp_path / "taken.npy"
    folder.mkdir()
    taken.mkdir()
    stream = pardata.source([1, 2])
    later = stream.map(pytest.fail).to(folder / "x.npy")
    folder.rmdir()
    with pytest.raises(pardata.ConfigError, match="no such directory"):  # it is gone since
        later.run(engine="serial")
    for path, words in (
        (folder / "x.npy", "no such directory"),
        (taken, "taken.npy is a directory: give the name"),
        (f"~{folder}/x.npy", "no such directory .*expanduser does that"),
        (tmp_path / "x\0.npy", "holds no NUL character"),
        (tmp_path / f"{'x' * 252}.npy", "the name is too long"),
    ):
        with pytest.raises(pardata.ConfigError, match=words):
            stream.to(path)
        with pardata.WorkerPool(1, kind="thread") as pool, pytest.raises(pardata.ConfigError, match=words):
            pool.map_array(pytest.fail, np.ones(3), out=path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # whoever runs the tests may write everywhere
    with pytest.raises(pardata.ConfigError, match="no files may be made in that directory"):
        stream.to(tmp_path / "x.npy")
    assert os.listdir(tmp_path) == ["taken.npy"]
