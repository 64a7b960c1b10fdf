"""A full disk: whatever writes a file raises `OSError` with its path, and leaves nothing that was begun."""

import json
import shutil
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest

MOUNT = "mount -t tmpfs -o size=1m tmpfs /mnt"

pytestmark = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-m", "sh", "-c", MOUNT], capture_output=True, check=False).returncode != 0,
    reason="this machine does not let us mount a file system of our own",
)

SCRIPT = """
    import json, os, shutil, sys
    import numpy as np
    import pardata
    from pardata.files import write_pieces

    HUGE = np.ones((1000, 1000))

    def writer():
        with pardata.Writer("/mnt/w.db", ["n", "t"], key="n") as writer:
            for i in range(100):
                writer.put({"n": np.arange(100) + i * 100, "t": ["x" * 1000] * 100})

    def create():
        pardata.Database.create("/mnt/a.db", ((i, "x" * 1000) for i in range(10_000)), columns=["n", "t"], key="n")

    def paged():
        with pardata.PagedFile.create("/mnt/a", dtype=float, item_shape=(1000,)) as writer:
            writer.extend(HUGE)

    def paged_by_workers():
        with (
            pardata.PagedFile.create("/mnt/a", dtype=float, page_bytes=80_000) as writer,
            pardata.WorkerPool(2) as pool,
        ):
            for entry in pool.map(lambda number: writer.pages.write_page(number, np.ones(10_000)), range(100)):
                writer.add(entry)

    def pieces():
        write_pieces(HUGE, "/mnt/set", 20)

    def stream_to_npy():
        pardata.source(HUGE).to("/mnt/a.npy").run()

    def serial_stream_to_npy():
        pardata.source(HUGE).to("/mnt/a.npy").run(engine="serial")

    def array_to_path():
        with pardata.WorkerPool(2) as pool:
            pool.map_array(lambda block: block + 1, HUGE, out="/mnt/a.npy")

    def array_of_threads_to_path():
        with pardata.WorkerPool(2, kind="thread") as pool:
            pool.map_array(lambda block: block + 1, HUGE, out="/mnt/a.npy")

    def data_file(ending, kind):
        with pardata.WorkerPool(2, kind=kind) as pool:
            pool.map_array(lambda block: np.random.default_rng(0).random(block.shape), HUGE, out=f"/mnt/a{ending}")

    def stream_to_data_file(ending):
        pardata.source(np.random.default_rng(0).random(HUGE.shape)).to(f"/mnt/a{ending}").run()

    def zarr_of_processes():
        data_file(".zarr", "process")

    def zarr_of_threads():
        data_file(".zarr", "thread")

    def hdf5_of_processes():
        data_file(".h5", "process")

    def stream_to_zarr():
        stream_to_data_file(".zarr")

    def stream_to_hdf5():
        stream_to_data_file(".h5")

    def tiff_of_processes():
        data_file(".tif", "process")

    def stream_to_tiff():
        pardata.source(HUGE[:, None]).to("/mnt/a.tif").run(engine="serial")

    def sparse():
        return np.memmap("/mnt/sparse", float, "w+", 0, HUGE.shape)

    def into_sparse_file():
        with pardata.WorkerPool(2) as pool:
            pool.map_array(lambda block: block + 1, HUGE, out=sparse())

    def into_a_view_of_it_and_what_it_holds():
        with pardata.WorkerPool(2, kind="thread") as pool:
            mapped = sparse()[::-1, 1:]
            pool.map_array(lambda block: block + 1, mapped, out=mapped)

    def each_row_of_it():
        def fill(block):
            block[...] = 1

        for kind in ("process", "thread"):
            with pardata.WorkerPool(2, kind=kind) as pool:
                pool.foreach_array(fill, sparse())

    def lock():
        with open("/mnt/filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        try:
            paged()
        finally:
            os.unlink("/mnt/filler")

    def outcome(write):
        try:
            write()
        except Exception as error:
            left = sorted(name for name in os.listdir("/mnt") if name != "sparse")
            return type(error).__name__, getattr(error, "errno", None), str(error), left
        return None

    outcomes = {}
    for argument in sys.argv[1:]:
        outcomes[argument] = outcome(globals()[argument])
        for name in os.listdir("/mnt"):
            shutil.rmtree(f"/mnt/{name}") if os.path.isdir(f"/mnt/{name}") else os.unlink(f"/mnt/{name}")
    print(json.dumps(outcomes))
"""

WRITERS = {
    "create": "/mnt/a.db.part",
    "paged": "/mnt/a.part",
    "paged_by_workers": "/mnt/a.part",
    "stream_to_npy": "/mnt/a.npy.part",
    "serial_stream_to_npy": "/mnt/a.npy.part",
    "array_to_path": "/mnt/a.npy",
    "array_of_threads_to_path": "/mnt/a.npy",
    "into_sparse_file": "/mnt/sparse",
    "into_a_view_of_it_and_what_it_holds": "/mnt/sparse",
    "each_row_of_it": "/mnt/sparse",
    "lock": "/mnt/a.lock",
}

DATA_FILES = {
    "zarr": ["zarr_of_processes", "zarr_of_threads", "stream_to_zarr"],
    "h5py": ["hdf5_of_processes", "stream_to_hdf5"],
    "tifffile": ["tiff_of_processes", "stream_to_tiff"],
}
THERE = [name for library, names in DATA_FILES.items() if find_spec(library) is not None for name in names]


@pytest.fixture(scope="module")
def outcomes():
    """Run the writers on a disk of 1 MiB; give the error of each (type, number, text) and which files it left."""
    command = f'{MOUNT} && exec env -u PARDATA_SESSION "$0" - "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, sys.executable, *WRITERS, *THERE, "pieces", "writer"],
        input=textwrap.dedent(SCRIPT),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("writer", WRITERS)
def test_it_is_an_error_with_the_path_and_nothing_is_left(outcomes, writer):
    kind, number, text, left = outcomes[writer]
    assert (kind, number, left) == ("OSError", 28, []), text
    assert WRITERS[writer] in text


def test_pieces_are_removed(outcomes):
    kind, number, text, left = outcomes["pieces"]
    assert (kind, number, left) == ("OSError", 28, ["set"]), text
    assert "/mnt/set/0000" in text


def test_a_database_keeps_the_batches_that_were_written(outcomes):
    kind, number, text, left = outcomes["writer"]
    assert (kind, number) == ("OSError", 28), text
    assert "/mnt/w.db" in text
    assert left == ["w.db", "w.db-shm", "w.db-wal"]  # SQLite's, with whole batches: there is no room to put them in one


@pytest.mark.parametrize("write", THERE)
def test_data_file(outcomes, write):
    kind, number, text, left = outcomes[write]
    assert (kind, number, left) == ("OSError", 28, []), (kind, text, left)
