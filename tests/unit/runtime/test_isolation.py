"""How items pass from stage to stage within a process."""

import dataclasses
import threading

import numpy as np
import pytest

import pardata
from pardata.codec.access import Access
from pardata.runtime.call_items import apart, for_attempt, for_writing
from pardata.runtime.isolation import isolate


def address(array):
    return array.__array_interface__["data"][0]


def hand(make, inplace=False):
    """Hand over one array that `make()` has just made; return it, and whether it is where it was."""
    items = [make()]
    before = address(items[0])
    handed, nbytes = isolate(items, Access(inplace))
    assert items == [] and nbytes == handed[0].nbytes
    return handed[0], address(handed[0]) == before


LARGE = 4000
FRESH = {
    "array": lambda: np.ones((LARGE, 5)),
    "view": lambda: np.ones((LARGE, 5))[1:, ::2],
    "transposed": lambda: np.ones((LARGE, 5)).T,
    "shared": lambda: pardata.zeros((LARGE, 5)),
}


@pytest.mark.parametrize("kind", FRESH)
@pytest.mark.parametrize("inplace", [False, True])
def test_array_that_nobody_holds_is_not_copied(kind, inplace):
    array, stayed = hand(FRESH[kind], inplace)
    assert stayed
    assert array.flags.writeable == inplace


@pytest.mark.parametrize("inplace", [False, True])
def test_array_that_its_maker_holds_is_copied(inplace):
    held = np.arange(LARGE)
    for make in (lambda: held, lambda: held[2:], lambda: held[2:].view()):
        array, stayed = hand(make, inplace)
        assert not stayed
        assert array.flags.writeable == inplace
    assert held.flags.writeable
    assert np.array_equal(hand(lambda: held)[0], held)


def test_array_that_was_handed_over_passes_to_all_readers():
    array, _ = hand(lambda: np.ones(LARGE))
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


@pytest.mark.parametrize("access", [Access.INPLACE, Access.RESULT])
def test_part_that_a_stage_hands_on_is_not_changed_for_others_that_have_the_whole(access):
    array, _ = hand(lambda: np.ones(LARGE))
    data = bytes(8 * LARGE)
    for make in (lambda: array[3:], lambda: array[3:].view(), lambda: np.frombuffer(data)):
        passed, stayed = hand(make)
        made = [passed]
        del passed
        (got,), _ = isolate(made, access)
        assert stayed and got.flags.writeable is (access is Access.INPLACE)
        if access is Access.INPLACE:
            got += 1
    assert array.sum() == LARGE and not any(data)


@pytest.mark.parametrize("make", [lambda held: held, lambda held: held[2:], lambda held: held[2:].view()])
@pytest.mark.parametrize("access", Access)
def test_what_its_maker_has_frozen_is_copied(make, access):
    held = np.ones(LARGE)
    held.setflags(write=False)
    (array,), _ = isolate([make(held)], access)
    held.setflags(write=True)
    held[:] = 7
    assert array.sum() == array.size


@pytest.mark.parametrize("kind", FRESH)
def test_what_only_one_reader_has_goes_on_to_one_that_writes(kind):
    array, _ = hand(FRESH[kind])
    made, before = [array], address(array)
    del array
    (changed,), _ = isolate(made, Access.INPLACE)
    changed += 1
    assert address(changed) == before


def test_memory_of_bytes_is_not_copied():
    array, stayed = hand(lambda: np.frombuffer(bytes(8 * LARGE)))
    assert stayed and not array.flags.writeable


def test_copy_keeps_the_order_in_memory():
    held = np.asfortranarray(np.ones((4, 5)))
    assert hand(lambda: held)[0].flags.f_contiguous
    assert hand(lambda: held.T)[0].flags.c_contiguous


class Table:
    """Holds an array that nobody else can copy."""

    def __init__(self, held):
        self.held = held


