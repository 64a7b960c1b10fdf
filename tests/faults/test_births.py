"""Workers in which NumPy's arrays are born in blocks: kills while one is handed over, little memory, and their ends."""

import atexit
import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import pardata
from pardata.channel.births import Births
from pardata.codec.ownership import sole
from pardata.memory import shared_heap
from pardata.memory.born.library import why_not
from pardata.runtime.worker.port import WorkerPort

ENTRIES = 20_000
STEPS = ("births.py", "lender.py", "arena.py", "placing.py", "leases.py", "sender.py", "port.py")

needs_births = pytest.mark.skipif(
    why_not() is not None or not sole.element or not sole.base, reason="arrays are not born in blocks here"
)


def items(count):
    for number in range(count):
        yield np.full(ENTRIES, float(number))


def is_born(array):
    """Whether an array that this worker has made lies in its arena."""
    arena = shared_heap._worker_arena
    start = np.frombuffer(arena.segment.map, np.uint8, 1).ctypes.data + arena.span.offset
    return start <= array.__array_interface__["data"][0] < start + arena.span.size_bytes


class KilledInHandOver:
    """Each process is killed in its first hand-over, from the first line of it to the end of the commit; each later."""

    def __init__(self, folder, stride):
        self.folder, self.stride = Path(folder), stride

    def open(self):
        if (self.folder / "through").exists():
            return
        self.line = self.left = 1 + self.stride * len(list(self.folder.iterdir()))
        adopt, commit = Births.adopt, WorkerPort.commit

        def traced(births, arrays, index, holders):
            root = arrays[index]
            at = root.__array_interface__["data"][0]
            del root
            if births._lender._library.live(at):
                sys.settrace(self.trace)
            return adopt(births, arrays, index, holders)

        def ended(port):
            commit(port)
            if sys.gettrace() is not None:
                sys.settrace(None)
                (self.folder / "through").touch()

        Births.adopt, WorkerPort.commit = traced, ended

    def trace(self, frame, event, _):
        if os.path.basename(frame.f_code.co_filename) not in STEPS:
            return None
        if event == "line":
            self.left -= 1
            if not self.left:
                (self.folder / f"{frame.f_code.co_name} {self.line}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace

    def __call__(self, x):
        return x + 1


@needs_births
@pytest.mark.parametrize(("readers", "stride"), [(1, 4), (2, 9)])  # with a stride of 1 it takes a minute
def test_killed_at_any_line_of_a_hand_over(tmp_path, readers, stride):
    count = 300 // stride
    raised = pardata.source(partial(items, count)).map(KilledInHandOver(tmp_path, stride), chunksize=1)
    stream = raised if readers == 1 else pardata.zip(raised.map(np.negative), raised).map(lambda pair: pair[1])
    kept = list(stream)
    assert [float(array[0]) for array in kept] == [number + 1.0 for number in range(count)]
    assert all((array == array[0]).all() for array in kept)
    lines = {path.name for path in tmp_path.iterdir()}
    assert "through" in lines and any(line.startswith(("hand_over", "_is_sole")) for line in lines)


class Hoards:
    """Keeps more of its own than the limit of the run, and says at its end whether that was still as it had been."""

    def __init__(self, told):
        self.told = told

    def open(self):
        self.kept = []
        atexit.register(self.look)  # runs when the run is over for the main process

    def __call__(self, x):
        if len(self.kept) % 2:  # the first array of a call is sent as often as the second: both may be born in blocks
            self.kept.append(x * 2)
            return x + 1
        made = x + 1
        self.kept.append(x * 2)
        return made

    def look(self):
        is_right = all((array == 2.0 * number).all() for number, array in enumerate(self.kept))
        Path(self.told).write_text(f"{is_right} {sum(map(is_born, self.kept))}")


@needs_births
def test_what_a_stage_keeps_of_its_own_takes_no_memory_of_the_run(tmp_path):
    """Some of it was born in blocks, and lives until the process ends."""
    told, nbytes = tmp_path / "told", 8 * ENTRIES
    stream = pardata.source(partial(items, 200)).map(Hoards(told), chunksize=1).map(np.max)
    assert list(stream.iterate(memory_limit=80 * nbytes)) == [number + 1.0 for number in range(200)]
    is_right, born = told.read_text().split()
    assert is_right == "True" and 0 < int(born) < 40


class Tells:
    """Tells of each result whether it was born in a block."""

    def __init__(self, told):
        self.told = told

    def __call__(self, x):
        made = x + 1
        with open(self.told, "a") as file:
            file.write("yes " if is_born(made) else "no ")
        return made


@needs_births
def test_budget_that_is_used_up_is_told_when_a_result_is_sent_that_was_born_in_a_block_or_not(tmp_path):
    """What the consumer keeps leaves no room for either."""
    told, nbytes, kept = tmp_path / "told", 8 * ENTRIES, []
    stream = pardata.source(partial(items, 60)).map(Tells(told), chunksize=1)
    with pytest.raises(pardata.CapacityError, match="kept by their consumer"):
        for array in stream.iterate(memory_limit=30 * nbytes):
            kept.append(array)
    assert all((array == number + 1).all() for number, array in enumerate(kept))
    assert len(kept) > 15 and {"yes", "no"} == set(told.read_text().split())


@needs_births
def test_pool_with_a_limit_goes_on_while_results_are_let_go_of():
    given = list(items(300))
    with pardata.WorkerPool(1, memory_limit=150 * 8 * ENTRIES) as pool:
        for number in range(300):
            assert (pool.submit(np.add, given[number], 1).result() == number + 1).all()


class Leaves:
    """Forks a child that outlives it, and reads its own arrays when the run is over."""

    has_forked = False

    def __init__(self, pipe, told):
        self.pipe, self.told = pipe, told

    def __call__(self, x):
        made = [x + number for number in range(20)]
        if not self.has_forked and any(map(is_born, made)):
            self.has_forked, value = True, float(x[0])
            if not os.fork():
                with open(self.pipe) as pipe:  # until the run is over
                    pipe.read()
                is_right = all((array == value + number).all() for number, array in enumerate(made))
                Path(self.told).write_text(str(is_right))
                os._exit(0)
        return made[1]


@needs_births
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child_that_outlives_the_run_has_its_arrays(tmp_path):
    pipe, told = tmp_path / "pipe", tmp_path / "told"
    os.mkfifo(pipe)
    os.mkfifo(told)
    leaving = pardata.source(partial(items, 20)).map(Leaves(str(pipe), str(told)), chunksize=1)
    assert [float(array[0]) for array in leaving] == [number + 1.0 for number in range(20)]
    with pardata.WorkerPool(1) as pool:  # its worker uses the memory again
        assert all((array == number + 5).all() for number, array in enumerate(pool.map(add_five, items(20))))
    open(pipe, "w").close()
    assert told.read_text() == "True"  # waits for the child


def add_five(x):
    return x + 5
