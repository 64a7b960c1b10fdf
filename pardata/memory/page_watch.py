"""Watches pages of this process's own memory: the kernel tells whether any of them was written since (Linux 6.7).

`userfaultfd` protects pages from writing. In its asynchronous mode the first write to a page takes the protection off
and goes on, and `PAGEMAP_SCAN` finds the pages that have lost it: 20 us for 80 MB in huge pages, 0.5 ms in small ones.

Only a write that goes through the page table is seen. So memory is not watched that anybody else could write to: that
of a file, shared memory, and all memory while this process has something that may have been given its pages
(`unseen_writers`). A system call of another process that writes here, as `process_vm_writev`, holds a page for about a
millisecond: whoever watches compares once more, later on.
"""

from __future__ import annotations

import os
import platform
import re
import struct
import weakref
from array import array
from contextlib import suppress
from ctypes import c_int, c_long
from typing import Final

from pardata.memory.unseen_writers import check_unpinned, has_unseen_writers
from pardata.process import forked_child
from pardata.process.system import libc, module

fcntl = module("fcntl")

_SYSCALLS: Final = {"x86_64": 323, "aarch64": 282}
_USER_MODE_ONLY: Final = 1  # what anybody may do; in asynchronous mode writes by the kernel are seen all the same
_API: Final = struct.pack("QQQ", 0xAA, 1 << 15, 0)  # its version, UFFD_FEATURE_WP_ASYNC
_PROTECT: Final = 1
_REGISTER_PROTECTION: Final = 2
_UFFDIO_API: Final = 0xC018AA3F
_UFFDIO_REGISTER: Final = 0xC020AA00
_UFFDIO_WRITEPROTECT: Final = 0xC018AA06

_PAGEMAP_SCAN: Final = 0xC0606610
_CHECK_ASYNC: Final = 2  # an error if a part is not protected in this mode: it is other memory by now
_WRITTEN: Final = 2
_PRESENT: Final = 8  # a page that was thrown away (MADV_DONTNEED) is not, and has other contents

_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_MAPPING: Final = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ...(.) \S+ (\S+) (\d+)")


class PageWatch:
    """Some memory of this process. It is watched from `begin` on, until this object dies.

    Raises
    ------
    OSError
        This system does not tell, or not to this process.

    Attributes
    ----------
    begin, end : int
        Addresses: the whole pages of the memory.
    """

    def __init__(self, address: int, nbytes: int) -> None:
        self.begin = -(-address // _PAGE) * _PAGE
        self.end = (address + nbytes) // _PAGE * _PAGE
        self._memory = address, nbytes
        self._process = _this_process()
        self._fd = _open()
        self._file = _file_of(self._fd)
        weakref.finalize(self, _close, self._fd, self._file).atexit = False
        fcntl.ioctl(self._fd, _UFFDIO_API, bytearray(_API))

    def is_of(self, address: int, nbytes: int) -> bool:
        """Return whether this is the watch of that memory."""
        return self._memory == (address, nbytes)

    def start(self) -> None:
        """Count writes from now on; raises OSError if some may not be seen."""
        if _this_process() != self._process:
            raise OSError("the pages are those of the process that this one was forked from")
        if _file_of(self._fd) != self._file:
            raise OSError("the descriptor is gone")
        check_unpinned()
        if not _is_private(self.begin, self.end):
            raise OSError("others may write to these pages")
        begin, length = self.begin, self.end - self.begin
        fcntl.ioctl(self._fd, _UFFDIO_REGISTER, bytearray(struct.pack("4Q", begin, length, _REGISTER_PROTECTION, 0)))
        fcntl.ioctl(self._fd, _UFFDIO_WRITEPROTECT, bytearray(struct.pack("3Q", begin, length, _PROTECT)))
        if has_unseen_writers():  # behind the protection: who gets pages from now on loses it
            raise OSError("others may write to these pages")

    def is_untouched(self) -> bool:
        """Return whether no page was written, thrown away or moved since `start`; False also if that is not known."""
        found = array("Q", (0, 0, 0))  # room for one region
        request = bytearray(
            struct.pack(
                "12Q", 96, _CHECK_ASYNC, self.begin, self.end, 0, found.buffer_info()[0], 1, 1,
                _PRESENT, 0, _WRITTEN | _PRESENT, _WRITTEN,
            )
        )  # fmt: skip
        try:
            pages = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            try:
                regions: int = fcntl.ioctl(pages, _PAGEMAP_SCAN, request)
            finally:
                os.close(pages)
        except OSError:
            return False
        return regions == 0 and struct.unpack_from("Q", request, 32)[0] == self.end


def _open() -> int:
    check_unpinned()
    number = _SYSCALLS.get(platform.machine())
    fd = -1 if number is None else libc().syscall(c_long(number), c_int(os.O_CLOEXEC | os.O_NONBLOCK | _USER_MODE_ONLY))
    if fd < 0:
        raise OSError("there is no userfaultfd")
    return int(fd)


def _this_process() -> tuple[int, int]:
    return os.getpid(), forked_child.generation  # in a namespace of its own a child may have the id of its parent


def _file_of(fd: int) -> tuple[int, int]:
    """Return what tells a descriptor from all others: the user's code may close it, and get its number for another."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _close(fd: int, file: tuple[int, int]) -> None:
    with suppress(OSError):
        if _file_of(fd) == file:
            os.close(fd)


def _is_private(begin: int, end: int) -> bool:
    """Return whether memory belongs to this process alone, and to no file."""
    with open("/proc/self/maps", "rb") as file:
        for line in file:
            found = _MAPPING.match(line)
            if found is not None and int(found[2], 16) > begin:
                if int(found[1], 16) > begin or found.groups()[2:] != (b"p", b"00:00", b"0"):
                    return False
                begin = int(found[2], 16)
                if begin >= end:
                    return True
    return False