@pytest.mark.parametrize("access", Access)
def test_small_arrays_and_those_that_objects_hold_are_the_readers_own(access):
    small, large = (isolate([np.ones(n)])[0][0] for n in (5, LARGE))
    item = [small, Table(large), [Table(large[1:])]]
    (own,), _ = isolate([item], access)
    assert [part.flags.writeable for part in (own[0], own[1].held, own[2][0].held)] == [True] * 3
    own[0][:] = own[1].held[:] = own[2][0].held[:] = 7
    assert small.sum() == 5 and large.sum() == LARGE
    (bare,), _ = isolate([[large, Table(large)]], access)
    assert bare[0] is bare[1].held and bare[0].flags.writeable is (access is Access.INPLACE)


def test_result_is_the_callers_where_nobody_else_reads_it():
    held = isolate([np.ones(LARGE)])[0][0]
    (fresh, seen, pair), _ = isolate([np.ones(LARGE), held, (np.ones(LARGE), held)], Access.RESULT)
    assert [part.flags.writeable for part in (fresh, seen, *pair)] == [True, False, True, False]


def test_attempts_do_not_see_what_others_have_changed():
    large = isolate([np.ones(LARGE)])[0][0]
    item = {"small": np.ones(5), "large": large, "list": [1]}
    first, second = for_attempt(item), for_attempt(item)
    first["small"][:] = 7
    first["list"].append(2)
    assert second["small"].sum() == 5 and second["list"] == [1] and second["large"] is large
    own = for_writing(item)
    own["large"][:] = own["small"][:] = 7
    assert large.sum() == LARGE and item["small"].sum() == 5


def test_calls_that_have_one_object_get_one_each():
    small, table, large = np.ones(5), Table(np.ones(LARGE)), isolate([np.ones(LARGE)])[0][0]
    for items in ([small, small], [(small, 1), (small, 2)], [(1, table), (2, table)], [table, table]):
        assert all(one is not items[index] for index, one in enumerate(apart(items)))
    for items in ([(large, 1), (large, 2)], [(len, 1), (len, 1)], [small, small[:]], [1, 1]):
        assert apart(items) is items


def test_objects_are_the_readers_own_and_large_bare_arrays_are_read_only():
    @dataclasses.dataclass
    class Frame:
        pixels: np.ndarray
        labels: list[str]

    frame = Frame(np.ones(LARGE), ["a"])
    (got,), nbytes = isolate([frame])
    assert type(got) is Frame and got is not frame and got.labels is not frame.labels
    assert not got.pixels.flags.writeable and not np.shares_memory(got.pixels, frame.pixels)
    assert nbytes == 8 * LARGE
    ((pair, again),), _ = isolate([[(got.pixels, 1), got.pixels]])
    assert np.shares_memory(pair[0], got.pixels) and np.shares_memory(again, got.pixels)
    (own,), _ = isolate([{"x": got.pixels}], Access.INPLACE)
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


def test_plain_containers_are_copied_with_all_that_is_one_object():
    array, number = np.ones(LARGE), np.float32(2)
    inner = [1, array]
    ring = [number, (inner, {"x": inner, 2: [array]}), {1: "y"}, np.array([1, 2])]
    ring.append((ring,))
    (made,), nbytes = isolate([ring])
    first = made[1][0]
    assert made is not ring and first is not inner and first is made[1][1]["x"] and made[4][0] is made
    assert first[1] is made[1][1][2][0] and first[1] is not array and made[0] is number
    assert made[2] == {1: "y"} and made[3].tolist() == [1, 2] and nbytes == array.nbytes + ring[3].nbytes
    (made,), _ = isolate([(ring,)])
    assert made[0][4][0] is made[0]


def test_arrays_beside_an_object_are_copied_once():
    copied = []

    def own(box, is_held):
        copied.append(box[0])
        return box[0].copy()

    (made,), _ = isolate([{"x": np.ones(LARGE), "y": [{"z": dataclasses.field}, np.ones(3), threading.Event]}], own=own)
    assert len(copied) == 2 and made["x"].sum() == LARGE


def test_what_cannot_be_copied_is_passed_on_itself():
    lock = threading.Lock()
    item = {"lock": lock}
    assert isolate([item, 3, None, "a", len, np.float32(2)]) == ([item, 3, None, "a", len, 2], 0)
    assert isolate([lock])[0][0] is lock
