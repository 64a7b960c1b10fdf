"""Named shared-memory objects of the OS: create, publish, open, map.

On Linux a name is a file in /dev/shm, as it is for `shm_open` of any other program. A block with a name of the user's
choice is made without a name, recorded by its inode, and then linked into view: so it appears whole, and no reader of
the record can take another program's block of that name for it.
"""

from __future__ import annotations

import errno
import mmap
import os
from typing import Final

from pardata.errors import CapacityError
from pardata.memory.budget import available_bytes, format_bytes
from pardata.memory.mapping import keep_out_of_dumps, map_untracked, mapping_error
from pardata.memory.named.guardian import HAS_SHM, SHM, FileId, file_of
from pardata.process.system import unsupported

# Without a descriptor behind it, a mapping costs no more than address space: 1,000 blocks under `ulimit -n 64`.

# A block's pages are allocated when it is made if it, together with all unallocated blocks of this process, would take
# more than a sixteenth of the free memory: then a full mount is an error here, not a SIGBUS later. Smaller blocks are
# left to their first writer, as to allocate 1 MiB takes 200 us, ten times as long as all the rest of making a block.
_LAZY_SHARE: Final = 16
_LARGE_BYTES: Final = 64 << 20  # from here on the machine's free memory is compared as well


def check_shm() -> None:
    """Raise `PlatformError` where there are no named blocks."""
    if not HAS_SHM:
        unsupported("shared memory with a name", f"Linux with {SHM}")


def check_name(name: str) -> str:
    """Return `name` if a block can have it, else raise `ValueError`."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a block is a str, not {type(name).__name__}")
    if "\0" in name:
        raise ValueError(f"embedded null character in the name {name!r}")
    if "/" in name or name in ("", ".", ".."):
        raise ValueError(f"the name of a block is a file name without a slash, not {name!r}")
    return name


def create(name: str) -> int:
    """Create an empty block and return its descriptor. Raises `FileExistsError`."""
    check_shm()
    try:
        return os.open(f"{SHM}/{name}", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise mount_error(error, 0) from None


def create_nameless() -> int:
    """Create an empty block that `publish` can give a name to; -1 where the file system, or this Python, has none."""
    check_shm()
    if not hasattr(os, "O_TMPFILE"):
        return -1
    try:
        return os.open(SHM, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            return -1
        raise mount_error(error, 0) from None


def is_beside_blocks(path: str) -> bool:
    """Return whether a nameless block could get a name in the directory of `path`: both on one file system."""
    try:
        return os.stat(os.path.dirname(path)).st_dev == os.stat(SHM).st_dev
    except FileNotFoundError:
        return False


def publish(fd: int, name: str) -> None:
    """Give a nameless block its name. Raises `FileExistsError`."""
    try:
        link(fd, f"{SHM}/{name}")
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None


def link(fd: int, path: str, directory: int | None = None) -> None:
    """Give a nameless file a path, below a directory if a descriptor of one is given."""
    # Python follows the link only if it is given a descriptor, which the kernel ignores: the first path is absolute.
    os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, dst_dir_fd=directory, follow_symlinks=True)


def open_block(name: str) -> int:
    """Return a descriptor of an existing block. Raises `FileNotFoundError`, `CapacityError`."""
    check_shm()
    try:
        return os.open(f"{SHM}/{name}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise mapping_error(error, 0) from None


class Overcommit:
    """The bytes of this process's blocks that have a size on the mount of named blocks, but no allocated pages."""

    def __init__(self) -> None:
        self._lazy_bytes = 0
        self._most_lazy_bytes = 0
        self._blocks: dict[str, int] = {}  # bytes of each
        self._calls = 0  # since the last look for blocks that other processes have unlinked

    def take(self, fd: int, nbytes: int) -> int:
        """Give an empty block its size. Return the bytes that are not allocated; their first writer allocates them.

        Raises
        ------
        CapacityError
            There is no room for it; nothing was taken.
        """
        promised = _in_pages(nbytes)
        self._calls += 1
        if self._lazy_bytes + promised > self._most_lazy_bytes:
            self._forget_the_gone()
            self._most_lazy_bytes = max(0, _free_bytes(fd) - self._lazy_bytes) // _LAZY_SHARE
        if self._lazy_bytes + promised > self._most_lazy_bytes:
            self._allocate(fd, nbytes)
            return 0
        try:
            os.ftruncate(fd, nbytes)
        except OSError as error:
            raise mapping_error(error, nbytes) from None
        self._lazy_bytes += promised
        return promised

    def keep(self, name: str, promised: int) -> None:
        """Count a block by its name, which it has now; an older block of this name was unlinked by another process."""
        self.forget(name)
        if promised:
            self._blocks[name] = promised

    def give_back(self, promised: int) -> None:
        """Take back the bytes of a block that did not get its name."""
        self._lazy_bytes -= promised

    def forget(self, name: str) -> None:
        """Take back the bytes of a block whose name is gone."""
        self._lazy_bytes -= self._blocks.pop(name, 0)

    def _forget_the_gone(self) -> None:
        if self._calls > len(self._blocks):
            self._calls = 0
            for name in [name for name in list(self._blocks) if not os.path.exists(f"{SHM}/{name}")]:
                self.forget(name)

    def _allocate(self, fd: int, nbytes: int) -> None:
        free = max(0, _free_bytes(fd) - self._lazy_bytes)
        if nbytes > free:
            raise CapacityError(no_room(nbytes, free, SHM))
        if nbytes >= _LARGE_BYTES and nbytes > (free := available_bytes()):
            raise CapacityError(no_room(nbytes, free, "this machine's memory (or of its cgroup)"))
        if not nbytes:
            return
        try:
            os.posix_fallocate(fd, 0, nbytes)
        except OSError as error:
            raise mount_error(error, nbytes) from None
        self._most_lazy_bytes = 0  # less is free now: look again


