"""SharedMemory: what a user of the standard library's finds here, and what hurts there and does not here."""

import contextlib
import gc
import mmap
import os
import pickle
import resource
from multiprocessing import resource_tracker, shared_memory

import numpy as np
import pytest

import pardata
from pardata.memory.exchange import addresses
from pardata.memory.exchange.imports import ImportedSegment
from pardata.memory.named import guardian, os_objects, session
from pardata.memory.named.register import Register, records

NAME = f"pardata-test-{os.getpid()}"  # another suite may run on this machine


@pytest.fixture
def block():
    """A block of 100 bytes."""
    made = pardata.SharedMemory(create=True, size=100)
    yield made
    made.close()
    with contextlib.suppress(FileNotFoundError):
        made.unlink()


@contextlib.contextmanager
def untracked(made):
    """The standard library's tracker would remove what it has seen when this process ends."""
    try:
        yield made
    finally:
        made.close()
        resource_tracker.unregister(made._name, "shared_memory")


def our_names():
    """Names in /dev/shm that this process may have made: other programs make others meanwhile."""
    return [name for name in os.listdir("/dev/shm") if name.startswith((f"pd_{session.tree()._token}", NAME))]


def recorded():
    return {record.name for record in records(session.tree().path)}


def test_block_has_exactly_the_size_asked_for(block):
    assert (block.size, len(block.buf)) == (100, 100)
    assert pardata.SharedMemory(block.name).size == 100


def test_both_handles_see_the_same_bytes(block):
    with pardata.SharedMemory(block.name) as other:
        other.buf[3] = 7
    assert block.buf[3] == 7


def test_block_of_size_zero_works():
    made = pardata.SharedMemory(create=True, size=0)
    again = pickle.loads(pickle.dumps(made))
    assert (made.size, len(made.buf), again.size) == (0, 0, 0)
    made.unlink()


def test_standard_library_attaches_to_ours(block):
    with untracked(shared_memory.SharedMemory(block.name)) as other:
        other.buf[:5] = b"hello"
    assert bytes(block.buf[:5]) == b"hello"


def test_ours_attaches_to_the_standard_librarys():
    theirs = shared_memory.SharedMemory(create=True, size=10)
    with pardata.SharedMemory(theirs.name) as ours:
        ours.buf[0] = 5
        assert theirs.buf[0] == 5
    theirs.close()
    theirs.unlink()


@pytest.mark.parametrize("make", [lambda b: np.ndarray(100, np.uint8, b), lambda b: np.frombuffer(b, np.uint8)])
def test_view_outlives_close_and_unlink(block, make):
    view = make(block.buf)
    view[:] = 9
    block.close()
    block.unlink()
    del block
    gc.collect()
    view += 1
    assert view.sum() == 1000


def test_close_is_silent_however_often_and_whoever_looks(block):
    views = [block.buf[:3], memoryview(block.buf)[5:], np.frombuffer(block.buf, np.uint8)]
    block.close()
    block.close()
    assert block.buf is None
    assert len(views[0]) == 3


def test_handle_that_is_dropped_is_silent_too(block):
    view = np.frombuffer(pardata.SharedMemory(block.name).buf, np.uint8)
    gc.collect()
    assert view.nbytes == 100


def test_descriptor_is_there_until_close(block):
    fd = block.fileno()
    assert os.fstat(fd).st_size == 100
    assert block.fileno() == fd
    block.close()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_descriptor_of_an_unlinked_block_is_refused():
    made = pardata.SharedMemory(f"{NAME}-fileno", create=True, size=1)
    made.unlink()
    other = pardata.SharedMemory(f"{NAME}-fileno", create=True, size=1)
    with pytest.raises(FileNotFoundError, match="another one has its name"):
        made.fileno()
    other.unlink()


