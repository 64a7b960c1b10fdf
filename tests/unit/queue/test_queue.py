"""Queue among the threads of one process."""

import copy
import multiprocessing
import os
import pickle
import queue
import sys
import threading
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

import pardata
from pardata import Queue, array
from pardata.memory.shared_heap import shared_heap
from pardata.queue import fork_and_exit
from pardata.queue.packet_pipe import PacketPipe

pytestmark = pytest.mark.usefixtures("only_threads_of_the_test")


@pytest.fixture(autouse=True, scope="module")
def descriptors_that_are_opened_once():
    """This process's memory, for locks and as one who receives from itself."""
    made = Queue()
    made.put(bytes(5_000))
    made.get()


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


def test_items_come_in_their_order_and_as_they_were():
    made = Queue()
    items = [None, 5, "text", {"a": [1, 2]}, b"x" * 5_000, b"y" * 1_000_000, np.arange(3), np.arange(1_000)]
    for item in items:
        made.put(item)
    assert made.qsize() == len(items) and not made.empty()
    for item in items:
        np.testing.assert_equal(made.get(), item)
    assert made.empty()


def test_several_items_go_with_one_call():
    made = Queue(maxsize=4)
    made.put_many([1, np.arange(10_000), "text", 0])
    with pytest.raises(ValueError, match="most"):
        made.get_many(0)
    first, array_, *rest = made.get_many(3)
    assert (first, array_.sum(), rest) == (1, 49_995_000, ["text"])
    assert made.get_many(10) == [0]
    with pytest.raises(queue.Empty):
        made.get_many(2, block=False)
    with pytest.raises(pardata.SerializationError):
        made.put_many([1, 2, threading.Lock(), 3])
    assert made.get_many(10) == [1, 2]
    made.put_many("ab")
    made.close()
    assert made.get_many(10) == ["a", "b"]
    with pytest.raises(EOFError):
        made.get_many(10)


class Unpicklable:
    """Says so in its own way, as files of netCDF4 and frames of polars do."""

    def __reduce__(self):
        raise NotImplementedError("not picklable")


def test_what_refuses_to_be_pickled_is_named():
    made = Queue()
    with pytest.raises(pardata.SerializationError, match="key 'x' is a .*Unpicklable, which cannot .*not picklable"):
        made.put({"x": Unpicklable()})
    made.close()


def test_what_was_got_in_front_of_a_lost_item_is_there(monkeypatch):
    made = Queue()
    made.put_many("abc")
    get = made.get
    results = iter(["a", "b", pardata.StaleBlockError("it was killed"), "c"])

    def fail(*args):
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return get(*args) and result

    monkeypatch.setattr(made, "get", fail)
    with pytest.raises(pardata.StaleBlockError) as caught:
        made.get_many(5)
    assert caught.value.got == ["a", "b"]


def test_what_was_got_in_front_of_what_cannot_be_loaded_is_there():
    made = Queue()
    made.put_many(["a", "b", Unloadable(), "c"])
    with pytest.raises(pardata.SerializationError) as caught:
        made.get_many(5)
    assert caught.value.got == ["a", "b"]
    assert made.get() == "c"


