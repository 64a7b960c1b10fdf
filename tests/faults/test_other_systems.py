"""Systems that are not Linux: what needs no worker process runs there, and what does says so in one sentence."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SYSTEMS = ["darwin", "win32"]

BEGIN = """
    import json, os, sys, tempfile
    import numpy as np
    import pardata
    from pardata.files import read_pieces, split, write_pieces

    folder = tempfile.mkdtemp(dir=os.environ["FOLDER"])
    outcomes = {}

    def outcome(call):
        try:
            call()
            return "ran"
        except Exception as error:
            return type(error).__name__ + ": " + str(error)
"""

END = """
    if __name__ == "__main__":
        for name, call in CALLS.items():
            outcomes[name] = outcome(call)
        print(json.dumps(outcomes))
"""

WORKS = """
    def arrays():
        for number in range(20):
            yield np.full(10, number)

    def odd(numbers):
        for number in numbers:
            if number % 2:
                yield number

    def run(engine):
        twice, seen = pardata.source(arrays).map(lambda array: array * 2, workers=2), []
        sums = pardata.zip(twice, twice.map(np.sum)).map(lambda pair: pair[0].sum() + pair[1])
        sums.map(seen.append).run(engine=engine)
        assert seen == [40 * number for number in range(20)]
        seen = []
        (pardata.source(range(100)) | odd).map(seen.append).run(engine=engine, progress=True)
        assert seen == list(range(1, 100, 2))
        pardata.source(arrays).to(f"{folder}/{engine}.npy").run(engine=engine)
        assert np.load(f"{folder}/{engine}.npy").shape == (20, 10)

    def pool():
        values = np.arange(1000.0)
        mapped = np.memmap(f"{folder}/mapped", float, "w+", 0, 1000)
        with pardata.WorkerPool(2, kind="thread") as pool:
            assert list(pool.map(abs, range(-3, 3), progress=True)) == [3, 2, 1, 0, 1, 2]
            assert pool.submit(pow, 2, 5).result() == 32
            assert np.array_equal(pool.map_array(np.sqrt, values), np.sqrt(values))
            assert np.array_equal(pool.map_array(np.sqrt, values, out=f"{folder}/out.npy"), np.sqrt(values))
            assert np.array_equal(pool.map_array(np.sqrt, values, out=mapped), np.sqrt(values))
            pool.foreach_array(lambda block: np.negative(block, out=block), values)
            assert pool.reduce_array(np.sum, values, np.add) == -499500

    def database():
        with pardata.Database.create(f"{folder}/a.db", {1: 2, 3: 4}) as database:
            assert database[3] == 4
            with pardata.serve(database) as server, server.lookup() as client:
                assert client[1] == 2

    def pieces():
        write_pieces(np.arange(100), f"{folder}/pieces", 5)
        assert sum(piece.open().sum() for piece in read_pieces(f"{folder}/pieces")) == 4950
        np.save(f"{folder}/a.npy", np.arange(100))
        for given in (np.arange(100), list(range(100)), f"{folder}/a.npy"):
            assert sum(sum(piece.open()) for piece in split(given, 4)) == 4950
        refused = outcome(lambda: write_pieces(np.arange(3), f"{folder}/pieces/manifest.json", 1))
        assert refused.startswith("ConfigError"), refused

    def two_writers():
        from pardata.memory.locking import HolderLock

        lock = HolderLock(f"{folder}/locked")
        refused = outcome(lambda: pardata.Database.create(f"{folder}/locked", {1: 2}))
        assert "is being written by process" in refused, refused
        lock.release()
        pardata.Database.create(f"{folder}/locked", {1: 2}).close()

    def paged():
        with pardata.PagedFile.create(f"{folder}/paged", dtype=float, item_shape=(2,)) as writer:
            writer.extend(np.ones((100, 2)))
        with pardata.PagedFile(f"{folder}/paged").append() as writer:
            writer.extend(np.ones((100, 2)))
        with pardata.PagedFile(f"{folder}/paged") as file:
            assert file[:].sum() == 400

    def drawn():
        stream = pardata.source(arrays).map(np.sum)
        stream.draw(f"{folder}/a.svg")
        print(stream, stream.dry_run(), file=sys.stderr)

    CALLS = {
        "serial": lambda: run("serial"),
        "threads": lambda: run("threads"),
        "pool of threads": pool,
        "database and service": database,
        "pieces": pieces,
        "two writers": two_writers,
        "paged file": paged,
        "drawn": drawn,
    }
