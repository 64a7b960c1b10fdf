"""One anonymous shared-memory object: create, attach, map, give pages back.

A segment is huge in address space and empty in memory: pages exist only where a process has written. It has no name,
so the kernel frees it when the last process that maps it is gone, whatever ended that process.
"""

from __future__ import annotations

import functools
import gc
import mmap
import os
import time
from typing import Final

from pardata.memory.mapping import address_of, advise, keep_out_of_dumps, map_aligned, mapping_error
from pardata.process.capacity import lacks_descriptors
from pardata.process.system import check_linux, memory_file

HUGE_PAGE_BYTES: Final = 2 << 20
PAGE_BYTES: Final = mmap.PAGESIZE

SEGMENT_NAME: Final = "pardata"  # /proc tells it; nothing can be opened by it

# 32 TiB of the 128 TiB that a Linux process has: mapping it took 6 us here, and no page table exists before a touch.
_LARGEST_BYTES: Final = 32 << 40
_SMALLEST_BYTES: Final = 2 << 30

_MADV_COLLAPSE: Final = 25
_SMALL_S: Final = 1e-9  # of CPU time for each byte: a first write to small pages
_MOST_AT_ONCE: Final = 32 << 20  # bytes of huge pages, until it is looked again whether they pay
_LEFT_OUT: Final = 256 << 20  # bytes, until they are tried again
_HUGE_PAGES_OF_FILES: Final = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"


@functools.cache
def are_huge_by_default() -> bool:
    """Return whether the system gives huge pages to shared memory that has not asked for them, or whether it may."""
    try:
        with open(_HUGE_PAGES_OF_FILES) as file:
            return not {"[never]", "[advise]", "[deny]"} & set(file.read().split())
    except OSError:
        return True


class Segment:
    """A mapped anonymous segment.

    Attributes
    ----------
    map : mmap.mmap
        The mapping. It lives as long as any array over it; it is never closed by hand.
    """

    def __init__(self, fd: int, size_bytes: int) -> None:
        """Map the segment behind `fd`, which the segment owns from now on."""
        self.fd = fd
        self.size_bytes = size_bytes
        self.map = map_aligned(fd, size_bytes, HUGE_PAGE_BYTES)
        keep_out_of_dumps(self.map)
        if are_huge_by_default():  # a table of 100 bytes would take 2 MiB: only large blocks ask for them
            advise(self.map, "MADV_NOHUGEPAGE")
        self._pays = False  # the last huge pages were made in less time than a first write to small ones takes
        self._left_out = 0  # bytes that still get small pages, as the last huge ones did not pay
        self._has_huge = not address_of(self.map) % HUGE_PAGE_BYTES
        self._pid = os.getpid()  # a forked child has the mapping too, but nothing in it is the child's to give back

    @classmethod
    def create(cls) -> Segment:
        """Create a segment as large as this process may map (32 TiB; less under ``ulimit -v``).

        Raises `CapacityError` if not even 2 GiB of addresses are left, files may not be so large (``ulimit -f``), or
        there are no descriptors (``ulimit -n``); `PlatformError` where there is no Linux.
        """
        check_linux("arrays in shared memory and worker processes")
        size_bytes = _LARGEST_BYTES
        try:
            fd = memory_file(SEGMENT_NAME)
        except OSError as error:
            raise mapping_error(error, size_bytes) from error
        has_collected = False
        while True:
            try:
                os.ftruncate(fd, size_bytes)
                return cls(fd, size_bytes)
            except OSError as error:
                if not has_collected:  # four segments that wait for the collector take all addresses of a process
                    has_collected = True
                    gc.collect()
                    continue
                if size_bytes > _SMALLEST_BYTES and not lacks_descriptors(error):
                    size_bytes //= 2
                    continue
                os.close(fd)
                raise mapping_error(error, size_bytes) from error

    def prepare(self, offset: int, nbytes: int) -> None:
        """Get a range ready for its first use.

        A memfd is bounded by memory alone, which the budget guards, and its untouched pages cost nothing.
        """
        if nbytes >= HUGE_PAGE_BYTES:
            advise(self.map, "MADV_HUGEPAGE", offset, nbytes)

    def fill(self, offset: int, nbytes: int) -> None:
        """Put huge pages behind an unused range that is to be written from end to end; a rest gets small ones.

        A first write to 8 MiB of small pages takes 8 ms, to huge ones 1 ms with their making, and later ones half as
        long as to small ones. The kernel makes one of the small pages that are there: so one is written first. Where
        memory is in small pieces it moves pages for that. A virtual machine that gives free memory back to its host has
        to ask for it again, which takes 5 ms for a huge page. So one is made as a trial; others follow if it has paid.
        """
        nbytes -= nbytes % HUGE_PAGE_BYTES
        if self._left_out > 0:
            self._left_out = max(0, self._left_out - nbytes)
            return
        end = offset + nbytes
        while offset < end and self._has_huge and not self._left_out:
            size = min(end - offset, _MOST_AT_ONCE if self._pays else HUGE_PAGE_BYTES)
            self._make_huge(offset, size)
            offset += size

    def _make_huge(self, offset: int, nbytes: int) -> None:
        """Put huge pages behind a range, and note whether that has paid."""
        begin = time.thread_time()
        for at in range(offset, offset + nbytes, HUGE_PAGE_BYTES):
            self.map[at] = 0
        try:
            self.map.madvise(_MADV_COLLAPSE, offset, nbytes)
        except OSError:  # an older kernel, or there is no memory for it: from now on, small ones
            self._has_huge = False
        self._pays = time.thread_time() - begin < _SMALL_S * nbytes
        self._left_out = 0 if self._pays else _LEFT_OUT

    def punch(self, offset: int, nbytes: int) -> None:
        """Give the pages of a page-aligned range back to the system; it reads as zeros afterwards."""
        if nbytes > 0 and os.getpid() == self._pid:
            # Frees the pages in the object itself: MADV_DONTNEED would only unmap them here, and they would stay
            # allocated.
            self.map.madvise(mmap.MADV_REMOVE, offset, nbytes)

    def close_fd(self) -> None:
        """Close the descriptor; the mapping stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __repr__(self) -> str:
        return f"<Segment fd={self.fd} size={self.size_bytes >> 40} TiB>"
