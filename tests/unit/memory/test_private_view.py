"""Private views of blocks: written to by one process only, and the block stays while any of them lives."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pardata.errors import CapacityError
from pardata.memory import private_view
from pardata.memory.array import anchor, find_anchor
from pardata.memory.exchange.range_locks import is_locked
from pardata.memory.private_view import LEAST_BYTES, private_copy

ROWS = 2 * LEAST_BYTES // 8000


@pytest.fixture
def block(arena):
    """A block with numbers behind 800 other bytes, as a worker sees it, and the view of them."""
    made = arena.reserve(800 + ROWS * 8000)
    seen = anchor(arena.segment.map, made.offset, made.extent_bytes, None, None)
    array = np.ndarray((ROWS, 1000), float, seen, 800)
    array[:] = np.arange(1000)
    return made, seen, array


def test_what_is_written_stays_here_and_the_rest_is_the_blocks(segment, block):
    _, seen, array = block
    private = private_copy(segment, seen, array)
    private[1] = -1
    assert (private[0] == array[0]).all() and (private[1] == -1).all() and (array[1] == np.arange(1000)).all()
    assert private.flags.writeable and find_anchor(private) is None and not np.may_share_memory(private, array)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_layout_is_kept(segment, block, order):
    _, seen, array = block
    array = array.transpose(order)
    private = private_copy(segment, seen, array)
    assert private.strides == array.strides and (private == array).all()


def test_block_is_held_until_the_last_view_is_gone(segment, block):
    made, seen, array = block
    place = segment.fd, made.offset, made.extent_bytes
    assert not is_locked(*place)
    part = private_copy(segment, seen, array)[1:]
    assert is_locked(*place)
    del part
    assert not is_locked(*place)


def test_forked_child_holds_it_as_well(segment, block):
    made, seen, array = block
    place = segment.fd, made.offset, made.extent_bytes
    private = private_copy(segment, seen, array)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writing)
        os.closerange(3, reading)  # as a daemon does
        os.read(reading, 1)
        os._exit(0 if private[1, 1] == 1 else 1)
    os.close(reading)
    del private
    assert is_locked(*place)
    os.close(writing)
    assert os.waitpid(pid, 0)[1] == 0
    assert not is_locked(*place)


def test_no_descriptor_is_kept(segment, block):
    _, seen, array = block
    before = len(os.listdir("/proc/self/fd"))
    views = [private_copy(segment, seen, array) for _ in range(5)]
    assert len(os.listdir("/proc/self/fd")) == before and len(views) == 5


@pytest.mark.parametrize("error", [OSError, CapacityError])
def test_where_nothing_can_be_mapped_it_is_a_copy(segment, block, monkeypatch, error):
    made, seen, array = block

    def refuse(*_, **__):
        raise error("no addresses")

    monkeypatch.setattr(private_view, "map_untracked", refuse)
    private = private_copy(segment, seen, array)
    assert private.base is None and (private == array).all() and not is_locked(segment.fd, made.offset, 1)


def test_small_arrays_are_copied(segment, block):
    _, seen, array = block
    assert private_copy(segment, seen, array[0]).base is None
    assert private_copy(None, seen, array).base is None


SCRIPT = """
import mmap, os, sys
import numpy as np
import pardata

large = np.arange(1_000_000.0)  # 8 MB
kept = []

def first(_):
    kept.append(large)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writing)
        os.read(reading, 1)
        same = large[-1] == 999_999 and (large[:-1] == np.arange(999_999.0)).all()
        with open(sys.argv[1], "w") as told:
            told.write(str(bool(same)))
        os._exit(0)
    os.close(reading)
    kept.append((pid, writing))
    return large.flags.writeable and isinstance(large.base, mmap.mmap)

def second(_):
    return large[5], (kept[0] == np.arange(1_000_000.0)).all()

def third(_):
    pid, writing = kept.pop()
    kept.clear()
    os.close(writing)
    os.waitpid(pid, 0)
    return open(sys.argv[1]).read()

with pardata.WorkerPool(1) as pool:
    assert pool.submit(first, 0).result() is True
    large[5] = -1  # another state: the one before goes, and its memory would be used again
    assert pool.submit(second, 0).result() == (-1, True)
    arrays = [pardata.array(np.full(1_000_000, number)) for number in range(5)]
    assert pool.submit(second, 0).result() == (-1, True)
    assert pool.submit(third, 0).result() == "True"
"""


def test_memory_of_a_state_that_somebody_keeps_is_not_used_again(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "told")], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