"""

NEEDS_LINUX = """
    stream = pardata.source(range(3)).map(abs)
    CALLS = {
        "run": stream.run,
        "loop": lambda: list(stream),
        "empty": lambda: pardata.empty(3),
        "zeros": lambda: pardata.zeros(3),
        "array": lambda: pardata.array([3]),
        "pool": lambda: pardata.WorkerPool(2),
        "Pool": lambda: pardata.Pool(1),
        "map": lambda: list(pardata.map(abs, [1])),
        "map_array": lambda: pardata.map_array(np.sqrt, np.ones(3)),
        "named block": lambda: pardata.SharedMemory(create=True, size=3),
        "untracked block": lambda: pardata.SharedMemory(create=True, size=3, track=False),
        "attached block": lambda: pardata.SharedMemory("there"),
        "list": lambda: pardata.ShareableList([1]),
        "manager": lambda: pardata.SharedMemoryManager().__enter__(),
        "table": lambda: pardata.Table([1], [2]),
        "queue": lambda: pardata.Queue(),
        "writer": lambda: pardata.Writer(f"{folder}/w.db", ["n"]),
    }
"""


def outcomes(system, calls, folder):
    """Run calls in an interpreter of another system; return what became of each."""
    helper = Path(__file__).with_name("other_systems.py")
    script = "".join(map(textwrap.dedent, (BEGIN, calls, END)))
    environment = {key: value for key, value in os.environ.items() if key != "PARDATA_SESSION"}
    done = subprocess.run(
        [sys.executable, helper, system, script],
        env=environment | {"FOLDER": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_needs_no_worker_process_runs_everywhere(system, tmp_path):
    found = outcomes(system, WORKS, tmp_path)
    if system == "win32":
        assert found.pop("paged file").startswith("PlatformError: a paged file: that needs a POSIX system; on win32")
    assert set(found.values()) == {"ran"}, found
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".part", ".lock")]


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_needs_linux_says_so_in_one_sentence(system, tmp_path):
    found = outcomes(system, NEEDS_LINUX, tmp_path)
    for name, said in found.items():
        assert said.startswith("PlatformError: "), (name, said)
        assert "that needs Linux" in said and f"on {system} there are engine='threads'" in said, (name, said)
    assert not list(tmp_path.glob("*/*"))


OLD_PYTHON = """
import fcntl, os
for name in ("memfd_create", "MFD_CLOEXEC", "MFD_ALLOW_SEALING", "O_TMPFILE", "copy_file_range"):
    vars(os).pop(name, None)
for name in [name for name in vars(fcntl) if name.startswith(("F_OFD_", "F_SEAL_", "F_ADD_SEALS"))]:
    delattr(fcntl, name)
"""

EVERYTHING = """
    import multiprocessing
    import pickle

    def shared():
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(np.sum, (pardata.zeros(1000) + 1,)) == 1000
            assert pool.apply(np.negative, (pardata.array([1, 2]),)).tolist() == [-1, -2]

    def pool():
        with pardata.WorkerPool(2) as pool:
            assert pool.map_array(np.sqrt, np.ones(1000)).sum() == 1000

    def named():
        with pardata.SharedMemory("pd_old_python", create=True, size=10) as block:
            assert pardata.SharedMemory("pd_old_python").size == 10
            block.unlink()

    def table():
        with pardata.Table([1], [2]) as table, pardata.WorkerPool(1) as pool:
            assert pool.submit(table.get, 1).result() == 2

    CALLS = {
        "run": lambda: pardata.source(range(3)).map(abs).run(),
        "pool": pool,
        "shared": shared,
        "named": named,
        "table": table,
    }
"""


def test_a_python_that_was_built_for_many_linux_systems_has_everything(tmp_path):
    """Those of conda and uv know fewer names of the system than the system has."""
    (tmp_path / "sitecustomize.py").write_text(OLD_PYTHON)
    script = tmp_path / "script.py"
    script.write_text("".join(map(textwrap.dedent, (BEGIN, EVERYTHING, END))))
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environment = {key: value for key, value in os.environ.items() if key != "PARDATA_SESSION"}
    done = subprocess.run(
        [sys.executable, script],
        env=environment | {"FOLDER": str(tmp_path), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found.values()) == {"ran"}, found
