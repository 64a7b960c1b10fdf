"""Files that are written: allocated where the file system can, whole or not there, and errors name them."""

import errno
import os
import shutil

import pytest

from pardata.memory import disk
from pardata.memory.disk import allocate, create_new, missing_bytes, rename_new, write_all, write_new


def refuse(number):
    """Return a call of the system that fails."""

    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture(params=["allocates", "cannot", "has no such call"])
def system(request, monkeypatch):
    if request.param == "cannot":
        monkeypatch.setattr(os, "posix_fallocate", refuse(errno.EOPNOTSUPP))
    elif request.param == "has no such call":
        monkeypatch.delattr(os, "posix_fallocate")
    return request.param


def test_a_file_gets_its_size_and_keeps_its_contents(tmp_path, system):
    path = str(tmp_path / "a")
    fd = create_new(path)
    write_all(fd, b"contents", 4000, path)
    allocate(fd, 100_000, path)
    allocate(fd, 10, path)
    assert os.fstat(fd).st_size == 100_000
    assert os.pread(fd, 8, 4000) == b"contents"
    assert missing_bytes(fd) == 0 or system != "allocates"
    os.close(fd)


def test_a_disk_without_room_is_an_error_with_the_path(tmp_path, system, monkeypatch):
    path = str(tmp_path / "a")
    fd = create_new(path)
    if system == "allocates":
        monkeypatch.setattr(os, "posix_fallocate", refuse(errno.ENOSPC))
    else:
        found = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: found._replace(free=5000))
    with pytest.raises(OSError, match="No space left") as caught:
        allocate(fd, 10_000, path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, path)
    assert os.fstat(fd).st_size == 0
    if system != "allocates":
        os.truncate(path, 10_000)  # its holes do not fit
        with pytest.raises(OSError, match="No space left"):
            allocate(fd, 10_000, path)
    os.close(fd)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_cannot_be_written_whole_is_not_there(tmp_path, monkeypatch, number):
    path = str(tmp_path / "a")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse(number))
        with pytest.raises(OSError, match=r"a'$") as caught:
            write_new(path, b"contents")
    assert (caught.value.errno, caught.value.filename, os.listdir(tmp_path)) == (number, path, [])


def test_short_writes_go_on(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    write_new(str(tmp_path / "a"), b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize("has_call", [True, False])
@pytest.mark.parametrize("make", [os.mkdir, create_new])
def test_a_new_name_takes_nothing_from_others(tmp_path, monkeypatch, has_call, make):
    if not has_call:
        monkeypatch.setattr(disk.sys, "platform", "another")
    path, target = str(tmp_path / "a"), str(tmp_path / "b")
    for name in (path, target):
        os.close(make(name) or os.open(name, os.O_RDONLY))
    was = os.stat(target)
    with pytest.raises(FileExistsError, match="'.*a' -> '.*b'"):
        rename_new(path, target)
    assert os.path.samestat(os.stat(target), was)
    rename_new(path, str(tmp_path / "c"))
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]
    with pytest.raises(FileNotFoundError):
        rename_new(path, target + "2")
