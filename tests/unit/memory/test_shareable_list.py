"""Every value comes back as it was; what is refused changes nothing; a damaged block is an error that says what."""

import copy
import enum
import pickle
import struct
import types

import numpy as np
import pytest

from pardata.memory.named import list_layout as layout
from pardata.memory.named.block import SharedMemory
from pardata.memory.named.shareable_list import ShareableList
from tests.unit.memory.lists import NAN, RARE, VALUES, Lists, content, exactly, shm_names


@pytest.fixture
def lists():
    with Lists() as made:
        yield made


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [*VALUES, *RARE, NAN, float("inf"), 1 << 63, "x" * 100_000], ids=lambda v: repr(v)[:20]
)
def test_value_comes_back_exactly(lists, value):
    made = lists.ours([1, value, "behind"])
    attached = lists.ours_over(made)
    for one in (made, attached):
        assert exactly(one) == exactly([one[0], one[1], one[2]]) == exactly([1, value, "behind"])


@pytest.mark.parametrize("old", [*VALUES, *RARE, NAN], ids=repr)
def test_item_can_be_replaced_by_one_of_any_type_that_fits(lists, old):
    made = lists.ours([b"x" * 800, 7])
    attached = lists.ours_over(made)
    for new in [*VALUES, *RARE, NAN]:
        made[0] = old
        attached[0] = new
        assert exactly(made) == exactly([new, 7])
        assert exactly([made[0]]) == exactly([new])


class Colour(enum.IntEnum):
    RED = 3


class Name(enum.StrEnum):
    ANNA = "anna"


class Loud(str):
    def __str__(self):
        return "LOUD"


class Raw(bytes):
    def __bytes__(self):
        return b"other"


class Weight(float):
    pass


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(-7), -7),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.uint8(200), 200),
        (np.float64(0.1), 0.1),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float16(0.1), float(np.float16(0.1))),
        (np.bool_(True), True),
        (np.str_("ab"), "ab"),
        (np.bytes_(b"ab"), b"ab"),
        (Colour.RED, 3),
        (Name.ANNA, "anna"),
        (Loud("quiet"), "quiet"),
        (Raw(b"own\0"), b"own\0"),
        (Weight(2.5), 2.5),
    ],
    ids=repr,
)
def test_scalar_of_numpy_or_of_a_subclass_comes_back_as_the_plain_value(lists, value, plain):
    made = lists.ours([value, b"0123456789"])
    made[1] = value
    assert exactly(made) == exactly([plain, plain])


