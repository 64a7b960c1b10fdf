"""Writers to this process's memory that do not go through its page table, so that no protection of pages sees them.

They have been given pages: a device, an io_uring, a file that is read past the page cache - because it was opened so,
or because its file system reads so (some of FUSE, SMB, 9P). The system has no list of them. So all is looked at that
this process has open, mapped or pinned, and what is not known to copy may be one.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
from ctypes import byref, c_int
from typing import Final

from pardata.process.system import libc

_STATUS: Final = "/proc/thread-self/status"
_UNPINNED: Final = re.compile(r"\nVmLck:\s+0 kB\nVmPin:\s+0 kB\n")
_FLAGS: Final = re.compile(r"flags:\s+([0-7]+)\s+mnt_id:\s+(\d+)")
_MOUNT: Final = re.compile(r"(\d+) \d+ (\d+):(\d+) .*? - (\S+) ")

_PLAIN_SOCKETS: Final = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_PLAIN_DEVICES: Final = {1, 4, 5, *range(136, 144)}  # /dev/null and its like, terminals
_PLAIN_TARGETS: Final = re.compile(r"pipe:|/memfd:|anon_inode:\[?(event|signalfd|timerfd|inotify|pidfd|userfaultfd)")
_PLAIN_SYSTEMS: Final = {
    "ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "devtmpfs", "devpts", "proc", "sysfs", "cgroup", "cgroup2",
}  # fmt: skip
_DEVICE_MAPPING: Final = re.compile(rb" (?:anon_inode:|socket:|/dmabuf|/\[aio\]|/dev/(?!shm/|zero\b))")


def check_unpinned() -> None:
    """Raise OSError if pages of this process are locked or pinned for long, or if its system calls are filtered.

    A filter may kill a process for a call that it does not know.
    """
    with open(_STATUS, errors="replace") as file:  # the name of a thread may be any bytes
        status = file.read()
    if "\nSeccomp:\t0\n" not in status:
        raise OSError("the calls of this process are filtered")
    if not _UNPINNED.search(status):
        raise OSError("some memory of this process is locked, or pinned for a device")


def has_unseen_writers() -> bool:
    """Return whether this process has something open or mapped that may write to its memory past the page table."""
    with open("/proc/self/maps", "rb") as file:
        if any(map(_DEVICE_MAPPING.search, file)):
            return True
    mounts = _Mounts()
    return not all(_is_plain(int(fd), mounts) for fd in os.listdir("/proc/self/fd"))


class _Mounts:
    """What is mounted here: each mount, and whether it is of a plain system; the devices that are."""

    def __init__(self) -> None:
        self.plain: dict[str, bool] = {}
        self.plain_devices: set[int] = set()
        with open("/proc/self/mountinfo", errors="replace") as file:
            for found in filter(None, map(_MOUNT.match, file)):
                self.plain[found[1]] = found[4] in _PLAIN_SYSTEMS
                if self.plain[found[1]]:
                    self.plain_devices.add(os.makedev(int(found[2]), int(found[3])))


def _is_plain(fd: int, mounts: _Mounts) -> bool:
    try:
        target = os.readlink(f"/proc/self/fd/{fd}")
        if target.startswith("socket:"):
            return _family(fd) in _PLAIN_SOCKETS
        if not target.startswith("/") or _PLAIN_TARGETS.match(target):
            return _PLAIN_TARGETS.match(target) is not None
        with open(f"/proc/self/fdinfo/{fd}") as file:
            found = _FLAGS.search(file.read())
        # A file of another system is not asked even for its status: its server may not answer.
        if found is None or int(found[1], 8) & os.O_DIRECT or not mounts.plain.get(found[2], True):
            return False
        status = os.fstat(fd)
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.EBADF)  # it is closed
    if found[2] not in mounts.plain and status.st_dev not in mounts.plain_devices:  # as what a container has inherited
        return False
    if stat.S_ISCHR(status.st_mode):
        return os.major(status.st_rdev) in _PLAIN_DEVICES
    return not stat.S_ISBLK(status.st_mode)


def _family(fd: int) -> int:
    """Return the family of a socket. A `socket.socket` of it would take over the default timeout, and set its flags."""
    family, size = c_int(-1), c_int(4)
    libc().getsockopt(fd, socket.SOL_SOCKET, socket.SO_DOMAIN, byref(family), byref(size))
    return family.value
