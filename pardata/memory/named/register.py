"""The register of a process: the file in which it records its named blocks. `guardian.py` draws its layout.

Root's register has no name in the file system at first, so that a program which makes no named block leaves none,
killed or not. A process that knows the session's path can reach it by root's descriptor, whose number is in that path,
and gives it its name when the first block is to be made: then the session *appears*.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Any, Final

from pardata.errors import CapacityError
from pardata.memory.mapping import mapping_error
from pardata.memory.named import directories, guardian, os_objects
from pardata.memory.named.guardian import (
    GUARDED_AT,
    IN_USE,
    REGISTER_HEADER,
    REGISTER_HEADER_BYTES,
    REGISTER_MAGIC,
    ROOT,
    SHM,
    SHORTAGES,
    SLOT,
    SLOT_BYTES,
    SLOTS,
    FileId,
)
from pardata.process.system import module

fcntl: Any = module("fcntl")

_SLOTS_AT_ONCE: Final = 8  # allocated on the mount, so that a full mount is an error and not a SIGBUS
# With so many blocks, and at twice as many again, the register looks for blocks that other processes have unlinked.
_RECLAIM_AT: Final = 64


class Register:
    """The file in which this process records its named blocks, locked as long as the process lives."""

    def __init__(self, path: str, nameless: int = -1) -> None:
        """Create it, or take a file that has no name yet. Raises `OSError` if its session is being removed.

        SYNC POINT: join. Until it is locked, a sweeper may take the new file for that of a dead process: then the
        lock fails (BlockingIOError), or the file has lost its name (FileNotFoundError). Later, no sweeper removes it.
        """
        self.path = path
        self._fd = nameless
        if nameless < 0:
            self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(self._fd)
            if nameless < 0 and not found.st_nlink:
                raise FileNotFoundError(path)
            self._file = guardian.id_of(found)
            self._set_size(REGISTER_HEADER_BYTES + SLOTS * SLOT_BYTES)
            self._map = os_objects.map_block(self._fd, REGISTER_HEADER_BYTES + SLOTS * SLOT_BYTES)
            self._usable = 0
            self._free: list[int] = []
            self._extend()
        except BaseException:
            os.close(self._fd)
            raise
        self._states = memoryview(self._map).cast("q")
        self._slots: dict[str, int] = {}
        self._reclaim_at = _RECLAIM_AT
        self._lock = threading.Lock()

    def _set_size(self, nbytes: int) -> None:
        try:
            os.ftruncate(self._fd, nbytes)
        except OSError as error:
            raise mapping_error(error, nbytes) from None

    def _extend(self) -> None:
        size = REGISTER_HEADER_BYTES + (self._usable + _SLOTS_AT_ONCE) * SLOT_BYTES
        if self._usable == SLOTS:
            raise CapacityError(f"this process has {len(self._slots)} named blocks, more than it could map")
        try:
            os.posix_fallocate(self._fd, 0, size)
        except OSError as error:
            raise os_objects.mount_error(error, size) from None
        new = range(self._usable, self._usable + _SLOTS_AT_ONCE)
        self._free[:0] = reversed(new)  # in place: another thread may be giving a slot back
        self._usable = new.stop
        REGISTER_HEADER.pack_into(self._map, 0, REGISTER_MAGIC, os.getpid(), self._usable)

    def note(self, name: str, file: FileId, nbytes: int, group: int, where: str) -> int:
        """Record a block before it has its name; return the slot, which is then kept or dropped.

        SYNC POINT: record. A creator that is killed behind this has left a record at most, never a block without one.
        """
        with self._lock:
            if not self._free and len(self._slots) >= self._reclaim_at:
                self._reclaim()
            if not self._free:
                self._extend()
            slot = self._free.pop()
        at = REGISTER_HEADER_BYTES + slot * SLOT_BYTES
        where_bytes = where.encode(errors="surrogateescape")[-207:]
        SLOT.pack_into(self._map, at, 0, *file, nbytes, group, time.time(), os.fsencode(name), where_bytes)
        self._states[at >> 3] = IN_USE
        return slot

    def _reclaim(self) -> None:
        """Take back the slots of blocks that other processes have unlinked."""
        for name, slot in list(self._slots.items()):
            at = (REGISTER_HEADER_BYTES + slot * SLOT_BYTES) >> 3
            file = self._states[at + 1], self._states[at + 2]
            if not guardian.exists(guardian.Record(name, file, 0, 0, 0.0, "", 0)):
                self.forget(name)
        self._reclaim_at = max(_RECLAIM_AT, 2 * len(self._slots))

    def keep(self, name: str, slot: int) -> None:
        """Keep a record: the block has its name now. That of an unlinked older block of this name is dropped."""
        self.forget(name)
        self._slots[name] = slot

    def drop(self, slot: int) -> None:
        """Drop a record: the block did not get its name, or has lost it."""
        self._states[(REGISTER_HEADER_BYTES + slot * SLOT_BYTES) // 8] = 0
        self._free.append(slot)

    def forget(self, name: str) -> None:
        """Drop the record of a name that is gone; nothing happens if it was not recorded here."""
        slot = self._slots.pop(name, -1)
        if slot >= 0:
            self.drop(slot)

    def stop(self) -> None:
        """Record nothing any more: `note` raises `ValueError` from now on."""
        self._states.release()
        with contextlib.suppress(BufferError):
            self._map.close()

    def close(self, remove: bool) -> None:
        """Stop, and give the lock up; `remove` the file if it names nothing any more."""
        self.stop()
        if remove:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        with contextlib.suppress(OSError):  # a program that becomes a daemon may have closed all descriptors
            if guardian.id_of(os.fstat(self._fd)) == self._file:
                os.close(self._fd)

    @property
    def is_empty(self) -> bool:
        """Return whether no block is recorded."""
        return not self._slots


def appear(path: str) -> None:
    """Make a session's directory, and give root's register its name in it, unless that is done.

    SYNC POINT: appear. A sweep that lists registers before the name is given finds none that belongs to a living root.

    Raises
    ------
    FileNotFoundError
        Its root is gone.
    CapacityError
        There is no room for the directory.
    """
    while not guardian.is_alive(path):
        register = open_nameless(path)
        try:
            directories.make_private(os.path.dirname(path))
            _give_name(register, path)
        except OSError as error:
            raise os_objects.mount_error(error, REGISTER_HEADER_BYTES) from None
        finally:
            os.close(register)


def _give_name(register: int, path: str) -> None:
    """Try to give the register its name. Another process may do so meanwhile, or a sweep remove the empty directory."""
    try:
        with contextlib.suppress(FileExistsError):
            directories.make_open(path)
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os_objects.link(register, ROOT, directory)
    except FileExistsError:
        pass
    except FileNotFoundError:
        if os.fstat(directory).st_nlink:  # its name was removed: a file cannot get another one
            raise FileNotFoundError(path) from None
    finally:
        os.close(directory)


def open_nameless(path: str) -> int:
    """Return a descriptor of the register of a session that has not appeared yet.

    Raises
    ------
    FileNotFoundError
        Its root is gone.
    OSError
        This process can open no more files.
    """
    try:
        pid, number, inode, _ = os.path.basename(path).split("-")
        fd = os.open(f"/proc/{int(pid)}/fd/{int(number)}", os.O_PATH | os.O_CLOEXEC)
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno in SHORTAGES:
            raise
        raise FileNotFoundError(path) from None
    found = os.fstat(fd)
    if (str(found.st_ino), found.st_dev) == (inode, os.stat(SHM).st_dev):
        return fd
    os.close(fd)
    raise FileNotFoundError(path)


def lives(path: str) -> bool:
    """Return whether a session's root lives; the session need not have appeared. Raises as `is_alive`."""
    if guardian.is_alive(path):
        return True
    with contextlib.suppress(FileNotFoundError):
        os.close(open_nameless(path))
        return True
    return False


# -- registers of other processes --------------------------------------------------------------------------------------


def records(session: str) -> list[guardian.Record]:
    """Return the records in all registers of a session."""
    return [record for path in guardian.registers(session) for record in guardian.read_register(path)]


def new_socket_path(register: str) -> str:
    """Return a new path for a socket that is removed with the register of its process."""
    return f"{register}.{os.urandom(5).hex()}"


def is_guarded(session: str) -> bool:
    """Return whether any process of the session has started a guardian."""
    with contextlib.suppress(OSError), open(os.path.join(session, ROOT), "rb") as file:
        return file.read(GUARDED_AT + 1)[GUARDED_AT:] == b"\1"
    return False


def prune(session: str) -> None:
    """Remove the registers of a living session's dead processes whose blocks are gone."""
    for path in guardian.registers(session)[1:]:
        fd = guardian.lock(path, wait=False)  # SYNC POINT: join (`Register`)
        if fd >= 0:
            guardian.remove_sockets(path)
            if not any(map(guardian.exists, guardian.read_register(path))):
                guardian.unlink_if_there(path)
            os.close(fd)
