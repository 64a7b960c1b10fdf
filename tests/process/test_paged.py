"""Paged files between processes: read by workers, written by workers, writers killed in each window."""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pardata
from tests.process.page_writers import PAGE_ROWS, ROWS, write_page


@pytest.fixture
def path(tmp_path):
    with pardata.PagedFile.create(tmp_path / "a", item_shape=(10,), page_bytes=PAGE_ROWS * 80) as writer:
        writer.extend(ROWS)
    return tmp_path / "a"


def test_pages_go_to_workers_as_descriptors_and_rows_to_streams(path):
    with pardata.PagedFile(path) as file:
        assert len(pickle.dumps(file.pages()[3])) < 300
        sums = pardata.source(file.pages()).map(lambda page: (page.begin, page.open().sum(axis=1)), workers=2)
        assert np.array_equal(np.concatenate([part for _, part in sums]), ROWS.sum(axis=1))
        assert np.array_equal(list(pardata.source(file).map(lambda row: row.sum())), [row.sum() for row in ROWS])


def test_map_array_reads_whole_pages_in_the_workers(path):
    with pardata.PagedFile(path) as file, pardata.WorkerPool(2) as pool:
        seen = pool.map_array(lambda rows: np.full(len(rows), len(rows)), file)
        assert len(seen) == len(ROWS) and (seen % PAGE_ROWS == 0).all()
        assert np.array_equal(pool.map_array(lambda rows: rows * 2, file), ROWS * 2)
        assert np.array_equal(pool.map_array(lambda rows: rows * 2, file, chunksize=77), ROWS * 2)
        out = np.zeros(len(ROWS))
        assert pool.map_array(lambda rows: rows.sum(axis=1), file, out=out) is out
        assert np.array_equal(out, ROWS.sum(axis=1))


def test_a_forked_child_reads_too(path):
    with pardata.PagedFile(path) as file:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if np.array_equal(file[:], ROWS) else 1)
        assert np.array_equal(file[:], ROWS)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_forked_child_that_leaves_the_block_publishes_nothing(path):
    for is_alone in (False, True):
        with pardata.PagedFile.create(path, item_shape=(10,)) as writer:
            writer.extend(ROWS[:5])
            pid = os.fork()
            if pid == 0:
                with writer:
                    pass
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            with pardata.PagedFile(path) as file:
                assert len(file) == (10 if is_alone else len(ROWS))
            writer.extend(ROWS[5:10])
    with pardata.PagedFile(path) as file:
        assert np.array_equal(file[:], ROWS[:10])


def test_a_worker_that_comes_too_late_writes_into_no_published_file(path):
    with pardata.PagedFile.create(path, item_shape=(10,)) as writer:
        writer.extend(ROWS[:5])
        late = pickle.loads(pickle.dumps(writer.pages))
        late.write_page(7, ROWS[:5])  # a gap: it has the file open from now on
    size = path.stat().st_size
    for _ in range(2):
        with pytest.raises(pardata.ConfigError, match="its writer has finished"):
            late.write_page(1, ROWS[:5])
        with pardata.PagedFile.create(path, item_shape=(10,)):
            pass
    assert size > path.stat().st_size  # a new, empty one
    late.drop()


def test_threads_open_a_handle_once(path):
    handle = pickle.dumps(pardata.PagedFile(path))
    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            file, together = pickle.loads(handle), threading.Barrier(8)
            opened = set(threads.map(lambda _, f=file, b=together: (b.wait(), id(f._file()))[1], range(8)))
            assert len(opened) == 1


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("kind", ["array", "bytes"])
def test_workers_write_pages_and_are_killed_meanwhile(tmp_path, compression, kind):
    options = {"kind": kind, "compression": compression, "page_bytes": PAGE_ROWS * 80}
    options |= {"item_shape": (10,)} if kind == "array" else {}
    count = len(ROWS) // PAGE_ROWS
    with (
        pardata.WorkerPool(3) as pool,
        pardata.PagedFile.create(tmp_path / "b", **options) as writer,
    ):
        pages, flag = writer.pages, tmp_path / "killed"
        for entry in pool.map(lambda number: write_page(pages, kind, flag, number), range(count), chunksize=1):
            writer.add(entry)
    with pardata.PagedFile(tmp_path / "b") as file:
        assert file.page_count == count
        if kind == "array":
            assert np.array_equal(file[:], ROWS)
        else:
            assert list(file) == [row.tobytes() for row in ROWS]


WRITER = """
import os, signal, sys
import numpy as np
from pardata.files import paged_writer
from pardata import PagedFile

path, window = sys.argv[1:]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
rows = np.ones((300, 10))
open_writer = PagedFile(path).append if window == "appending" else lambda: PagedFile.create(path, item_shape=(10,))
if window == "appending":
    paged_writer._copy = die
with open_writer() as writer:
    writer.extend(rows)
    if window == "pages":
        die()
    if window == "meta":
        paged_writer.write_all = die
    if window == "header":
        write = paged_writer.write_all
        paged_writer.write_all = lambda fd, data, offset, path: write(fd, data, offset, path) if offset else die()
    if window == "in place":
        paged_writer.put_in_place = die
"""


@pytest.mark.parametrize("window", ["pages", "meta", "header", "in place", "appending", "never"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_writer_that_is_killed_leaves_the_old_file_or_none(path, window, is_there):
    if not is_there:
        if window == "appending":
            return
        path.unlink()
    done = subprocess.run([sys.executable, "-c", WRITER, path, window], check=False)
    assert done.returncode == (0 if window == "never" else -9)
    if window == "never":
        wanted = np.ones((300, 10))
    elif is_there:
        wanted = ROWS
    else:
        assert not path.exists()
        wanted = ROWS[:0]
    if path.exists():
        with pardata.PagedFile(path) as file:
            assert np.array_equal(file[:], wanted)
    with pardata.PagedFile.create(path, item_shape=(10,)) as writer:  # its lock is gone with it
        writer.extend(ROWS[:5])
    with pardata.PagedFile(path) as file:
        assert np.array_equal(file[:], ROWS[:5])
    assert [entry.name for entry in path.parent.iterdir()] == ["a"]
