"""Records of named blocks, and the removal of a dead session's blocks: by a helper process, else at the next start.

Every process that creates named blocks has a *register*: a file in its session's directory that it holds a `flock` on,
and in which it records each name before the block exists. A lock ends with its holder, however that ends; so a register
whose lock can be had is final, and the blocks that it names can be removed:

    <base>/<session>/root        of the process that began the session; while it is locked, nothing of it is touched
    <base>/<session>/<pid>-...   of its other processes; these blocks stay while root *or* their creator lives
    <base>/<session>/<register>.<...>   a socket of a register's process (a look-up service), which stays as long

A register, in bytes; its own process is the only writer of all but `guarded`:

    0     8s magic | q process id | q number of usable slots       filled in when slots are added
    24    guarded: 1 once any process of the session has started a guardian; used in root's register only
    4096  slots of 512 bytes: q state | q device | q inode | q nbytes | q group | d created | 256s name | 208s where

    state      IN_USE or 0. Written last, cleared first (SYNC POINT: record), so that a slot in use is whole
    device, inode     of the block's file; both 0: any file of this name, which nobody else uses
    nbytes     size of the block in bytes             created    seconds since the epoch
    group      number of its manager, 0: none         where      file:line; texts are filled up with NULs

The directory is the state. The guardian only waits for the locks, so it can be killed without loss, and the sweep at
the next start does the same without waiting. The guardian runs this file as a script, by a Python that loads nothing
else: it imports nothing of the package.
"""

import contextlib
import errno
import os
import struct
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

with contextlib.suppress(ImportError):  # not on every system: sessions are of Linux
    import fcntl

ROOT: Final = "root"
REGISTER_MAGIC: Final = b"pardata2"
REGISTER_HEADER_BYTES: Final = 4096
REGISTER_HEADER: Final = struct.Struct("<8sqq")
GUARDED_AT: Final = 24
SLOT_BYTES: Final = 512
IN_USE: Final = 1
SLOT: Final = struct.Struct("<qqqqqd256s208s")
SLOTS: Final = 1 << 17  # at most: twice the mappings that a process may have; the file is sparse

SHM: Final = "/dev/shm"
HAS_SHM: Final = sys.platform == "linux" and os.path.isdir(SHM)
SHORTAGES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # of this process: they say nothing about the file

FileId = tuple[int, int]  # device and inode: another file system may have a file of the same inode
ANY_FILE: Final[FileId] = (0, 0)


class Record(NamedTuple):
    """One block as a register's slot describes it; `pid` is that of the register's process."""

    name: str
    file: FileId
    nbytes: int
    group: int
    created: float
    where: str
    pid: int


def id_of(found: os.stat_result) -> FileId:
    """Return the identity of a file."""
    return found.st_dev, found.st_ino


def file_of(name: str) -> FileId:
    """Return the identity of the file that has a block's name now. Raises `FileNotFoundError`."""
    return id_of(os.stat(f"{SHM}/{name}", follow_symlinks=False))


def unlink_name(name: str) -> None:
    """Remove the name of a block; its memory stays until the last process has unmapped it."""
    os.unlink(f"{SHM}/{name}")


def exists(record: Record) -> bool:
    """Return whether a recorded block still has its name, and no other block has taken it."""
    try:
        return file_of(record.name) == record.file or record.file == ANY_FILE
    except FileNotFoundError:
        return False


def remove(record: Record) -> bool:
    """Remove a recorded block; return whether it was there and still the one that was recorded."""
    try:
        if not exists(record):
            return False
        unlink_name(record.name)
    except FileNotFoundError:
        return False
    return True


def read_register(path: str) -> Iterator[Record]:
    """Yield the blocks that a register names. It may be in use, or gone by now."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        head = file.read(REGISTER_HEADER_BYTES)[: REGISTER_HEADER.size]
        magic, pid, slots = REGISTER_HEADER.unpack(head.ljust(REGISTER_HEADER.size, b"\0"))
        if magic != REGISTER_MAGIC:
            return  # its process ended before it was ready
        for _ in range(slots):
            state, device, inode, nbytes, group, created, name, where = SLOT.unpack(file.read(SLOT_BYTES))
            if state == IN_USE:
                texts = (os.fsdecode(text.rstrip(b"\0")) for text in (name, where))
                yield Record(next(texts), (device, inode), nbytes, group, created, next(texts), pid)


def sessions(base: str) -> list[str]:
    """Return the paths of all sessions of this user; the links beside them are managers' addresses."""
    paths = [os.path.join(base, name) for name in sorted(_entries(base))]
    return [path for path in paths if not os.path.islink(path)]


def registers(session: str) -> list[str]:
    """Return the paths of a session's registers, root's first; none if there is no such session."""
    names = [name for name in _entries(session) if "." not in name]
    return [os.path.join(session, name) for name in sorted(names, key=lambda name: (name != ROOT, name))]


