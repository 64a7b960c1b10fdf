"""A list of the standard library is as good as one of ours: each attaches to the other's, reads and writes it."""

import pytest

from pardata.memory.named.list_layout import MOST_ITEM_BYTES
from tests.conformance.stdlib_lists import BothLists
from tests.unit.memory.lists import VALUES, content, exactly


@pytest.fixture
def lists():
    with BothLists() as made:
        yield made


def test_same_values_make_the_same_bytes(lists):
    ours, theirs = lists.ours(VALUES), lists.theirs(VALUES)
    assert content(ours) == content(theirs)
    assert ours.format == theirs.format


@pytest.mark.parametrize("creator", ["ours", "theirs"])
def test_each_reads_what_the_other_writes(lists, creator):
    ours, theirs = lists.pair([b"x" * 16] * 2, creator)
    for value in VALUES:
        ours[0] = theirs[1] = value
        assert exactly(ours) == exactly(theirs) == exactly([value, value])
        assert ours.format == theirs.format


def test_longest_string(lists):
    longest = "x" * MOST_ITEM_BYTES
    assert lists.theirs_over(lists.ours([longest]))[0] == longest


def test_standard_library_refuses_to_read_large_bytes_that_end_in_nul_and_may_replace_them(lists):
    ours = lists.ours([bytes(1_000_000)])
    theirs = lists.theirs_over(ours)
    with pytest.raises(ValueError, match="too many values"):
        theirs[0]
    theirs[0] = "x" * 1_000_008  # all of the room
    assert ours[0] == theirs[0] == "x" * 1_000_008


@pytest.mark.parametrize(
    ("value", "theirs"),
    [
        (b"a\0\0", b"a\0\0"),
        (b"\0", b"\0"),
        ("a\0", "a"),
        (2**64 - 1, 2**64 - 1),
        (2**64 + 1, b"\1\0\0\0\0\0\0\0\1"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("creator", ["ours", "theirs"])
def test_what_the_standard_library_sees_of_values_that_it_would_lose(lists, creator, value, theirs):
    ours, other = lists.pair(["x" * 20], creator)
    ours[0] = value
    assert exactly(ours) == exactly([value])
    assert exactly(other) == exactly([theirs])


@pytest.mark.parametrize("value", [b"a\0", "a\0", 2**64, 2**63], ids=repr)
def test_write_of_the_standard_library_makes_such_a_value_an_ordinary_one(lists, value):
    made = lists.ours([value, "x" * 20])
    made[1] = value
    other = lists.theirs_over(made)
    for new in (b"a", "a", "longer than it was", 5, None):
        made[1] = value
        other[1] = new
        assert exactly(made) == exactly([value, new])
        assert exactly([other[1]]) == exactly([new])
    other[0] = b"a"
    assert made[0] == b"a"


def test_utf8_that_the_standard_library_has_cut_is_named(lists):
    made = lists.ours_over(lists.theirs(["ok", "a" + "ü" * 6]))  # its room is by characters
    assert made[0] == "ok"
    for read in (lambda: made[1], lambda: list(made)):
        with pytest.raises(ValueError, match=r"item 1 of '.+' cannot be read: 'utf-8' codec can't decode"):
            read()