@pytest.mark.parametrize("name", ["a/b", "/a", "", ".", "..", "a\0b"])
@pytest.mark.parametrize("create", [True, False])
def test_name_that_cannot_be_is_refused(name, create):
    with pytest.raises(ValueError):
        pardata.SharedMemory(name, create=create, size=1)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="-1"):
        pardata.SharedMemory(create=True, size=-1)
    with pytest.raises(ValueError, match="create=True"):
        pardata.SharedMemory()
    with pytest.raises(TypeError, match="int"):
        pardata.SharedMemory(5)
    for size in (10.0, "10"):
        with pytest.raises(TypeError, match="interpreted as an integer"):
            pardata.SharedMemory(create=True, size=size)
    with pytest.raises(OverflowError, match="no so large addresses"):
        pardata.SharedMemory(create=True, size=1 << 63)


def test_missing_and_existing_names(block):
    with pytest.raises(FileNotFoundError):
        pardata.SharedMemory(f"{NAME}-not-there")
    made = pardata.SharedMemory(f"{NAME}-there", create=True, size=1)
    with pytest.raises(FileExistsError, match=rf"File exists: '{NAME}-there'$"):
        pardata.SharedMemory(f"{NAME}-there", create=True, size=1)
    assert f"{NAME}-there" in recorded()  # the attempt has not taken the first one's record
    made.unlink()
    with pytest.raises(FileNotFoundError):
        made.unlink()


def test_unlink_spares_another_block_that_has_the_name_now():
    made = pardata.SharedMemory(f"{NAME}-name", create=True, size=1)
    os.unlink(f"/dev/shm/{NAME}-name")  # as another program would
    other = pardata.SharedMemory(f"{NAME}-name", create=True, size=2)
    with pytest.raises(FileNotFoundError, match="another one"):
        made.unlink()
    assert pardata.SharedMemory(f"{NAME}-name").size == 2
    other.unlink()
    assert f"{NAME}-name" not in recorded()


def test_attached_handle_may_unlink(block):
    pardata.SharedMemory(block.name).unlink()
    assert block.name not in recorded()
    with pytest.raises(FileNotFoundError):
        pardata.SharedMemory(block.name)


@pytest.mark.parametrize("track", [True, False])
def test_pickle_is_by_name_and_keeps_track(block, track):
    made = pardata.SharedMemory(create=True, size=1, track=track)
    again = pickle.loads(pickle.dumps(made))
    assert (again.name, again.size, again._track) == (made.name, 1, track)
    assert (made.name in recorded()) is track
    made.unlink()


def test_pickles_of_blocks_are_of_one_length():
    """CPython's tests compare them."""
    blocks = [pardata.SharedMemory(create=True, size=1) for _ in range(20)]
    assert len({len(pickle.dumps(block)) for block in blocks}) == 1
    for block in blocks:
        block.unlink()


def test_subclass_survives_pickling():
    made = Sub(create=True, size=1)
    assert type(pickle.loads(pickle.dumps(made))) is Sub
    made.unlink()


class Sub(pardata.SharedMemory):
    """A class of a user."""


def test_what_does_not_fit_is_refused_with_figures():
    free = os.statvfs("/dev/shm")
    with pytest.raises(pardata.CapacityError, match=rf"does not fit: .* \({free.f_bavail * free.f_frsize // 10**9}"):
        pardata.SharedMemory(create=True, size=2 * free.f_blocks * free.f_frsize)
    assert recorded() == set()


@pytest.mark.parametrize("make", [lambda: {}, lambda: {"name": f"{NAME}-failed"}])
def test_failed_creation_leaves_nothing(monkeypatch, make):
    def fail(self, fd, nbytes):
        raise pardata.CapacityError("no room")

    monkeypatch.setattr(os_objects.Overcommit, "take", fail)
    before = our_names()
    with pytest.raises(pardata.CapacityError):
        pardata.SharedMemory(create=True, size=1, **make())
    assert our_names() == before
    assert recorded() == set()


