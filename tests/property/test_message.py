"""Whatever arrays an object has, it arrives as it was."""

from contextlib import contextmanager
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pardata.channel.placing import BlockPlacer
from pardata.codec import batch_codec
from pardata.codec.access import Access
from pardata.codec.batch_codec import INLINE_BYTES, MOST_BLOCKS, decode, encode
from pardata.memory.arena import HEADER_BYTES, Arena, Span
from pardata.memory.layout import held_bytes, is_overlapping
from pardata.memory.segment import Segment

FEW_BYTES = 64  # instead of 16 KiB: from here on an array leaves in a block

DTYPES = st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes(), hnp.byte_string_dtypes(), hnp.nested_dtypes())
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)


@st.composite
def arrays(draw):
    """Arrays of any dtype, shape and memory layout."""
    array = draw(hnp.arrays(draw(DTYPES), draw(SHAPES)))
    layout = draw(st.sampled_from(["C", "F", "reversed", "every other", "transposed", "broadcast", "read-only"]))
    if layout == "F":
        return np.asfortranarray(array) if array.ndim else array
    if layout == "reversed":
        return array[(slice(None, None, -1),) * array.ndim] if array.ndim else array
    if layout == "every other":
        return array[(slice(None, None, 2),) * array.ndim] if array.ndim else array
    if layout == "transposed":
        return array.T
    if layout == "broadcast":
        return np.broadcast_to(array, (2, *array.shape))
    if layout == "read-only":
        array.setflags(write=False)
    return array


LEAVES = st.one_of(arrays(), st.none(), st.integers(), st.text(max_size=20), st.binary(max_size=300))


def containers(inner):
    return st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner), st.dictionaries(st.text(), inner, max_size=3)
    )


OBJECTS = st.recursive(LEAVES, containers, max_leaves=8)


@contextmanager
def outbox():
    segment = Segment.create()
    with mock.patch.object(batch_codec, "INLINE_BYTES", FEW_BYTES):
        yield BlockPlacer(Arena(segment, Span(0, 1 << 32), HEADER_BYTES, None, "worker"), False, Access.READ)
    segment.close_fd()


def assert_same(received, sent):
    assert type(received) is type(sent)
    if isinstance(sent, np.ndarray):
        assert received.dtype == sent.dtype
        assert received.shape == sent.shape
        assert received.tobytes() == sent.tobytes()  # bit by bit: NaN as well
    elif isinstance(sent, dict):
        assert list(received) == list(sent)
        for key in sent:
            assert_same(received[key], sent[key])
    elif isinstance(sent, list | tuple):
        assert len(received) == len(sent)
        for one, other in zip(received, sent, strict=True):
            assert_same(one, other)
    else:
        assert received == sent


def every_array(obj):
    if isinstance(obj, np.ndarray):
        yield obj
    elif isinstance(obj, dict):
        for value in obj.values():
            yield from every_array(value)
    elif isinstance(obj, list | tuple):
        for value in obj:
            yield from every_array(value)


@settings(deadline=None)
@given(st.lists(arrays(), max_size=5), st.booleans())
def test_batch_of_arrays_arrives_as_it_was(items, inplace):
    with outbox() as sink:
        encoded = encode(list(items), sink)
        received = decode(encoded.kind, memoryview(encoded.payload), encoded.anchors, Access(inplace))
        assert_same(received, items)
        for array in received:
            if inplace or not array.size:
                assert array.flags.writeable is (not is_overlapping(array) or not array.size)
            elif held_bytes(array) >= INLINE_BYTES:
                assert not array.flags.writeable


@settings(deadline=None)
@given(st.lists(OBJECTS, max_size=4), st.booleans())
def test_batch_of_objects_arrives_as_it_was(items, inplace):
    with outbox() as sink:
        encoded = encode(list(items), sink)
        assert len(encoded.anchors) <= MOST_BLOCKS
        received = decode(encoded.kind, memoryview(encoded.payload), encoded.anchors, Access(inplace))
        assert_same(received, items)


@settings(deadline=None)
@given(hnp.arrays("f8", st.integers(1, 40)), st.integers(1, 6), st.booleans())
def test_equal_arrays_in_place_are_separate(array, copies, inplace):
    with outbox() as sink:
        items = [array.copy() for _ in range(copies)]
        encoded = encode(list(items), sink)
        received = decode(encoded.kind, memoryview(encoded.payload), encoded.anchors, Access.INPLACE)
        received[0][:] = 7
        assert_same(received[1:], items[1:])


@settings(deadline=None)
@given(st.lists(OBJECTS, max_size=3))
def test_blocks_are_free_again_when_everything_is_dropped(items):
    with outbox() as sink:
        encoded = encode(list(items), sink)
        received = decode(encoded.kind, memoryview(encoded.payload), encoded.anchors)
        held = list(every_array(received))
        del encoded, received, held
        assert sink.arena.statistics()["live_bytes"] == 0