def _in_pages(nbytes: int) -> int:
    return -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE


def _free_bytes(fd: int) -> int:
    mount = os.fstatvfs(fd)
    return mount.f_bavail * mount.f_frsize if mount.f_blocks else available_bytes()  # a tmpfs without a limit: 0 of 0


def no_room(needed: int, free: int, what: str) -> str:
    """Return the text of the error for a block that does not fit: both sizes in bytes, and what to do."""
    return (
        f"a block of {format_bytes(needed)} ({needed} bytes) does not fit: {format_bytes(free)} ({free} bytes) of "
        f"{what} are free. Unlink blocks that are done ('python -m pardata ls' shows them), enlarge {SHM} (docker: "
        f"--shm-size), or use pardata.empty, whose memory has no name and is not bounded by {SHM}"
    )


def mount_error(error: OSError, needed: int) -> OSError | CapacityError:
    """Return the error to raise where the mount has refused `needed` bytes: a full mount becomes a `CapacityError`.

    One that cannot be written to stays an `OSError` of its kind, with a remedy.
    """
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return OSError(
            error.errno,
            f"shared memory with a name is a file in {SHM}, and this process cannot write there ({error.strerror}): "
            f"have it mounted for writing (docker: --tmpfs {SHM}), or use pardata.empty, whose memory has no name",
            SHM,
        )
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return mapping_error(error, needed)
    mount = os.statvfs(SHM)
    if mount.f_files and not mount.f_favail:
        return CapacityError(
            f"a block does not fit: {SHM} has {mount.f_files} inodes, and all are in use. Remove files there ('python "
            f"-m pardata ls' shows blocks), have it mounted with more (nr_inodes=), or use pardata.empty, whose memory "
            f"has no name"
        )
    return CapacityError(no_room(needed, mount.f_bavail * mount.f_frsize, SHM))


def map_block(fd: int, nbytes: int, offset: int = 0) -> mmap.mmap:
    """Map a block, or a part of it, without keeping a descriptor of it. Raises `OSError`, `CapacityError`."""
    try:
        made = map_untracked(fd, nbytes, offset)
    except OSError as error:
        raise mapping_error(error, nbytes) from None
    keep_out_of_dumps(made)
    return made


def is_linked(name: str, file: FileId) -> bool:
    """Return whether the block that is this file still has this name."""
    try:
        return file_of(name) == file
    except FileNotFoundError:
        return False
