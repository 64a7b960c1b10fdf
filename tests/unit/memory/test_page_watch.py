"""Each way to change watched memory is seen; memory that others may write to is not watched."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import socket

import numpy as np
import pytest

from pardata.memory import page_watch, unseen_writers
from pardata.memory.page_watch import PageWatch
from pardata.process.system import libc

NBYTES = 9 << 20
AT = 5 << 20


def watch_of(array):
    watch = PageWatch(array.ctypes.data, array.nbytes)
    watch.start()
    return watch


@pytest.fixture
def array():
    made, obstacle = np.ones(NBYTES, np.uint8), ""
    try:
        watch_of(made)
    except OSError as error:
        obstacle = str(error)  # without its frames, which have the watch
    if obstacle:
        pytest.skip(f"this system does not tell: {obstacle}")
    return made


def store(array):
    array[AT] = 2


def read_a_file(array):
    with open("/dev/zero", "rb", buffering=0) as file:
        file.readinto(memoryview(array)[AT : AT + 1])


def receive(array):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"x")
        theirs.recv_into(memoryview(array)[AT : AT + 1])


def write_as_a_debugger(array):
    with open("/proc/self/mem", "r+b", buffering=0) as file:
        file.seek(array.ctypes.data + AT)
        file.write(b"x")


def write_from_another_process(array):
    pid, address = os.getpid(), array.ctypes.data + AT
    child = os.fork()
    if child == 0:
        byte = ctypes.create_string_buffer(b"x", 1)
        here = (ctypes.c_size_t * 2)(ctypes.addressof(byte), 1)
        there = (ctypes.c_size_t * 2)(address, 1)
        os._exit(libc().process_vm_writev(pid, here, ctypes.c_long(1), there, ctypes.c_long(1), ctypes.c_long(0)) != 1)
    if os.waitpid(child, 0)[1]:
        pytest.skip("one process may not write to another one's memory here")


def advise(array, advice):
    begin = (array.ctypes.data + AT) // mmap.PAGESIZE * mmap.PAGESIZE
    assert libc().madvise(ctypes.c_void_p(begin), ctypes.c_size_t(mmap.PAGESIZE), advice) == 0


def throw_away(array):
    advise(array, mmap.MADV_DONTNEED)


def throw_away_and_read(array):
    advise(array, mmap.MADV_DONTNEED)
    assert array[AT] == 0


def map_anew(array):
    begin = (array.ctypes.data + AT) // mmap.PAGESIZE * mmap.PAGESIZE
    call = libc()["mmap"]
    call.restype = ctypes.c_void_p
    fixed = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10
    size, rights = ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_WRITE
    assert call(ctypes.c_void_p(begin), size, rights, fixed, -1, ctypes.c_long(0)) == begin


WAYS = [
    store, read_a_file, receive, write_as_a_debugger, write_from_another_process, throw_away, throw_away_and_read,
    map_anew,
]  # fmt: skip


@pytest.mark.parametrize("change", WAYS)
@pytest.mark.parametrize("is_forked", [False, True], ids=["", "behind a fork"])
def test_a_change_is_seen(array, change, is_forked):
    watch = watch_of(array)
    assert watch.is_untouched() and array.sum() == NBYTES and watch.is_untouched()  # reading is no change
    if is_forked and os.fork() == 0:
        array[AT] = 3  # of the child's own memory
        os._exit(watch.is_untouched())
    assert watch.is_untouched()
    change(array)
    assert not watch.is_untouched()
    if is_forked:
        assert os.wait()[1] == 0
    if change is not map_anew:
        watch.start()
        array.max()  # an empty page counts from then on
        assert watch.is_untouched()


def test_a_child_cannot_begin_the_watch_of_its_parent_nor_end_it(array):
    watch = watch_of(array)
    child = os.fork()
    if child == 0:
        number, is_told = watch._fd, False
        try:
            watch.start()
        except OSError:
            is_told = True
        del watch
        os._exit(not is_told or os.path.exists(f"/proc/self/fd/{number}"))
    assert os.waitpid(child, 0)[1] == 0 and watch.is_untouched()
    array[AT] = 2
    assert not watch.is_untouched()


def test_one_memory_has_one_watch_and_another_one_when_that_is_gone(array):
    first = watch_of(array)
    with pytest.raises(OSError):
        watch_of(array[mmap.PAGESIZE :])
    assert first.is_untouched()
    del first
    assert watch_of(array).is_untouched()


@pytest.mark.parametrize("flags", [mmap.MAP_SHARED, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, mmap.MAP_PRIVATE])
def test_memory_that_others_may_write_to_is_not_watched(array, tmp_path, flags):
    (tmp_path / "file").write_bytes(bytes(NBYTES))
    with open(tmp_path / "file", "r+b") as file:
        mapped = np.frombuffer(mmap.mmap(-1 if flags & mmap.MAP_ANONYMOUS else file.fileno(), NBYTES, flags), np.uint8)
    mapped[0] = 1
    with pytest.raises(OSError, match="others"):
        watch_of(mapped)


def device(monkeypatch, folder):
    monkeypatch.setattr(unseen_writers, "_PLAIN_DEVICES", ())
    return os.open("/dev/null", os.O_RDONLY)


def direct_file(monkeypatch, folder):
    return os.open(folder / "file", os.O_RDWR | os.O_CREAT | os.O_DIRECT)


def file_of_a_strange_system(monkeypatch, folder):
    """As one of FUSE: its daemon may take its time with a read, and the pages of it."""
    monkeypatch.setattr(unseen_writers, "_PLAIN_SYSTEMS", {"proc", "devtmpfs", "devpts"})
    return os.open(folder / "file", os.O_RDWR | os.O_CREAT)


def file_mounted_elsewhere(monkeypatch, folder):
    monkeypatch.setattr(unseen_writers, "_MOUNT", re.compile("(1) (2) (3) (proc)"))
    return os.open(folder / "file", os.O_RDWR | os.O_CREAT)


def ring(monkeypatch, folder):
    parameters = ctypes.create_string_buffer(120)
    fd = libc().syscall(ctypes.c_long(425), 1, parameters)
    return fd if fd >= 0 else pytest.skip("there is no io_uring here")


def strange_socket(monkeypatch, folder):
    monkeypatch.setattr(unseen_writers, "_PLAIN_SOCKETS", (socket.AF_INET,))
    return socket.socket(socket.AF_UNIX).detach()


OPENED = [device, direct_file, file_of_a_strange_system, file_mounted_elsewhere, ring, strange_socket]


@pytest.mark.parametrize("opened", OPENED)
def test_nothing_is_watched_beside_what_writes_past_the_page_table(monkeypatch, tmp_path, array, opened):
    try:
        fd = opened(monkeypatch, tmp_path)
    except OSError as error:
        pytest.skip(str(error))
    try:
        with pytest.raises(OSError, match="others"):
            watch_of(array)
    finally:
        os.close(fd)


def test_nothing_is_watched_beside_a_ring_that_is_only_mapped(monkeypatch, array):
    fd = ring(monkeypatch, None)
    with mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED):
        os.close(fd)
        with pytest.raises(OSError, match="others"):
            watch_of(array)


def test_nothing_is_watched_while_memory_is_locked_or_pinned(monkeypatch, tmp_path, array):
    page = ctypes.create_string_buffer(1)
    if libc().mlock(page, ctypes.c_size_t(1)):
        pytest.skip("no memory may be locked here")
    try:
        with pytest.raises(OSError, match="locked"):
            watch_of(array)
    finally:
        libc().munlock(page, ctypes.c_size_t(1))
    status = tmp_path / "status"
    status.write_text("VmLck:\t0 kB\nVmPin:\t4 kB\nSeccomp:\t0\n")
    monkeypatch.setattr(unseen_writers, "_STATUS", status)
    with pytest.raises(OSError, match="pinned"):
        watch_of(array)


def test_what_comes_open_while_the_watch_begins_is_seen(monkeypatch, tmp_path, array):
    watch, ioctl, opened = PageWatch(array.ctypes.data, array.nbytes), page_watch.fcntl.ioctl, []

    def protecting(*arguments):
        if arguments[1] == page_watch._UFFDIO_WRITEPROTECT:
            opened.append(direct_file(monkeypatch, tmp_path))
        return ioctl(*arguments)

    monkeypatch.setattr(page_watch.fcntl, "ioctl", protecting)
    try:
        with pytest.raises(OSError, match="others"):
            watch.start()
    finally:
        os.close(opened[0])


def test_another_descriptor_of_its_number_is_left_alone(array):
    watch = watch_of(array)
    number = watch._fd
    with open("/dev/null") as other:
        os.dup2(other.fileno(), number)
    assert not watch.is_untouched()
    with pytest.raises(OSError, match="gone"):
        watch.start()
    del watch
    os.close(number)  # it is still open
    assert watch_of(array).is_untouched()


def test_the_name_of_the_thread_is_no_obstacle(array):
    """The system cuts it off within a letter."""
    before = ctypes.create_string_buffer(16)
    libc().prctl(16, before)
    libc().prctl(15, "größe".encode()[:3])
    try:
        watch_of(array)
    finally:
        libc().prctl(15, before)


def test_connections_are_left_as_they_are(array):
    before = socket.getdefaulttimeout()
    ours, theirs = socket.socketpair()
    socket.setdefaulttimeout(60)
    try:
        watch_of(array)
        assert os.get_blocking(ours.fileno())
    finally:
        socket.setdefaulttimeout(before)
        ours.close()
        theirs.close()


def test_what_a_process_has_usually_is_no_obstacle(array):
    opened = [*os.pipe(), *os.pipe2(os.O_DIRECT), os.eventfd(0), os.pidfd_open(os.getpid()), os.memfd_create("a file")]
    with socket.socket() as server, socket.socket(socket.AF_UNIX):
        server.listen()
        watch_of(array)
    for fd in opened:
        os.close(fd)
