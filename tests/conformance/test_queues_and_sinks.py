"""Sources that are queues, and sinks in the calling process: alike on every engine."""

import enum
import itertools
import multiprocessing
import os
import queue
import signal
import threading

import numpy as np
import pytest

import pardata

ENGINES = ["serial", "threads", "processes"]


class Word(enum.Enum):
    END = "end"


class Final:
    """A class is the same object in every process."""


class Told(queue.Queue):
    """Says that somebody waits, and how often nothing came."""

    def __init__(self, on_wait):
        super().__init__()
        self.on_wait = on_wait

    def get(self, block=True, timeout=None):
        try:
            return super().get(block, timeout)
        except queue.Empty:
            self.on_wait()
            raise


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


QUEUES = {
    "queue.Queue": queue.Queue,
    "queue.SimpleQueue": queue.SimpleQueue,
    "multiprocessing.Queue": multiprocessing.Queue,
    "pardata.Queue": lambda: pardata.Queue(),
}
LASTS = [None, "stop", -1, Word.END, Final]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("kind", QUEUES)
def test_a_queue_is_a_source_until_its_last_item(engine, kind, native):
    """The items are arrays, which == would compare entry by entry, and the last one has an equal of another kind."""
    made, found = QUEUES[kind](), []
    for last in LASTS:
        for item in (np.arange(3), np.float64(1.5), "text", None if last is not None else 0, last):
            made.put(item)
    for last in LASTS:
        with pardata.source(made, until=last, native=native).map(lambda item: item).iterate(engine=engine) as run:
            found.append([np.asarray(item).tolist() for item in run])
    assert found == [[[0, 1, 2], 1.5, "text", None if last is not None else 0] for last in LASTS]
    if hasattr(made, "close"):
        made.close()
        made.join_thread()


def test_a_queue_is_filled_while_the_run_waits(engine):
    waits = itertools.count()
    made = Told(lambda: made.put(next(waits)) if made.puts.pop() else made.put(None))
    made.puts = [False, True, True]
    assert list(pardata.source(made).iterate(engine=engine)) == [0, 1]


def test_a_queue_ends_when_nobody_is_left_who_could_put(engine):
    made = pardata.Queue()
    made.put(1)
    made.close()
    assert list(pardata.source(made).iterate(engine=engine)) == [1]
    if hasattr(queue, "ShutDown"):
        made = queue.Queue()
        made.put(1)
        made.shutdown()
        assert list(pardata.source(made).iterate(engine=engine)) == [1]


def kill(manager):
    manager._process.kill()
    manager._process.join()


@pytest.fixture
def manager():
    made = multiprocessing.get_context("fork").Manager()
    yield made
    kill(made)
    made.shutdown()
    made._process.close()


def test_a_queue_whose_manager_is_killed_does_not_end_as_a_whole_one(engine, manager):
    """It is killed while the source has a connection; the next source finds nobody who accepts one."""
    made = manager.Queue()
    made.put(1)
    made.put(2)
    before = set(threading.enumerate())
    run = pardata.source(made).map(abs).iterate(engine=engine)
    assert next(run) == 1
    kill(manager)
    with pytest.raises(pardata.WorkerLostError, match="the manager whose queue") as caught:
        list(run)
    assert isinstance(caught.value.__cause__, EOFError | OSError)
    run.close()
    found = []
    with pytest.raises(pardata.WorkerLostError, match="the manager whose queue"):
        for item in pardata.source(made).iterate(engine=engine):
            found.append(item)
    assert not found and set(threading.enumerate()) <= before