def test_room_that_was_only_promised_is_not_promised_again(monkeypatch):
    page = mmap.PAGESIZE
    monkeypatch.setattr(os_objects, "_free_bytes", lambda fd: 64 * page)
    mount, fd = os_objects.Overcommit(), os.memfd_create("test")
    assert [mount.take(fd, 1), mount.take(fd, 3 * page), mount.take(fd, 1)] == [page, 3 * page, 0]
    mount.give_back(3 * page)
    assert [mount.take(fd, page + 1), mount.take(fd, 1)] == [2 * page, 0]
    with pytest.raises(pardata.CapacityError, match=f"{61 * page + 1} bytes.*{61 * page} bytes"):
        mount.take(fd, 61 * page + 1)
    os.close(fd)


def test_room_of_blocks_that_others_have_unlinked_is_given_again(monkeypatch, tmp_path):
    page = mmap.PAGESIZE
    monkeypatch.setattr(os_objects, "_free_bytes", lambda fd: 16 * 8 * page)
    monkeypatch.setattr(os_objects, "SHM", str(tmp_path))
    mount, fd = os_objects.Overcommit(), os.memfd_create("test")
    for number in range(8):
        (tmp_path / f"block{number}").touch()
        mount.keep(f"block{number}", mount.take(fd, 1))
    assert mount.take(fd, 1) == 0  # all is promised
    for number in range(4):
        os.unlink(tmp_path / f"block{number}")
    assert [mount.take(fd, 1) for _ in range(12)].count(page) == 3
    os.close(fd)


def test_thousand_blocks_with_64_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    blocks = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        for number in range(1000):
            blocks.append(pardata.SharedMemory(create=True, size=4096))
            blocks[-1].buf[0] = number % 256
        assert [block.buf[0] for block in blocks] == [number % 256 for number in range(1000)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for block in blocks:
            block.unlink()


def test_ten_thousand_rounds_leave_nothing():
    def round_():
        made = pardata.SharedMemory(create=True, size=1 << 16)
        made.buf[0] = 1
        made.close()
        made.unlink()

    def holdings():
        with open("/proc/self/maps") as file:
            mappings = sum("/dev/shm" in line for line in file)
        return len(os.listdir("/proc/self/fd")), mappings, our_names(), named_bytes(), shared_mib()

    def shared_mib():  # other programs share memory too: much less than the 625 MiB that go through here is equal
        with open("/proc/meminfo") as file:
            kib = next(int(line.split()[1]) for line in file if line.startswith("Shmem:"))
        return pytest.approx(kib >> 10, abs=200)

    def named_bytes():
        return sum(entry.stat().st_blocks for entry in os.scandir(session.tree().path))

    round_()
    before = holdings()
    for _ in range(10_000):
        round_()
    assert holdings() == before


def test_record_of_a_block_that_others_have_unlinked_is_used_again(tmp_path):
    register = Register(str(tmp_path / "register"))
    for number in range(1000):
        register.keep(f"pd_gone{number}", register.note(f"pd_gone{number}", guardian.ANY_FILE, 1, 0, "here"))
    assert register._usable < 200
    register.close(remove=True)


def test_repr_names_it(block):
    assert repr(block) == f"SharedMemory({block.name!r}, size=100)"


def test_a_file_of_the_same_inode_on_another_device_is_another_file():
    with pardata.SharedMemory("pd_device", create=True, size=10) as block:
        (record,) = [record for record in records(session.tree().path) if record.name == "pd_device"]
        device, inode = record.file
        other = record._replace(file=(device + 1, inode))
        assert guardian.exists(record) and not guardian.exists(other)
        assert not guardian.remove(other) and os.path.exists("/dev/shm/pd_device")
        assert not os_objects.is_linked("pd_device", (device + 1, inode))
        block.unlink()


def test_a_segment_of_the_same_inode_on_another_device_is_another_one():
    array = pardata.zeros(1000)
    _, address = addresses.send_address(array)
    with pytest.raises(pardata.StaleBlockError, match="is gone"):
        ImportedSegment(address._replace(device=address.device + 1))
    ImportedSegment(address).close_in_child()
    addresses.open_address(address)  # or it would be awaited for ever