@pytest.mark.parametrize("shape", [(100, 100), (100_000,), (10, 20, 30)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_large_arrays_are_ordinary_and_writable(shape, order):
    made = Queue()
    given = np.asarray(np.random.default_rng(0).random(shape), order=order)
    made.put({"given": given, "part": given[::2]})
    got = made.get()
    assert type(got["given"]) is np.ndarray
    np.testing.assert_array_equal(got["given"], given)
    np.testing.assert_array_equal(got["part"], given[::2])
    assert got["given"].flags.f_contiguous == given.flags.f_contiguous
    got["given"][...] = 0
    assert given.all()


SMALL = {
    "numbers": np.arange(5.0),
    "axes": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    "no axis": np.array(3 + 4j),
    "no entries": np.empty((0, 7), np.float32),
    "big-endian": np.arange(5, dtype=">i4"),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bcd"]),
    "times": np.array(["2026-11-29"], "M8[ns]"),
    "truth": np.array([True, False]),
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "a part": np.arange(10.0)[2:8],
    "every other": np.arange(10.0)[::2],
    "read-only": np.frombuffer(b"abcd", np.uint8),
    "as many as a packet has": np.arange(3071, dtype=np.uint8),
    "one more": np.arange(3072, dtype=np.uint8),
    "nearly a packet": np.arange(4000, dtype=np.uint8),
    "records": np.zeros(3, [("a", "i4"), ("b", "f8")]),
    "most axes": np.zeros((1,) * 32),
}


@pytest.mark.parametrize("kind", SMALL)
def test_small_arrays_arrive_as_from_pickle(kind):
    made, given = Queue(), SMALL[kind]
    made.put(given)
    got, expected = made.get(), pickle.loads(pickle.dumps(given, 5))
    assert type(got) is np.ndarray and (got.dtype.str, got.shape) == (expected.dtype.str, expected.shape)
    assert got.flags.writeable and got.flags.f_contiguous == expected.flags.f_contiguous
    assert got.base is None or got.base.nbytes < 5_000
    np.testing.assert_array_equal(got, given)


@pytest.mark.parametrize("maxsize", [1, 2, 3, 5, 16, 256, 257])
def test_exactly_so_many_items_are_in_it(maxsize):
    made = Queue(maxsize)
    for number in range(maxsize):
        assert not made.full()
        made.put(number, block=False)
    assert made.full()
    with pytest.raises(queue.Full):
        made.put(maxsize, block=False)
    with pytest.raises(queue.Full):
        made.put(maxsize, timeout=0.001)
    assert made.get() == 0 and not made.full()
    made.put(maxsize, block=False)
    assert [made.get() for _ in range(maxsize)] == list(range(1, maxsize + 1)) and made.empty()


def test_a_put_waits_for_room():
    made = Queue(1)
    made.put("first")
    waiting = in_thread(made.put, "second")
    assert made.get() == "first" and made.get() == "second"
    waiting.join()


def test_closed_while_a_put_waits_for_room(monkeypatch):
    made, is_closed = Queue(1), threading.Event()
    made.put("first")
    hold = made._pipe.hold_writer

    def close_then_hold(is_held=True):
        if is_held and not is_closed.is_set():
            is_closed.set()
            made.close()
        hold(is_held)

    def put():
        with pytest.raises(ValueError, match="is closed"):
            made.put("second")

    monkeypatch.setattr(made._pipe, "hold_writer", close_then_hold)
    waiting = in_thread(put)
    is_closed.wait()
    assert made._pipe.read() is not None
    waiting.join()
    assert made._pipe.writer == -1, "no other process would find the end of the queue"


def test_another_producer_is_faster(monkeypatch):
    made = Queue(2)
    slots, rooms = made._free_slots, []

    def take(deadline):
        rooms.append(made.full())
        if len(rooms) == 1:
            made._pipe.write(b"N.")
            made._pipe.write(b"N.")
        else:
            type(slots).take(slots, deadline)

    monkeypatch.setattr(slots, "take", take)
    with pytest.raises(queue.Full):
        made.put(np.zeros(100_000), block=False)
    assert rooms == [False, True] and not made._sent.are_awaited
    assert made.get() is None and made.get() is None and made.empty()


def test_a_put_into_room_takes_no_lock_and_no_place(monkeypatch):
    made = Queue(4)
    monkeypatch.setattr(made._pipe, "enter", None)
    made.put(np.arange(3))
    assert made._free_slots.fd == -1 and made.qsize() == 1


def test_where_the_pipe_has_another_size_the_places_are_counted(monkeypatch):
    monkeypatch.setattr(PacketPipe, "room", 16)
    made = Queue(4)
    assert made._free_slots.fd >= 0
    made.put_many(range(4))
    with pytest.raises(queue.Full):
        made.put(4, block=False)


def test_structured_arrays_and_objects():
    made = Queue()
    rows = np.zeros(5_000, [("a", "i4"), ("b", "f8")])
    objects = np.array([{1: 2}] * 5_000, object)
    made.put((rows, objects))
    for given, got in zip((rows, objects), made.get(), strict=True):
        assert got.dtype == given.dtype
        np.testing.assert_array_equal(got, given)


def test_shared_arrays_are_not_copied():
    made = Queue()
    given = array(np.arange(10_000))
    made.put(given[::2])
    assert np.shares_memory(made.get(), given)


def test_memory_comes_back():
    """Each array takes the place of the one before."""
    shared_heap().arena.trim()
    made = Queue()
    places = set()
    for _ in range(20):
        made.put(np.zeros(1 << 18))
        places.add(made.get().__array_interface__["data"][0])
    assert len(places) <= 2


def test_put_never_waits_for_the_pipe():
    made = Queue()
    for number in range(2_000):
        made.put(number)
    assert [made.get() for _ in range(2_000)] == list(range(2_000))
    made.close()
    made.join_thread()
    with pytest.raises(EOFError):
        made.get()


def test_get_nowait_and_timeouts():
    made = Queue(2)
    other = threading.Event()
    thread = in_thread(other.wait)  # it could put: so this is not the end
    for get in (made.get_nowait, lambda: made.get(timeout=0.01), lambda: made.get(False)):
        with pytest.raises(queue.Empty):
            get()
    made.put(1)
    assert not made.full()
    made.put_nowait(2)
    assert made.full()
    for put in (made.put_nowait, lambda item: made.put(item, timeout=0.01), lambda item: made.put(item, False)):
        with pytest.raises(queue.Full):
            put(3)
    assert [made.get(), made.get_nowait()] == [1, 2]
    other.set()
    thread.join()


def test_put_waits_for_a_place():
    made = Queue(1)
    made.put(0)

    def put():
        for number in range(1, 200):
            made.put(number)

    thread = in_thread(put)
    assert [made.get() for _ in range(200)] == list(range(200))
    thread.join()


@pytest.mark.parametrize("maxsize", [1, 1_000, 40_000])
def test_all_places_can_be_taken(maxsize):
    made = Queue(maxsize)
    for turn in range(2):
        for number in range(maxsize):
            made.put_nowait(number)
        assert made.full() and made.qsize() == maxsize
        with pytest.raises(queue.Full):
            made.put_nowait(turn)
        assert [made.get() for _ in range(maxsize)] == list(range(maxsize))


def test_what_cannot_be_pickled_takes_no_place():
    made = Queue(1)
    for _ in range(2):
        with pytest.raises(TypeError, match="cannot pickle"):
            made.put([np.zeros(10_000), array(np.zeros(10_000)), threading.Lock()])
    made.put("fine")
    assert made.get() == "fine"


class Explosive:
    def __reduce__(self):
        return int, ("not a number",)


def test_what_cannot_be_unpickled_is_that_items_error():
    made = Queue(1)
    made.put(Explosive())
    with pytest.raises(pardata.SerializationError, match="ValueError: .*not a number"):
        made.get()
    made.put("fine")
    assert made.get() == "fine"


# -- the end -----------------------------------------------------------------------------------------------------------


def test_alone_and_nothing_left_is_the_end():
    made = Queue()
    made.put(1)
    assert made.get() == 1
    for _ in range(2):
        with pytest.raises(EOFError):
            made.get()
    with pytest.raises(EOFError):
        made.get_nowait()
    with pytest.raises(queue.Empty):  # who drains a queue as one of multiprocessing gets what he expects
        made.get(timeout=1)
    made.put(2)  # it was not closed
    assert made.get() == 2


def test_a_thread_that_has_not_put_yet_can_still_put():
    made = Queue()
    may_put = threading.Event()

    def put():
        may_put.wait()
        made.put("late")

    thread = in_thread(put)
    with pytest.raises(queue.Empty):
        made.get(timeout=0.1)
    may_put.set()
    assert made.get() == "late"
    with pytest.raises(EOFError):
        made.get()
    thread.join()


@pytest.mark.parametrize("count", [1, 3])
def test_threads_that_end_without_a_word_can_put_no_more(count):
    made = Queue()
    waits = threading.Event()
    watch = made._pipe.hold_writer
    made._pipe.hold_writer = lambda *held: [watch(*held), made._waiters and waits.set()]
    threads = [in_thread(waits.wait) for _ in range(count)]
    with pytest.raises(EOFError):
        made.get()
    for thread in threads:
        thread.join()


def test_close_ends_the_waiting_of_other_threads():
    made = Queue()
    ends = queue.Queue()

    def get():
        try:
            made.get()
        except EOFError as error:
            ends.put(error)

    threads = [in_thread(get) for _ in range(3)]
    made.close()
    for thread in threads:
        thread.join()
    assert ends.qsize() == 3


def test_closed():
    made = Queue()
    with pytest.raises(ValueError, match="not closed"):
        made.join_thread()
    made.put(1)
    made.close()
    made.close()
    made.join_thread()
    made.cancel_join_thread()
    with pytest.raises(ValueError, match="is closed"):
        made.put(2)
    assert "closed, 1 items" in repr(made)
    assert made.get() == 1  # beyond the standard library, where a closed queue cannot be read
    with pytest.raises(EOFError):
        made.get()


def test_threads_that_put_new_tasks_end_by_themselves():
    made = Queue()
    done = queue.Queue()

    def work():
        try:
            while True:
                depth = made.get()
                for _ in range(2 if depth else 0):
                    made.put(depth - 1)
                done.put(depth)
        except EOFError:
            pass

    made.put(7)
    threads = [in_thread(work) for _ in range(3)]
    for _ in range(2**8 - 1):
        done.get()
    with pytest.raises(EOFError):
        made.get()
    for thread in threads:
        thread.join()
    assert done.empty()


def test_is_handed_over_only_at_the_start_of_a_process():
    with pytest.raises(RuntimeError, match="handed over when a process is started"):
        copy.copy(Queue())


def test_wrong_numbers_of_places():
    with pytest.raises(TypeError, match="not 1.5"):
        Queue(1.5)
    with pytest.raises(ValueError, match="at most"):
        Queue(1 << 30)
    assert not Queue(-1).full()


def test_interface_is_that_of_multiprocessing():
    theirs = multiprocessing.get_context().Queue()
    public = {name for name in dir(theirs) if not name.startswith("_")}
    theirs.close()
    assert public <= set(dir(Queue))


class Announced:
    """A lock; tells when a thread is about to wait for it."""

    def __init__(self, lock, waits):
        self.lock, self.waits, self.release = lock, waits, lock.release

    def acquire(self):
        if not self.lock.acquire(blocking=False):
            self.waits.set()
            self.lock.acquire()


def test_threads_that_fork_at_once_do_not_take_each_other_s_ends(monkeypatch):
    stands, goes_on = threading.Event(), threading.Event()
    monkeypatch.setattr(fork_and_exit, "_fork_lock", Announced(threading.RLock(), stands))
    fork_and_exit._before_fork()  # this thread forks
    made, errors = [], []

    def fork():
        try:
            made.append(Queue())  # which the fork of the main thread knows nothing of
            fork_and_exit._before_fork()
            stands.set()
            goes_on.wait()
            fork_and_exit._after_fork_in_parent()
        except RuntimeError as error:
            errors.append(error)

    thread = in_thread(fork)
    stands.wait()
    fork_and_exit._after_fork_in_parent()
    goes_on.set()
    thread.join()
    assert not errors
    assert made[0]._lock.acquire(blocking=False)
    made[0]._lock.release()


def test_queues_are_looked_at_while_others_are_made():
    """By another thread, at every step: nobody else sees that who waits can no longer get anything."""
    made = [Queue(), Queue()]

    def trace(frame, event, _):
        if "weakref" in frame.f_code.co_filename:
            made.append(Queue())
        return trace

    sys.settrace(trace)
    try:
        fork_and_exit.update_all()
    finally:
        sys.settrace(None)
    assert len(made) > 2


class Lazy:
    """As torch's tensors: conjugated when it is read, which its own pickle keeps, and multiprocessing's does not."""

    def __init__(self, number, conjugated=False):
        self.number, self.conjugated = number, conjugated

    def is_conj(self):
        return self.conjugated

    def is_neg(self):
        return False

    def resolve_conj(self):
        return self.number.conjugate() if self.conjugated else self.number


def test_what_is_converted_when_it_is_read_goes_as_its_own_pickle(monkeypatch):
    monkeypatch.setitem(ForkingPickler._extra_reducers, Lazy, lambda lazy: (Lazy, (lazy.number,)))
    made = Queue()
    for conjugated in (True, False):
        made.put([Lazy(1 + 2j, conjugated)])
        assert made.get()[0].resolve_conj() == (1 - 2j if conjugated else 1 + 2j)


class Unloadable:
    """Pickles and does not unpickle, as some handles of h5py and laspy do."""

    def __init__(self, error=TypeError, *beside):
        self.error, self.beside = error, beside

    def __reduce__(self):
        return self.error_of, (self.error, *self.beside)

    @staticmethod
    def error_of(kind, *beside):
        raise kind("what is needed is missing")


@pytest.mark.parametrize("kind", [TypeError, EOFError, queue.Empty, SystemExit])
@pytest.mark.parametrize("beside", [b"", b"x" * 5_000])
def test_what_cannot_be_loaded_is_an_error_that_names_its_sender(kind, beside):
    made = Queue(2)
    made.put(Unloadable(kind, beside))
    made.put("next")
    with pytest.raises(pardata.SerializationError, match="unpickling it raised") as caught:
        made.get()
    assert kind is SystemExit or f"process {os.getpid()}" in str(caught.value)
    assert made.get() == "next"


@pytest.mark.parametrize("large", [np.ones(5_000), np.ones(100)])
def test_arrays_beside_what_cannot_be_loaded_count_as_received(large):
    made = Queue()
    for sent in ([Unloadable(), large, array(large)], [large, b"x" * 5_000, Unloadable()]):
        made.put(sent)
        with pytest.raises(pardata.SerializationError):
            made.get()
    assert not made._is_awaited()


@pytest.mark.parametrize("beside", [b"", b"x" * 5_000])
def test_arrays_beside_what_cannot_be_loaded_count_once(beside):
    made, large = Queue(), array(np.ones(5_000))
    made.put([large, beside, Unloadable(), large])
    made.put(large)
    with pytest.raises(pardata.SerializationError):
        made.get()
    assert made._is_awaited()  # the second one is on its way: its memory is not to be used again
    assert made.get().sum() == 5_000
    assert not made._is_awaited()