class Ending(queue.Queue):
    """Raises an error when it is empty."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def get(self, block=True, timeout=None):
        try:
            return super().get(False)
        except queue.Empty:
            raise self.error from None


def test_a_queue_that_ends_by_an_error(engine):
    """As one whose writers are gone, and one whose connection broke."""
    made = Ending(EOFError())
    made.put(1)
    assert list(pardata.source(made).iterate(engine=engine)) == [1]
    with pytest.raises(ConnectionResetError):
        pardata.source(Ending(ConnectionResetError())).run(engine=engine)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("engine", ENGINES[1:])
def test_a_run_that_is_left_while_its_queue_is_empty_takes_nothing_more(engine, native):
    waits = threading.Event()
    made = Told(waits.set)
    made.put(1)
    with pardata.source(made, native=native).map(abs).iterate(engine=engine) as run:
        assert next(run) == 1
        assert waits.wait(60)
    made.put(2)
    assert made.get(timeout=0) == 2


@pytest.mark.parametrize("native", [False, True])
def test_ctrl_c_while_a_queue_is_empty(engine, native):
    made = Told(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        pardata.source(made, native=native).map(abs).run(engine=engine)
    made.put(2)
    assert made.get(timeout=0) == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pardata.source([1], until=0), r"source\(list, until=...\): until= goes with a queue"),
        (lambda: pardata.source(multiprocessing.SimpleQueue()), "SimpleQueue is not iterable: .* iter.queue.get, None"),
        (
            lambda: pardata.source(pardata.Queue(), until=object()),
            "until=object.: what another process puts",
        ),
    ],
)
def test_wrong_queues(make, words):
    with pytest.raises(pardata.ConfigError, match=words):
        make()


def test_a_dry_run_takes_nothing_from_a_queue():
    made = queue.Queue()
    made.put(1)
    with pytest.raises(pardata.ConfigError, match="give dry_run.. an item"):
        pardata.source(made).map(abs).dry_run()
    assert pardata.source(made).map(float).dry_run(3).edges[-1].first == "float" and made.qsize() == 1


# -- sinks in the calling process --------------------------------------------------------------------------------------


def test_a_sink_in_a_thread_has_the_objects_of_the_calling_process(engine, tmp_path):
    """A lock cannot be pickled, a set would be filled elsewhere, and a file has a place to write at."""
    lock, seen, threads = threading.Lock(), set(), set()
    numbers = pardata.source(range(50)).map(abs, workers=2, chunksize=3)
    with open(tmp_path / "numbers", "w") as file:

        def write(number):
            assert lock.acquire(blocking=False)
            file.write(f"{number} ")
            threads.add(threading.current_thread())
            lock.release()

        pardata.run(
            numbers.to(write, kind="thread"),
            numbers.to(seen.add, kind="thread"),
            numbers.to(tmp_path / "numbers.npy", kind="thread"),
            engine=engine,
        )
    assert (tmp_path / "numbers").read_text().split() == [str(number) for number in range(50)]
    assert seen == set(range(50)) and np.load(tmp_path / "numbers.npy").tolist() == list(range(50))
    assert len(threads) == 1 and (threads == {threading.current_thread()}) == (engine == "serial")


def test_an_error_of_a_sink_in_a_thread_ends_the_run(engine):
    calls = []

    def write(number):
        calls.append(number)
        if number == 3:
            raise BlockingIOError("the disk is busy")

    with pytest.raises(BlockingIOError, match="the disk is busy") as caught:
        pardata.source(range(50)).map(abs).to(write, kind="thread", name="disk").run(engine=engine)
    assert calls == [0, 1, 2, 3] and "in stage 'disk', item 3: 3" in caught.value.__notes__


def test_ctrl_c_ends_a_sink_in_a_thread_behind_its_call(engine):
    calls, is_over = [], threading.Event()

    def write(number):
        calls.append(number)
        if number == 3:
            os.kill(os.getpid(), signal.SIGINT)
            assert engine == "serial" or is_over.wait(60)

    with pytest.raises(KeyboardInterrupt):
        pardata.source(range(50)).to(write, kind="thread").run(engine=engine)
    is_over.set()
    for thread in threading.enumerate():
        if thread.name.startswith("pardata-write"):
            thread.join(60)
    assert calls == [0, 1, 2, 3]


def test_wrong_kinds_of_sinks():
    numbers = pardata.source([1])
    with pytest.raises(pardata.ConfigError, match='kind must be "process" or "thread", not \'main\''):
        numbers.to(print, kind="main")
    with pytest.raises(pardata.ConfigError, match='set.add.: a process would fill a copy.*kind="thread"'):
        numbers.to(set().add)