@pytest.mark.parametrize(
    "value",
    [
        *[(1, 2), [1], {}, 1j, object(), bytearray(b"a"), memoryview(b"a"), type],
        *[np.zeros(1), np.array(1.0), np.complex64(1), np.longdouble(1), np.timedelta64(1, "s"), np.datetime64("2020")],
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_other_type_is_refused_and_named_with_its_position(lists, value):
    before = shm_names()
    with pytest.raises(TypeError, match=f"item 1 is of type {type(value).__name__}: a ShareableList holds int"):
        ShareableList([0, value])
    assert shm_names() == before
    made = lists.ours([1, 2])
    with pytest.raises(TypeError, match=f"item 1 is of type {type(value).__name__}"):
        made[1] = value
    assert list(made) == [1, 2]


@pytest.mark.parametrize("nbytes", [999_999, 1_000_000, layout.MOST_ITEM_BYTES])
def test_large_values_come_back_exactly(lists, nbytes):
    values = ["x" * nbytes, b"x" * (nbytes - 1) + b"\0", "x" * (nbytes - 1) + "\0", (1 << (8 * nbytes - 2)) + 1]
    made = lists.ours(values)
    assert exactly(made) == exactly(values)
    made[0] = values[1]
    assert exactly(made[:2]) == exactly([values[1], values[1]])


@pytest.mark.parametrize(
    "value",
    ["x" * 9_999_992, "ü" * 5_000_000, bytes(9_999_992), -(1 << 8 * 9_999_991)],
    ids=["ascii", "two bytes each", "NULs", "int"],
)
def test_value_beyond_the_layout_is_refused(value):
    before = shm_names()
    with pytest.raises(
        ValueError, match=r"item 1 takes \d+ bytes; the layout .* has room for 9999991\. A SharedMemory"
    ):
        ShareableList([0, value])
    assert shm_names() == before


# -- the list ----------------------------------------------------------------------------------------------------------


def test_indices_and_slices_are_those_of_a_list(lists):
    values = [*range(5), "six"]
    made = lists.ours(values)
    assert [made[i] for i in range(-6, 6)] == values + values
    assert made[np.int64(-1)] == "six"
    for part in (slice(None), slice(1, 3), slice(None, None, -2), slice(9, 12), slice(-100, 2)):
        assert made[part] == values[part]
    for index in (6, -7, 10**30):
        with pytest.raises(IndexError):
            made[index]
        with pytest.raises(IndexError):
            made[index] = 1
    with pytest.raises(IndexError, match="index out of range: -5 of 3 items"):
        lists.ours([1, 2, 3])[-5]
    with pytest.raises(IndexError, match="assignment index out of range: 3 of 3 items"):
        lists.ours([1, 2, 3])[3] = "a"
    with pytest.raises(TypeError, match="slice of a ShareableList can be read, not assigned"):
        made[1:2] = [5]
    with pytest.raises(TypeError):
        made["a"]
    assert list(made) == values


def test_searching(lists):
    made = lists.ours([3, "a", 3.0, None, True, b"a", 3])
    assert made.index(3) == 0
    assert made.index(3, 1) == made.index(3, -5, 4) == 2
    assert made.index(True) == 4
    assert made.count(3) == 3
    assert made.count("b") == 0
    assert "a" in made
    assert 4 not in made
    assert list(reversed(made)) == [3, b"a", True, None, 3.0, "a", 3]
    for arguments in [("b",), (3, 3, 6), ("a", 2)]:
        with pytest.raises(ValueError, match="is not in this list"):
            made.index(*arguments)


def test_iteration_sees_what_is_written_on_its_way(lists):
    made = lists.ours([0, 0, "      ", 0])
    seen = []
    for position, value in enumerate(made):
        seen.append(value)
        if position < 3:
            made[position + 1] = f"{position}" if position % 2 else position + 0.5
    assert seen == [0, 0.5, "1", 2.5]


def test_item_that_exceeds_its_room_changes_nothing(lists):
    made = lists.ours(["12345678", 1])
    assert made.format == "16sq"
    made[0] = "ü" * 8
    for value in ("ü" * 8 + "x", b"x" * 17, 1 << 127):
        with pytest.raises(ValueError, match=r"item 0: this \w+ takes 17 bytes and exceeds avail.* has 16"):
            made[0] = value
    with pytest.raises(ValueError, match="item -1: this int takes 9 bytes"):
        made[-1] = 1 << 64
    assert list(made) == ["ü" * 8, 1]


def test_any_iterable_and_none(lists):
    assert len(lists.ours(None)) == len(lists.ours([])) == 0
    assert list(lists.ours("abc")) == ["a", "b", "c"]
    assert list(lists.ours(i * i for i in range(3))) == [0, 1, 4]
    assert exactly(lists.ours(np.arange(3.0))) == exactly([0.0, 1.0, 2.0])
    assert lists.ours(lists.ours(VALUES))[:] == VALUES


def test_empty_list_is_one(lists):
    made = lists.ours([])
    assert list(made) == made[:] == list(lists.ours_over(made)) == []
    assert made.format == ""
    assert content(made) == bytes(16)


def test_named_list_is_attached_to_by_name_and_by_pickling(lists):
    made = lists.ours([1, "two"])
    for other in (lists.ours_over(made), pickle.loads(pickle.dumps(made)), copy.copy(made)):
        other[0] = made[0] + 1
        assert list(made) == list(other) == [made[0], "two"]
        assert type(other) is ShareableList
        other.shm.close()
    assert made[0] == 4
    with pytest.raises(FileExistsError):
        ShareableList([1], name=made.shm.name)
    with pytest.raises(FileNotFoundError):
        ShareableList(name=made.shm.name + "x")


def test_new_list_with_a_name(lists):
    name = lists.ours([0]).shm.name + "-named"
    made = ShareableList([1], name=name)
    try:
        assert made.shm.name == name
        assert repr(made) == f"ShareableList([1], name={name!r})"
        assert list(lists.ours_over(made)) == [1]
    finally:
        made.shm.close()
        made.shm.unlink()


def test_closed_list_stays_readable(lists):
    made = lists.ours([1, "two"])
    made.shm.close()
    made[0] = 3
    assert list(made) == [3, "two"]


def test_type_takes_parameters():
    assert isinstance(ShareableList[int], types.GenericAlias)


# -- blocks that are none ----------------------------------------------------------------------------------------------

IMAGE = layout.image([1, "a" * 20, 2.5])


def refused(lists, image, match):
    block = lists.block(image)
    with pytest.raises(ValueError, match=f"block '.+' of {len(image)} bytes holds no ShareableList: {match}"):
        ShareableList(name=block.name)


def test_block_cut_short_is_refused_wherever_it_ends(lists):
    for size in range(1, len(IMAGE)):
        refused(lists, IMAGE[:size], "")
    assert list(lists.ours_over(types.SimpleNamespace(shm=lists.block(IMAGE)))) == [1, "a" * 20, 2.5]
    assert list(lists.ours_over(types.SimpleNamespace(shm=lists.block(IMAGE + bytes(5000))))) == [1, "a" * 20, 2.5]


def test_refused_block_is_closed_at_once(lists, monkeypatch):
    block, closed, close = lists.block(IMAGE[:20]), [], SharedMemory.close
    monkeypatch.setattr(SharedMemory, "close", lambda shm: [closed.append(shm.name), close(shm)])
    with pytest.raises(ValueError, match="holds no ShareableList") as caught:
        ShareableList(name=block.name)
    assert closed == [block.name]
    assert caught.value.__traceback__ is not None  # the error may be kept


@pytest.mark.parametrize("n", [-1, 4, 100, 2**32, 2**60, 2**62, 2**63 - 1, -(2**63)])
def test_wrong_number_of_items_is_refused(lists, n):
    image = struct.pack("q", n) + IMAGE[8:]
    refused(lists, image, f"it begins with {n} as the number of items|where its items begin|its 4 items take")


@pytest.mark.parametrize(
    "offsets",
    [
        *[(8, 16, 32, 40), (0, 8, 8, 40), (0, 32, 8, 40), (0, 8, 33, 40), (0, 8, -8, 40), (0, 8, 40, 32)],
        *[(0, 8, 2**62, 2**63 - 8), (0, -(2**63), 32, 40), (0, 8, 32, 2**40), (0, 8, 32, 48)],
    ],
)
def test_wrong_offsets_are_refused(lists, offsets):
    refused(lists, IMAGE[:8] + struct.pack("4q", *offsets) + IMAGE[40:], "where its items begin|its 3 items take")


@pytest.mark.parametrize(
    "form", [b"", b"s", b"99s", b"99999999", b"-8s", b"8s8s", b"qq", b"\xff" * 8, b"8s  ", b"25s "]
)
@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 255])
def test_item_that_cannot_be_read_is_named_and_the_others_can(lists, form, code):
    made = lists.ours([1, "a" * 20, 2.5])
    made._formats[1] = layout.word_of(form)
    made._codes[1] = code
    for read in (lambda: made[1], lambda: list(made), lambda: made[:]):
        with pytest.raises(ValueError, match=r"item 1 of '.+' cannot be read: its? .*\. Either another process is"):
            read()
    assert [made[0], made[2]] == [1, 2.5]
    made[1] = "again"
    assert list(made) == [1, "again", 2.5]


@pytest.mark.parametrize(("code", "value"), [(1, "\udc80 0123456789abc"), (2, b"\xed\xb2\x80 0123456789abc")])
def test_string_may_be_padded_to_less_than_its_room(lists, code, value):
    made = lists.ours([b"\xed\xb2\x80 0123456789abcdef", 1])
    made._formats[0] = layout.word_of(b"17s")
    made._codes[0] = code
    assert exactly(made) == exactly([value, 1])


@pytest.mark.parametrize("form", [b"24s", b"20s ", b"16s"])
@pytest.mark.parametrize("code", [0, 3, 4, 255])
def test_string_with_a_code_that_is_none_is_named(lists, form, code):
    made = lists.ours(["a" * 20])
    made._formats[0] = layout.word_of(form)
    made._codes[0] = code
    if (form, code) == (b"20s ", 0):
        assert made[0] == b"a" * 20
        return
    with pytest.raises(ValueError, match=f"item 0 .* it has the code {code} and the format of a string"):
        made[0]
