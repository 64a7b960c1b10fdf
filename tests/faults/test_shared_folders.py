"""A folder that strangers share: what they have put under a name that the package uses is neither followed nor cut."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

import pardata
from pardata.files import write_pieces
from pardata.memory import locking
from pardata.memory.locking import HolderLock

ROWS = np.arange(20.0).reshape(10, 2)


def database(folder):
    pardata.Database.create(folder / "a", {1: 2}).close()


def rows(folder):
    with pardata.Writer(folder / "a", ["n"]) as writer:
        writer.put([(1,)])


def paged(folder):
    with pardata.PagedFile.create(folder / "a", dtype=float, item_shape=(2,)) as writer:
        writer.extend(ROWS)


def pieces(folder):
    write_pieces(ROWS, folder, 2)


def stream(folder):
    pardata.source(ROWS).to(folder / "a.npy").run()


def output(folder):
    with pardata.WorkerPool(1) as pool:
        pool.map_array(lambda block: block, ROWS, out=folder / "a.npy")


def service(folder):
    with pardata.Table([1], [2]) as table, pardata.serve(table, f"unix:{folder}/a"):
        pass


LOCKS = [(database, "a"), (rows, "a"), (paged, "a"), (pieces, "manifest.json"), (service, "a")]
PARTS = [(database, "a"), (paged, "a"), (pieces, "manifest.json"), (stream, "a.npy"), (output, "a.npy")]
KINDS = {
    "symbolic link": os.symlink,
    "hard link": os.link,
    "copy": lambda victim, path: path.write_bytes(victim.read_bytes()),
    "link to nothing": lambda victim, path: os.symlink(victim.parent / "made", path),
}


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "victim"
    path.write_text("precious\n")
    yield path
    assert path.read_text() == "precious\n"
    assert not (tmp_path / "made").exists()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "shared"
    path.mkdir()
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("write", "name"), LOCKS)
def test_what_lies_where_a_lock_belongs_stays(victim, folder, write, name, kind):
    place = folder / f"{name}.lock"
    KINDS[kind](victim, place)
    with pytest.raises(pardata.ConfigError, match=rf"{name}\.lock is there and was not made to lock it"):
        write(folder)
    assert os.listdir(folder) == [f"{name}.lock"]
    if kind != "link to nothing":
        assert place.read_text() == "precious\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("write", "name"), PARTS)
def test_what_lies_where_a_part_belongs_is_not_written_to(victim, folder, write, name, kind):
    KINDS[kind](victim, folder / f"{name}.part")
    write(folder)


def test_a_pipe_where_a_lock_belongs_is_not_waited_for(folder):
    os.mkfifo(folder / "a.lock")
    with pytest.raises(pardata.ConfigError, match="was not made to lock it"):
        HolderLock(str(folder / "a"))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_named(folder, monkeypatch, number):
    """NFS without its lock daemon; Lustre without the mount option."""

    def flock(fd, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locking.fcntl, "flock", flock)
    with pytest.raises(pardata.ConfigError, match=r"/a cannot be written: its file system has no locks .*another one"):
        HolderLock(str(folder / "a"))
    assert not (folder / "a.lock").exists()


def test_a_lock_that_was_taken_away_is_not_removed_by_who_had_it(folder):
    lock = HolderLock(str(folder / "a"))
    os.unlink(folder / "a.lock")
    other = HolderLock(str(folder / "a"))
    lock.release()
    assert (folder / "a.lock").read_text() == str(os.getpid())
    other.release()
    assert os.listdir(folder) == []


HOLDER = """
import os, signal, sys
from pardata.memory import locking
from pardata.memory.locking import HolderLock
lock = HolderLock(sys.argv[1])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_lock_file_of_a_killed_holder_is_made_anew(folder):
    subprocess.run([sys.executable, "-c", HOLDER, folder / "a"], check=False)
    left = os.stat(folder / "a.lock")
    assert left.st_size > 0
    lock = HolderLock(str(folder / "a"))
    assert (folder / "a.lock").read_text() == str(os.getpid())
    lock.release()
    (folder / "a.lock").touch()  # it was killed before it had written its number
    HolderLock(str(folder / "a")).release()
    assert os.listdir(folder) == []
