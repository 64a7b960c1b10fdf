"""How items pass from stage to stage within a process."""

import dataclasses
import threading

import numpy as np
import pytest

import pardata
from pardata.runtime.isolation import isolate


def address(array):
    return array.__array_interface__["data"][0]


def hand(make, inplace=False):
    """Hand over one array that `make()` has just made; return it, and whether it is where it was."""
    items = [make()]
    before = address(items[0])
    handed, nbytes = isolate(items, inplace)
    assert items == [] and nbytes == handed[0].nbytes
    return handed[0], address(handed[0]) == before


FRESH = {
    "array": lambda: np.ones((4, 5)),
    "view": lambda: np.ones((4, 5))[1:, ::2],
    "transposed": lambda: np.ones((4, 5)).T,
    "shared": lambda: pardata.zeros((4, 5)),
}


@pytest.mark.parametrize("kind", FRESH)
@pytest.mark.parametrize("inplace", [False, True])
def test_array_that_nobody_holds_is_not_copied(kind, inplace):
    array, stayed = hand(FRESH[kind], inplace)
    assert stayed
    assert array.flags.writeable == inplace


@pytest.mark.parametrize("inplace", [False, True])
def test_array_that_its_maker_holds_is_copied(inplace):
    held = np.arange(10)
    for make in (lambda: held, lambda: held[2:], lambda: held[2:].view()):
        array, stayed = hand(make, inplace)
        assert not stayed
        assert array.flags.writeable == inplace
    assert held.flags.writeable
    assert np.array_equal(hand(lambda: held)[0], held)


def test_array_that_was_handed_over_passes_to_all_readers():
    array, _ = hand(lambda: np.ones(10))
    for make in (lambda: array, lambda: array[3:]):
        again, stayed = hand(make)
        assert stayed and not again.flags.writeable


def test_reader_that_writes_gets_a_copy_of_what_others_read():
    array, _ = hand(lambda: np.ones(10))
    own, stayed = hand(lambda: array, inplace=True)
    assert not stayed
    own += 1
    assert array.sum() == 10


def test_read_only_view_of_what_can_be_written_is_copied():
    held = np.ones(10)
    seen = held.view()
    seen.setflags(write=False)
    array, stayed = hand(lambda: seen)
    assert not stayed
    held += 1
    assert array.sum() == 10


def test_memory_of_bytes_is_not_copied():
    array, stayed = hand(lambda: np.frombuffer(b"12345678"))
    assert stayed and not array.flags.writeable


def test_copy_keeps_the_order_in_memory():
    held = np.asfortranarray(np.ones((4, 5)))
    assert hand(lambda: held)[0].flags.f_contiguous
    assert hand(lambda: held.T)[0].flags.c_contiguous


def test_objects_are_the_readers_own_and_their_arrays_are_read_only():
    @dataclasses.dataclass
    class Frame:
        pixels: np.ndarray
        labels: list[str]

    frame = Frame(np.ones(10), ["a"])
    (got,), nbytes = isolate([frame])
    assert type(got) is Frame and got is not frame and got.labels is not frame.labels
    assert not got.pixels.flags.writeable and not np.shares_memory(got.pixels, frame.pixels)
    assert nbytes == 80
    ((pair, again),), _ = isolate([[(got.pixels, 1), got.pixels]])
    assert np.shares_memory(pair[0], got.pixels) and np.shares_memory(again, got.pixels)
    (own,), _ = isolate([{"x": got.pixels}], inplace=True)
    assert own["x"].flags.writeable and not np.shares_memory(own["x"], got.pixels)


def test_array_of_objects_is_copied():
    inner = [1]
    held = np.array([inner, None], object)
    (got,), nbytes = isolate([held])
    assert got[0] == [1] and got[0] is not inner
    assert nbytes == 0


def test_record_does_not_change_with_its_array():
    table = np.zeros(2, [("n", "i4"), ("x", "f8")])
    (got,), _ = isolate([table[0]])
    table["n"] = 7
    assert got["n"] == 0


def test_what_cannot_be_copied_is_passed_on_itself():
    lock = threading.Lock()
    item = {"lock": lock}
    assert isolate([item, 3, None, "a", len, np.float32(2)]) == ([item, 3, None, "a", len, 2], 0)
    assert isolate([lock])[0][0] is lock
