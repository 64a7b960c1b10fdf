"""SharedMemoryManager: its life, and who may connect to it."""

import errno
import fcntl
import gc
import multiprocessing
import os
import pickle
import types

import pytest

import pardata
from pardata.errors import CapacityError
from pardata.memory.named import directories, guardian, manager_links, session
from pardata.memory.named.lifecycle import _TABLE, ManagerEvent, ManagerState

NAME = f"test-manager-{os.getpid()}"  # another suite may run on this machine


def there(name):
    return os.path.exists(f"/dev/shm/{name}")


def test_blocks_go_with_the_manager():
    with pardata.SharedMemoryManager() as owner:
        made = [owner.SharedMemory(10), owner.ShareableList(["a", 1]).shm]
        assert all(there(block.name) for block in made)
        other = pardata.SharedMemory(create=True, size=1)
    assert not any(there(block.name) for block in made)
    assert there(other.name)
    other.unlink()


def test_dropped_manager_is_shut_down():
    owner = pardata.SharedMemoryManager()
    owner.start()
    block = owner.SharedMemory(1)
    del owner
    gc.collect()
    assert not there(block.name)


def test_connected_manager_makes_blocks_of_the_other():
    with pardata.SharedMemoryManager(("localhost", os.getpid()), b"key") as owner:
        client = pardata.SharedMemoryManager(("localhost", os.getpid()), b"key")
        client.connect()
        block = client.SharedMemory(5)
        assert [(info.name, info.nbytes, info.pid) for info in owner.blocks()] == [(block.name, 5, os.getpid())]
        assert os.path.basename(__file__) in owner.blocks()[0].where
    assert not there(block.name)
    with pytest.raises(pardata.ClosedError, match="shut down"):
        client.SharedMemory(5)


def make_in(address, names):
    client = pardata.SharedMemoryManager(address)
    client.connect()
    names.put(client.SharedMemory(3).name)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_connects_from_another_process(method):
    context = multiprocessing.get_context(method)
    names = context.SimpleQueue()
    with pardata.SharedMemoryManager() as owner:
        child = context.Process(target=make_in, args=(owner.address, names))
        child.start()
        name = names.get()
        child.join()
        assert pardata.SharedMemory(name).size == 3  # also without the one who has made it
    names.close()
    assert not there(name)


def test_wrong_key_and_wrong_address():
    with pardata.SharedMemoryManager(NAME, b"a"):
        with pytest.raises(multiprocessing.AuthenticationError):
            pardata.SharedMemoryManager(NAME, b"b").connect()
        with pytest.raises(OSError, match=NAME) as caught:
            pardata.SharedMemoryManager(NAME).start()
        assert caught.value.errno == errno.EADDRINUSE
    with pytest.raises(ConnectionRefusedError, match=NAME):
        pardata.SharedMemoryManager(NAME, b"a").connect()


def test_address_of_a_dead_session_is_free():
    path = manager_links.link_path(NAME)
    os.symlink(f"{directories.base_directory()}/gone/5-abc", path)
    with pardata.SharedMemoryManager(NAME) as owner:
        assert owner.SharedMemory(1).size == 1
    os.symlink(f"{directories.base_directory()}/gone/5-abc", path)
    guardian.sweep(directories.base_directory())
    assert not os.path.islink(path)


@pytest.fixture
def begin(base, monkeypatch):
    """Begin a session, beside those of other programs, of which managers are to be."""

    def begin():
        made = session._begin()
        monkeypatch.setattr(session, "own", lambda: made)
        return made

    monkeypatch.setattr(session, "_MOST_GUARDIANS", 0)
    yield begin
    assert not os.path.exists(base)


def end(made):
    session._sessions.pop(made.path).end()


def test_shut_down_after_its_session_it_leaves_the_address_to_the_next(begin):
    first = begin()
    late, owner = pardata.SharedMemoryManager(NAME), pardata.SharedMemoryManager(NAME)
    late.start()
    end(first)
    second = begin()
    owner.start()
    late.shutdown()
    assert owner.SharedMemory(1).size == 1
    owner.shutdown()
    end(second)


@pytest.fixture
def locked(begin):
    """A descriptor by which the addresses are locked, as by a process that is stopped there."""
    made = begin()
    made.watch()
    fd = os.open(directories.base_directory(), os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield fd
    end(made)


def test_start_gives_up_when_the_addresses_stay_locked(locked, monkeypatch):
    waits = []
    monkeypatch.setattr(manager_links, "time", types.SimpleNamespace(sleep=waits.append))
    owner = pardata.SharedMemoryManager(NAME)
    with pytest.raises(TimeoutError, match="stopped"):
        owner.start()
    assert sum(waits) == pytest.approx(10)
    os.close(locked)
    with owner:  # as if nothing had been
        assert owner.SharedMemory(1).size == 1


def test_start_waits_for_who_has_the_addresses_locked(locked, monkeypatch):
    monkeypatch.setattr(manager_links, "time", types.SimpleNamespace(sleep=lambda _: os.close(locked)))
    with pardata.SharedMemoryManager(NAME) as owner:
        assert owner.SharedMemory(1).size == 1


def test_shut_down_while_the_addresses_are_locked(begin):
    made, owner = begin(), pardata.SharedMemoryManager(NAME)
    owner.start()
    with guardian.alone(directories.base_directory(), wait=False):
        owner.shutdown()
    with pytest.raises(ConnectionRefusedError):
        pardata.SharedMemoryManager(NAME).connect()
    end(made)


def test_who_can_open_no_file_does_not_take_the_address_of_a_living_manager(fail_once):
    with pardata.SharedMemoryManager(NAME) as owner:
        other = pardata.SharedMemoryManager(NAME)
        fail_once(guardian.ROOT)
        with pytest.raises(CapacityError, match="needs 2 file descriptors"):
            other.start()
        assert owner.SharedMemory(1).size == 1


def test_used_too_early_and_too_late():
    owner = pardata.SharedMemoryManager()
    assert owner.blocks() == []
    with pytest.raises(ValueError, match="start"):
        owner.SharedMemory(1)
    owner.start()
    with pytest.raises(ValueError, match="-1"):
        owner.SharedMemory(-1)
    owner.shutdown()
    owner.shutdown()
    with pytest.raises(pardata.ClosedError):
        owner.SharedMemory(1)


@pytest.mark.parametrize("state", ManagerState)
@pytest.mark.parametrize("event", ManagerEvent)
def test_what_the_table_does_not_have_is_an_error(state, event):
    owner = pardata.SharedMemoryManager(NAME)
    owner._state = state
    if event not in _TABLE[state]:
        with pytest.raises(pardata.ConfigError, match=state.value):
            getattr(owner, event.value.removesuffix("()"))()
        assert owner._state is state


def test_manager_is_not_pickled():
    with pytest.raises(TypeError, match="send its address"):
        pickle.dumps(pardata.SharedMemoryManager())


def test_list_that_cannot_be_made_leaves_no_block():
    with pardata.SharedMemoryManager() as owner:
        with pytest.raises(TypeError):
            owner.ShareableList([(1, 2)])
        assert owner.blocks() == []
