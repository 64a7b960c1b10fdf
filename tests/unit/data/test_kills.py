"""A main process that is killed at a line of a sink: a new file is whole or absent, one that is there can be read."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import pardata
from tests.conformance.data_formats import read_all, values_of
from tests.faults.interrupting import interrupt_at, lines_of

NO_WRITERS = ("registry.py", "file_array.py")
STEP = 2  # by hand 1: a kill takes 20 ms
LIBRARIES = {".h5": "h5py", ".tif": "tifffile"}  # of formats that one process writes


def lines_of_writer(write, folder):
    """Return every other line of the adapters that a call comes to while there is a file, when they were imported."""
    write()
    lines = lines_of(write, lambda: any(folder.iterdir()))[1]
    lines = [line for line in lines if Path(line[0]).parent.name == "data" and Path(line[0]).name not in NO_WRITERS]
    return lines[::STEP]


def killed_at(line, write):
    """Call a function in a child that is killed when it comes to a line."""
    pid = os.fork()
    if not pid:
        interrupt_at(line, write, signal.SIGKILL)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(("ending", "compression"), [(".h5", "gzip"), (".tif", None), (".tif", "zlib")])
def test_a_new_file_of_a_killed_process_is_whole_or_absent(ending, compression, tmp_path):
    pytest.importorskip(LIBRARIES[ending])
    values, path = values_of((3, 8, 4)), tmp_path / f"new{ending}"

    def write():
        path.unlink(missing_ok=True)
        pardata.source(values).to(path, compression=compression).run(engine="serial")

    whole = 0
    for line in lines_of_writer(write, tmp_path):
        killed_at(line, write)
        if path.exists():
            assert np.array_equal(read_all(path), values), line
            whole += 1
        for left in tmp_path.glob(f".new*{ending}"):
            left.unlink()
    assert whole


def test_a_dataset_that_is_there_has_old_rows_and_new_ones(tmp_path):
    h5py = pytest.importorskip("h5py")
    values, path = values_of((6, 8)), tmp_path / "a.h5"

    def make():
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=-values, chunks=(2, 8), compression="gzip")

    def write():
        with h5py.File(path, "r+") as file:
            pardata.source(values).to(file["x"]).run(engine="serial")

    make()
    for line in lines_of_writer(write, tmp_path):
        make()
        killed_at(line, write)
        found = read_all(path)
        new = (found == values).all(axis=1)
        assert np.array_equal(found[~new], -values[~new]), line