def remove_sockets(register: str) -> None:
    """Remove the sockets of a register's process."""
    session, name = os.path.split(register)
    for entry in _entries(session):
        if entry.startswith(f"{name}."):
            unlink_if_there(os.path.join(session, entry))


def lock(path: str, wait: bool) -> int:
    """Return a descriptor that holds the lock of the register at `path`; -1 if its process lives, or it is gone.

    The lock is shared: an exclusive one would make its holder look like the register's living process to a sweeper.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | (0 if wait else fcntl.LOCK_NB))
        if os.fstat(fd).st_nlink:
            return fd
    except BlockingIOError:
        pass
    os.close(fd)
    return -1


def is_alive(session: str) -> bool:
    """Return whether a session's root lives. Raises `OSError` if this process can open no more files."""
    try:
        fd = os.open(os.path.join(session, ROOT), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def sweep_session(session: str, wait: bool = False, by_root: bool = False) -> list[Record]:
    """Remove the blocks that a session has left, unless its root lives; return their records.

    Where another sweeper is at work, the rest is left to it, or waited for. `by_root`: the caller is the root.
    """
    if not by_root and is_alive(session):
        return []
    removed = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, BlockingIOError), alone(session, wait):
        removed = _sweep_alone(session, by_root)
    if not os.path.exists(session):
        _clear(os.path.dirname(session), wait)
    return removed


@contextlib.contextmanager
def alone(directory: str, wait: bool) -> Iterator[int]:
    """Lock a directory against all other callers of this function; give a descriptor of it.

    Raises `FileNotFoundError` if it is gone, and without `wait` `BlockingIOError` if another process has it: a process
    that is stopped there would stop all others.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if not os.fstat(fd).st_nlink:
            raise FileNotFoundError(directory)
        yield fd
    finally:
        os.close(fd)


def _sweep_alone(session: str, by_root: bool) -> list[Record]:
    # SYNC POINT: appear (`register.appear`). Listed before root is looked for: if root gets its name after this, none
    # of these registers is of a process that has joined it.
    paths = registers(session)
    root = os.path.join(session, ROOT)
    held = -1 if by_root else lock(root, wait=False)
    try:
        if held < 0 and not by_root and os.path.exists(root):
            return []
        removed = []
        for path in paths:
            removed += _remove_all(path) if path == root else _sweep_register(path)
        # Root's register goes last: as long as it exists, blocks that it names can be found. One that was not there
        # before belongs to a root that lives, and lets its session appear just now.
        if (by_root or held >= 0) and registers(session) == [root]:
            unlink_if_there(root)
        with contextlib.suppress(OSError):  # a process of it lives
            os.rmdir(session)
        return removed
    finally:
        if held >= 0:
            os.close(held)


def _sweep_register(path: str) -> list[Record]:
    fd = lock(path, wait=False)  # SYNC POINT: join (`Register`). A new register may be taken for a dead one's here
    if fd < 0:
        return []  # its process lives on
    removed = _remove_all(path)
    unlink_if_there(path)
    os.close(fd)
    return removed


def _remove_all(path: str) -> list[Record]:
    remove_sockets(path)
    # SYNC POINT: record (`Register.note`). The lock was had, so the file is final: every block with a name is in it.
    return [record for record in read_register(path) if remove(record)]


def sweep(base: str, wait: bool = False) -> list[Record]:
    """Remove the blocks that dead sessions of this user have left; return their records. Living ones are not touched.

    Where another sweeper is at work, the rest is left to it, or waited for.
    """
    removed = [record for session in sessions(base) for record in sweep_session(session, wait)]
    _clear(base, wait)
    return removed


def _clear(base: str, wait: bool) -> None:
    """Remove the addresses of managers whose sessions are gone, and the directory if there are no sessions.

    SYNC POINT: manager address (`manager_links.take_address`). Under the directory's lock: else a new manager might
    take an address between the look at it and its removal.
    """
    with contextlib.suppress(FileNotFoundError, BlockingIOError), alone(base, wait) as fd:
        for name in os.listdir(fd):
            try:
                target = os.readlink(name, dir_fd=fd)
            except OSError:
                continue  # a session; or removed just now by its manager
            if not os.path.isdir(os.path.dirname(target)):
                os.unlink(name, dir_fd=fd)
    with contextlib.suppress(OSError):
        os.rmdir(base)


def _entries(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def unlink_if_there(path: str) -> None:
    """Remove a name, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def main(session: str) -> None:
    """Wait until a session's root is dead, then for its other processes; remove the blocks of each."""
    path: str | None = os.path.join(session, ROOT)
    while path is not None:
        fd = lock(path, wait=True)
        if fd >= 0:
            os.close(fd)
        sweep_session(session, wait=True)
        path = next((path for path in registers(session) if os.path.basename(path) != ROOT), None)


if __name__ == "__main__":
    main(sys.argv[1])
