"""A view of any kind keeps its block; the block is used again only after the last of them died."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from pardata.memory.array import view

HANG_S = 60
SHAPE = (6, 1000)
NO_COPY = None if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else False


class Foreign:
    """An object of another library that exposes an array's memory."""

    def __init__(self, array):
        self.array = array
        self.__array_interface__ = array.__array_interface__


VIEWS = {
    "asarray": np.asarray,
    "array without a copy": lambda a: np.array(a, copy=NO_COPY),
    "slice": lambda a: a[2:4, ::3],
    "empty slice": lambda a: a[:0],
    "row": lambda a: a[1],
    "iterated row": lambda a: next(iter(a)),
    "iterator": iter,
    "new axis": lambda a: a[:, None],
    "transpose": lambda a: a.T,
    "swapaxes": lambda a: a.swapaxes(0, 1),
    "reversed": lambda a: a[::-1, ::-1],
    "reshape": lambda a: a.reshape(-1, 4),
    "ravel": np.ravel,
    "squeeze": lambda a: a[:1].squeeze(),
    "diagonal": lambda a: a.diagonal(),
    "real": lambda a: a.real,
    "imag": lambda a: a.imag,
    "other dtype": lambda a: a.view(np.uint8),
    "field": lambda a: a.view([("x", "f8"), ("y", "f8")])["y"],
    "matrix": lambda a: a.view(np.matrix),
    "masked": lambda a: np.ma.masked_array(a, copy=False),
    "flat": lambda a: a.flat,
    "as_strided": lambda a: np.lib.stride_tricks.as_strided(a, (3,), (16,)),
    "as_strided of a view": lambda a: np.lib.stride_tricks.as_strided(a[1, 5:], (3,), (16,)),
    "broadcast_to": lambda a: np.broadcast_to(a, (2, *SHAPE)),
    "sliding windows": lambda a: np.lib.stride_tricks.sliding_window_view(a, 3, axis=1),
    "split": lambda a: np.split(a, 3)[1],
    "memoryview": memoryview,
    "memoryview of a memoryview": lambda a: memoryview(memoryview(a).cast("B")[8:]).toreadonly(),
    "frombuffer": lambda a: np.frombuffer(a, np.uint8),
    "frombuffer of a memoryview": lambda a: np.frombuffer(memoryview(a).cast("B")[16:], np.uint8),
    "ndarray over a memoryview": lambda a: np.ndarray((4,), "f8", memoryview(a).cast("B")),
    "array interface": lambda a: np.asarray(Foreign(a)),
    "DLPack": lambda a: np.from_dlpack(a),
    "ctypes": lambda a: a.ctypes,
    "PickleBuffer": pickle.PickleBuffer,
    "chain": lambda a: np.asarray(memoryview(a[3:].reshape(-1)[5:].view("f8"))[2:])[::-1],
}


@pytest.mark.parametrize("kind", VIEWS)
def test_view_keeps_its_block_until_it_dies(arena, kind):
    nbytes = 16 * SHAPE[0] * SHAPE[1]
    block = arena.reserve(nbytes)
    address, extent = block.offset, block.extent_bytes
    array = view(block, 0, np.complex128, SHAPE, None)
    array[:] = np.arange(array.size).reshape(SHAPE) * (1 + 1j)
    seen = VIEWS[kind](array)
    del block, array
    assert arena.statistics()["live_bytes"] == extent
    other = arena.reserve(nbytes)
    assert other.offset != address
    del seen
    assert arena.reserve(nbytes).offset == address


COPIES = {
    "pickle": lambda a: pickle.loads(pickle.dumps(a, protocol=5)),
    "pickle of a view": lambda a: pickle.loads(pickle.dumps(a[1:, ::2], protocol=5)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "array": np.array,
    "fancy index": lambda a: a[[0, 1]],
    "tobytes": lambda a: a.tobytes(),
    "arithmetic": lambda a: a + 0,
    "scalar": lambda a: a[0, 0],
}


@pytest.mark.parametrize("kind", COPIES)
def test_copy_is_independent_of_the_block(arena, kind):
    block = arena.reserve(16 * SHAPE[0] * SHAPE[1])
    array = view(block, 0, np.complex128, SHAPE, None)
    array[:] = 3
    made = COPIES[kind](array)
    expected = copy.deepcopy(made)
    block[:] = 0
    del block, array
    assert arena.statistics()["live_bytes"] == 0
    assert np.array_equal(made, expected)


def test_block_outlives_the_arena_that_made_it(make_arena):
    arena = make_arena()
    array = view(arena.reserve(8000), 0, "f8", (1000,), None)
    array[:] = 4
    del arena
    assert array.sum() == 4000


def test_two_anchors_of_one_block_are_told_apart(arena):
    """As two leases of it are: each tells its own end."""
    from pardata.memory.array import anchor

    ended = []
    first = anchor(arena.segment.map, 0, 4096, ended, "first")
    second = anchor(arena.segment.map, 0, 4096, ended, "second")
    part = second[5:]
    del second
    assert ended == []
    del first
    assert ended == ["first"]
    del part
    assert ended == ["first", "second"]


FORK = """
import gc, os
import numpy as np
import pardata
from pardata.memory.shared_heap import shared_heap
{make}
expected = [array.copy() for array in arrays]
parents = shared_heap()
pid = os.fork()
if pid == 0:
    del arrays
    gc.collect()
    parents.arena.trim()
    fresh = [pardata.zeros(1 << 18) for _ in range(4)]
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert shared_heap().arena.statistics()["live_bytes"] == live, shared_heap().arena
others = [pardata.zeros(1 << 18) for _ in range(4)]
assert all(map(np.array_equal, arrays, expected)), [array.ravel()[0] for array in arrays]
"""
MAKE = {
    "arrays of the process": """
arrays = [pardata.array(np.full(1 << 18, 7.0 + i)) for i in range(3)]
live = shared_heap().arena.statistics()["live_bytes"]
""",
    "arrays of a run that is over": """
from pardata.memory.array import anchor, view
from pardata.memory.retained_blocks import RetainedBlocks
span = shared_heap().take_span()
blocks = [(span.offset + (i << 21), 1 << 21) for i in range(3)]
remains = RetainedBlocks(shared_heap(), [span], [(i, *block) for i, block in enumerate(blocks)])
anchors = [anchor(shared_heap().segment.map, *block, remains, i) for i, block in enumerate(blocks)]
arrays = [view(block, 0, float, (1 << 18,), None) for block in anchors]
for i, array in enumerate(arrays):
    array[:] = 7.0 + i
del anchors
live = 0
""",
}


@pytest.mark.parametrize("what", MAKE)
def test_forked_child_that_drops_its_views_does_not_free_the_parents_block(what):
    done = subprocess.run(
        [sys.executable, "-c", FORK.format(make=MAKE[what])], capture_output=True, text=True, timeout=HANG_S
    )
    assert done.returncode == 0, done.stderr
