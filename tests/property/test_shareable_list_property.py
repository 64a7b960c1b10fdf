"""Any values, in any order of assignments, from either side: a list in shared memory is the list that it stands for."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pardata.memory.named import list_layout as layout
from tests.conformance.stdlib_lists import BothLists
from tests.unit.memory.lists import content, exactly

NANS = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("d", struct.pack("Q", bits))[0])
WORDS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), NANS)
TEXT = st.text(st.characters(exclude_categories=[]), max_size=30)  # surrogates as well
NUL_ENDED = st.tuples(st.one_of(TEXT, st.binary(max_size=30)), st.integers(1, 9)).map(
    lambda pair: pair[0] + ("\0" if isinstance(pair[0], str) else b"\0") * pair[1]
)
VALUES = st.one_of(WORDS, TEXT, st.binary(max_size=30), NUL_ENDED, st.integers())


def strip(raw):
    return raw.rstrip(b"\0")


# What the standard library keeps as well: it strips NULs and knows neither surrogates nor ints beyond 64 bits.
PLAIN_WORDS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats())
PLAIN_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(lambda text: text.rstrip("\0"))
ASCII = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=30)
PLAIN = st.one_of(PLAIN_WORDS, PLAIN_TEXT, st.binary(max_size=30).map(strip))


def size_of(value):
    """The bytes that a value takes, by the rule of the layout, and the room that its item gets."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        value = bytes(value.bit_length() // 8 + 1)
    if not isinstance(value, str | bytes):
        return 8, 8
    nbytes = len(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)
    return nbytes, max(8 * (len(value) // 8 + 1), 8 * -(-nbytes // 8))


@settings(deadline=None)
@given(st.lists(VALUES, max_size=20))
def test_list_that_is_attached_to_equals_what_it_was_made_of(values):
    with BothLists() as lists:
        made = lists.ours(values)
        attached = lists.ours_over(made)
        assert exactly(made) == exactly(attached) == exactly(attached[i] for i in range(len(values))) == exactly(values)


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=6), st.lists(st.tuples(st.integers(-6, 5), VALUES), max_size=20))
def test_assignments_act_as_on_a_list_until_a_room_is_exceeded(values, assignments):
    with BothLists() as lists:
        made = lists.ours(values)
        model, rooms = list(values), [size_of(value)[1] for value in values]
        for index, value in assignments:
            if not -len(model) <= index < len(model):
                with pytest.raises(IndexError):
                    made[index] = value
            elif size_of(value)[0] > rooms[index]:
                with pytest.raises(ValueError, match="exceeds available storage"):
                    made[index] = value
            else:
                made[index] = model[index] = value
            assert exactly(made) == exactly(model)


@settings(deadline=None)
@given(st.lists(PLAIN, max_size=12))
def test_standard_library_reads_the_same_list(values):
    with BothLists() as lists:
        made = lists.ours(values)
        theirs = lists.theirs_over(made)
        assert exactly(theirs) == exactly(values)
        assert theirs.format == made.format


@settings(deadline=None)
@given(
    st.lists(
        PLAIN_WORDS
        | st.binary(max_size=30).map(strip)
        | st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=30)
    )
)
def test_both_make_the_same_bytes_for_strings_of_ascii(values):
    with BothLists() as lists:
        assert content(lists.ours(values)) == content(lists.theirs(values))


@settings(deadline=None)
@given(
    st.sampled_from(["ours", "theirs"]),
    st.lists(st.tuples(st.booleans(), st.integers(0, 2), PLAIN), max_size=20),
    st.lists(NUL_ENDED, max_size=3),
)
def test_both_write_in_turns(creator, assignments, rare):
    with BothLists() as lists:
        model = ["x" * 130] * 3
        ours, theirs = lists.pair(model, creator)
        for turn, (is_theirs, index, value) in enumerate(assignments):
            if turn < len(rare):  # what only we keep is in the way
                ours[index] = rare[turn]
            (theirs if is_theirs else ours)[index] = model[index] = value
            assert exactly(ours) == exactly(theirs) == exactly(model)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(-1, 8))
def test_bytes_that_are_no_list_are_an_error_or_a_list_with_unreadable_items(rest, n):
    image = struct.pack("q", n) + rest
    try:
        places = layout.places(memoryview(image), "made-up")
    except ValueError:
        return
    assert len(places) == n + 1
    assert all(n + 2 <= place <= len(image) // 8 for place in places)


@settings(deadline=None)
@given(st.data(), st.lists(VALUES, max_size=4))
def test_damage_is_an_error_at_attach_or_at_the_item_or_another_value(data, values):
    with BothLists() as lists:
        image = bytearray(layout.image(values))
        for _ in range(data.draw(st.integers(1, 4))):
            image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
        block = lists.block(image)
        try:
            made = lists.ours_over(type("Named", (), {"shm": block}))
        except ValueError as error:
            assert "holds no ShareableList" in str(error)
            return
        for position in range(len(made)):
            try:
                assert isinstance(made[position], int | float | str | bytes | None)
            except ValueError as error:
                assert f"item {position} of" in str(error)
