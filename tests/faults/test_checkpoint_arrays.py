"""`map_array` with a checkpoint goes on after each kind of end, and the file is that of an undisturbed call."""

import functools
import os

import numpy as np
import pytest

import pardata
from pardata.checkpoint import folder as folders
from tests.faults.cuts import ENDS, end_at_each_step

ROWS = np.arange(600.0).reshape(60, 10)


def half(block):
    return block / 2


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(folders, "CUT_S", 0.0)
    monkeypatch.setattr(folders, "COST", 0)


def map_rows(folder, fn=half, rows=ROWS, out="x.npy", kind="thread", **options):
    with pardata.WorkerPool(1, kind=kind) as pool:
        return np.array(pool.map_array(fn, rows, out=f"{folder}/{out}", checkpoint=f"{folder}/c", **options))


@pytest.mark.parametrize("end", ENDS)
def test_ended_at_any_step_it_goes_on(make_folder, tmp_path, end):
    np.save(tmp_path / "whole.npy", half(ROWS))
    whole = (tmp_path / "whole.npy").read_bytes()

    def job(folder):
        map_rows(folder, chunksize=30)

    def check(folder):
        with open(f"{folder}/x.npy", "rb") as file:
            assert file.read() == whole
        assert sorted(os.listdir(folder)) == ["c", "x.npy"]

    assert end_at_each_step(make_folder, job, check, end) > 10


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_rows_that_were_done_are_not_done_again(make_folder, kind):
    folder = make_folder()

    def noted(block):
        with open(f"{folder}/calls", "a") as calls:
            calls.write(f"{int(block[0, 0])}\n")
        if block[0, 0] == 400 and not os.path.exists(f"{folder}/repaired"):
            raise ValueError("not yet")
        return half(block)

    def calls():
        with open(f"{folder}/calls") as file:
            return [int(line) for line in file]

    with pytest.raises(ValueError, match="not yet"):
        map_rows(folder, noted, kind=kind, chunksize=10)
    before = calls()
    open(f"{folder}/repaired", "w").close()
    assert np.array_equal(map_rows(folder, noted, kind=kind, chunksize=5), half(ROWS))
    again = calls()[len(before) :]
    assert 400 in before and 0 not in again and 300 not in again and 400 in again
    assert np.array_equal(map_rows(folder, noted, kind=kind), half(ROWS))
    assert len(calls()) == len(before) + len(again)
    map_rows(folder, noted, kind=kind, restart=True)
    assert 0 in calls()[len(before) + len(again) :]


def test_another_job_is_refused(make_folder, monkeypatch):
    folder = make_folder()
    map_rows(folder)
    with pytest.raises(pardata.ConfigError, match="the function 'half'.* changed"):
        map_rows(folder, np.sqrt)
    with monkeypatch.context() as patched:
        patched.setattr(folders, "_PYTHON", "3.99")
        with pytest.raises(pardata.ConfigError, match=r"begun by Python 3\.\d+ \(for 3\.99"):
            map_rows(folder, np.sqrt)
    with pytest.raises(pardata.ConfigError, match="array 0 changed"):
        map_rows(folder, rows=ROWS + 1)
    with pytest.raises(pardata.ConfigError, match="out changed"):
        map_rows(folder, out="y.npy")
    with pytest.raises(pardata.ConfigError, match="axis, halo or dtype changed"):
        map_rows(folder, halo=1)
    with pardata.WorkerPool(1, kind="thread") as pool:
        with pytest.raises(pardata.ConfigError, match="needs the path"):
            pool.map_array(half, ROWS, checkpoint=f"{folder}/c")
        with pytest.raises(pardata.ConfigError, match="restart=True goes with"):
            pool.map_array(half, ROWS, restart=True)
    assert np.array_equal(map_rows(folder), half(ROWS))
    os.unlink(f"{folder}/x.npy")
    with pytest.raises(pardata.ConfigError, match=r"x\.npy.* is gone"):
        map_rows(folder)
    assert np.array_equal(map_rows(folder, np.sqrt, restart=True), np.sqrt(ROWS))


def test_a_folder_with_other_files_and_one_in_use_are_refused(make_folder):
    folder = make_folder()
    os.mkdir(f"{folder}/c")
    with open(f"{folder}/c/letter.txt", "w") as file:
        file.write("dear")
    for restart in (False, True):
        with pytest.raises(pardata.ConfigError, match=r"holds 'letter\.txt'"):
            map_rows(folder, restart=restart)
    assert os.listdir(f"{folder}/c") == ["letter.txt"]
    with pytest.raises(pardata.ConfigError, match="must be the path of a folder"):
        folders.Folder("", "map_array", [])
    os.unlink(f"{folder}/c/letter.txt")
    held = folders.Folder(f"{folder}/c", "map_array", [])
    with pytest.raises(pardata.ConfigError, match="is being used by process"):
        map_rows(folder)
    held.close()
    with pytest.raises(pardata.ConfigError, match="there is no folder"):
        folders.Folder(f"{folder}/none/c", "map_array", [])


def test_nothing_and_one_row(make_folder):
    for rows in (ROWS[:0], ROWS[:1]):
        folder = make_folder()
        for _ in range(2):
            assert np.array_equal(map_rows(folder, rows=rows), half(rows))


def fails_at(row, fn):
    """Return a function that fails at a row until somebody has repaired it."""

    def made(block, folder):
        if block[0, 0] >= 10 * row and not os.path.exists(f"{folder}/repaired"):
            raise ValueError("not yet")
        return fn(block)

    return made


def test_two_jobs_that_have_begun_one_file_do_not_share_it(make_folder):
    folder = make_folder()
    with pardata.WorkerPool(1, kind="thread") as pool:

        def run(fn, name):
            fn = functools.partial(fn, folder=folder)
            path = f"{folder}/x.npy"
            return pool.map_array(fn, ROWS, out=path, checkpoint=f"{folder}/{name}", chunksize=10)

        jobs = [(fails_at(30, half), "a"), (fails_at(40, np.negative), "b")]
        for fn, name in jobs:
            with pytest.raises(ValueError, match="not yet"):
                run(fn, name)
        open(f"{folder}/repaired", "w").close()
        assert np.array_equal(run(*jobs[0]), half(ROWS))
        assert np.array_equal(run(*jobs[1]), -ROWS)
        with pytest.raises(pardata.ConfigError, match=r"x\.npy.* was replaced by another file"):
            run(*jobs[0])
        run(*jobs[1])[:] = 0
        assert not run(*jobs[1]).any()  # it is the user's file: what was changed in it stays so


def test_a_file_that_was_cut_is_refused(make_folder):
    folder = make_folder()
    fn = functools.partial(fails_at(30, half), folder=folder)
    with pytest.raises(ValueError, match="not yet"):
        map_rows(folder, fn, chunksize=10)
    (begun,) = (name for name in os.listdir(folder) if name.endswith(".begun"))
    os.truncate(f"{folder}/{begun}", 1000)
    open(f"{folder}/repaired", "w").close()
    with pytest.raises(pardata.ConfigError, match=r"begun.*was cut"):
        map_rows(folder, fn, chunksize=10)
    assert np.array_equal(map_rows(folder, fn, chunksize=10, restart=True), half(ROWS))
    assert sorted(os.listdir(folder)) == ["c", "repaired", "x.npy"]
