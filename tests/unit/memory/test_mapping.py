"""Mappings of shared memory: what the system is told about them, and what a user is told when it refuses one."""

import errno
import mmap
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pardata
from pardata.errors import CapacityError
from pardata.memory import mapping
from pardata.memory.named import os_objects
from pardata.memory.sealed import SealedHandle
from pardata.memory.segment import HUGE_PAGE_BYTES, Segment, are_huge_by_default

HANG_S = 60


def flags_of(address):
    """The flags of the mapping at an address: proc(5), VmFlags."""
    here = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if "-" in first and not first.endswith(":"):
            start, end = (int(part, 16) for part in first.split("-"))
            here = start <= address < end
        elif here and first == "VmFlags:":
            return line.split()[1:]
    raise AssertionError("not mapped")


def address_of(buffer):
    return np.frombuffer(buffer, np.uint8).ctypes.data


def test_the_segment_is_left_out_of_core_dumps_and_gets_no_huge_pages_unasked(segment):
    flags = flags_of(address_of(segment.map))
    assert "dd" in flags
    has_them = os.path.exists("/sys/kernel/mm/transparent_hugepage")
    assert "hg" not in flags and ("nh" in flags) == (has_them and are_huge_by_default())


def test_named_blocks_and_tables_are_left_out_of_core_dumps():
    with pardata.SharedMemory(create=True, size=100) as block:
        assert "dd" in flags_of(address_of(block.buf))
        block.unlink()
    table = SealedHandle.of({"numbers": np.arange(10)})
    assert "dd" in flags_of(table.arrays["numbers"].ctypes.data)


class Refuses:
    """A mapping of a kernel that was built without what is advised."""

    def madvise(self, *advice):
        raise OSError(errno.EINVAL, "Invalid argument")


def test_a_kernel_without_huge_pages_is_no_error(segment):
    segment.map, kept = Refuses(), segment.map
    segment.prepare(0, 2 * HUGE_PAGE_BYTES)
    segment.map = kept


def test_what_is_not_known_to_this_python_is_not_advised():
    mapping.advise(mmap.mmap(-1, 4096), "MADV_OF_ANOTHER_SYSTEM")


@pytest.mark.parametrize(
    ("number", "mappings", "limit", "words"),
    [
        (errno.EFBIG, 10, -1, r"may make files of at most .* bytes \(`ulimit -f`\)"),
        (errno.ENOMEM, 65530, 1000, r"65530 mappings, and 65530 are allowed \(`sysctl vm.max_map_count`\)"),
        (errno.ENOMEM, 10, 1000, r"limited to 1000 bytes \(`ulimit -v`\)"),
    ],
)
def test_a_limit_is_told_by_its_name(monkeypatch, number, mappings, limit, words):
    monkeypatch.setattr(mapping, "_mappings", lambda: mappings)
    monkeypatch.setattr(mapping, "_read_int", lambda path: 65530)
    monkeypatch.setattr(mapping, "_limit", lambda which: limit)
    error = mapping.mapping_error(OSError(number, os.strerror(number)), 4096)
    assert isinstance(error, CapacityError)
    with pytest.raises(CapacityError, match=words):
        raise error


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EPERM])
def test_what_has_no_name_is_told_as_it_is(monkeypatch, number):
    monkeypatch.setattr(mapping, "_mappings", lambda: 10)
    monkeypatch.setattr(mapping, "_limit", lambda which: -1)
    error = OSError(number, os.strerror(number))
    assert mapping.mapping_error(error, 4096) is error


def test_this_process_has_some_mappings_and_there_is_a_limit():
    assert 10 < mapping._mappings() == len(Path("/proc/self/maps").read_text().splitlines())
    assert mapping._read_int(mapping._MOST_MAPPINGS) > 1000


def test_a_block_that_cannot_be_mapped_is_not_left_behind(monkeypatch):
    made = []

    def refuse(fd, nbytes, offset):
        made.append(os.fstat(fd).st_ino)
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(os_objects, "map_untracked", refuse)
    monkeypatch.setattr(mapping, "_mappings", lambda: 1 << 30)
    for name in (None, "pd_test_cannot_be_mapped"):
        with pytest.raises(CapacityError, match="vm.max_map_count"):
            pardata.SharedMemory(name, create=True, size=100)
    assert len(made) == 2
    assert not set(made) & {entry.inode() for entry in os.scandir("/dev/shm")}


NO_MORE_MAPPINGS = """
import ctypes, mmap
import pardata
pardata.SharedMemory(create=True, size=100).unlink()
mprotect = ctypes.CDLL(None, use_errno=True).mprotect
mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
most = int(open("/proc/sys/vm/max_map_count").read())
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * most * page)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
at = 0
while not mprotect(address + 2 * at * page, page, mmap.PROT_READ):  # each second page is a mapping of its own
    at += 1
made = []
try:
    while True:  # the system may have put some mappings together meanwhile
        made.append(pardata.SharedMemory(create=True, size=100))
except pardata.CapacityError as error:
    print(error)
for block in made:
    block.unlink()
"""


@pytest.mark.skipif(mapping._read_int(mapping._MOST_MAPPINGS) > 1 << 18, reason="vm.max_map_count: too many to use up")
def test_a_process_that_has_all_its_mappings_is_told_so():
    done = subprocess.run([sys.executable, "-c", NO_MORE_MAPPINGS], capture_output=True, text=True, timeout=HANG_S)
    assert "sysctl vm.max_map_count" in done.stdout, done.stderr
    assert (done.returncode, done.stderr) == (0, "")


SMALL_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
import pardata
for make in (lambda: pardata.zeros(3).sum(), lambda: pardata.SharedMemory(create=True, size=100).unlink(),
             lambda: pardata.source(range(3)).map(abs).run() and None):
    try:
        print(make())
    except pardata.CapacityError as error:
        print("ulimit -f" in str(error), sys.argv[1] in str(error))
"""


@pytest.mark.parametrize(
    ("limit_bytes", "expected"),
    [
        (0, ["True True"] * 3),
        (1 << 20, ["True True"] * 3),
        (1 << 30, ["True True", "None", "True True"]),  # named blocks are no larger than they are
        (4 << 30, ["0.0", "None", "None"]),
    ],
)
def test_small_files_are_enough_or_told(limit_bytes, expected):
    command = [sys.executable, "-c", SMALL_FILES, str(limit_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert done.stdout.splitlines() == expected, done.stderr
    assert done.returncode == 0


def test_a_table_that_is_too_large_a_file_is_told(monkeypatch):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(CapacityError, match="ulimit -f"):
            SealedHandle.of({"numbers": np.arange(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_segment_is_as_large_as_files_may_be():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 30, before[1]))
    try:
        segment = Segment.create()
        assert segment.size_bytes == 4 << 30
        segment.close_fd()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
