"""What goes in comes out: equal, of the same type, and read-only where it lies in shared memory."""

import datetime
import pickle
import subprocess
import sys
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field

import numpy as np
import pytest

import pardata
from pardata.channel.placing import BlockPlacer
from pardata.codec.access import Access
from pardata.codec.batch_codec import APART, ARRAYS, INLINE_BYTES, MOST_BLOCKS, RAW, ROWS, decode, encode
from pardata.codec.code import decode_code, encode_code
from pardata.codec.object_codec import PACKED_BYTES, PICKLE
from pardata.memory.array import find_anchor, view

HANG_S = 60
SMALL, LARGE = 7, 6000


@pytest.fixture
def sink(arena):
    """Where encoded arrays go."""
    return BlockPlacer(arena, False, Access.READ)


@pytest.fixture
def send(sink):
    """Encode items and decode them again."""

    def make(*items, inplace=False):
        encoded = encode(list(items), sink)
        return decode(encoded.kind, memoryview(encoded.payload), encoded.anchors, Access(inplace))

    return make


def assert_same(received, sent):
    """Type, dtype, shape and every value are the same; NaN equals NaN."""
    assert type(received) is type(sent)
    if isinstance(sent, np.ndarray):
        assert received.dtype == sent.dtype
        np.testing.assert_array_equal(received, sent)
    elif isinstance(sent, dict):
        assert list(received) == list(sent)
        for key, value in sent.items():
            assert_same(received[key], value)
    elif isinstance(sent, list | tuple):
        assert len(received) == len(sent)
        for one, other in zip(received, sent, strict=True):
            assert_same(one, other)
    else:
        assert received == sent


def made(n):
    """Arrays of about `n` entries of every kind."""
    count = np.arange(n)
    return {
        "float64": count / 3,
        "float32": (count / 3).astype("f4"),
        "float16": (count % 100).astype("f2"),
        "longdouble": count.astype(np.longdouble),
        "complex": count * (1 + 2j),
        "bool": count % 3 == 0,
        "int8": count.astype("i1"),
        "uint64": count.astype("u8") + (1 << 63),
        "big-endian": count.astype(">f8"),
        "NaN": np.where(count % 2, np.nan, 1.0),
        "text": np.array([f"ä{i}" for i in count]),
        "bytes": np.array([b"x%d" % i for i in count]),
        "datetime64": count.astype("M8[ns]"),
        "datetime64 of weeks": count.astype("M8[3W]"),
        "NaT": np.where(count % 2, np.datetime64("NaT", "s"), np.datetime64(1, "s")),
        "timedelta64": count.astype("m8[D]"),
        "structured": np.array([(i, i / 2) for i in count], [("a", "i4"), ("b", "f8")]),
        "nested structured": np.zeros(n, [("a", [("x", "f4"), ("y", "U3")]), ("b", "i2", (2, 2))]),
        "aligned structured": np.zeros(n, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        "void": count.astype("i8").view("V8"),
        "fortran order": np.asfortranarray((count * 1.0).repeat(4).reshape(n, 4)),
        "reversed": (count * 1.0)[::-1],
        "every other": (np.arange(2 * n) * 1.0)[::2],
        "column": (np.arange(3 * n) * 1.0).reshape(n, 3)[:, 1],
        "transposed": (np.arange(6 * n) * 1.0).reshape(n, 2, 3).transpose(1, 2, 0),
        "broadcast": np.broadcast_to(count * 1.0, (3, n)),
        "read-only": np.frombuffer(count.tobytes(), "i8"),
        "matrix": (count * 1.0).reshape(1, n).view(np.matrix),
        "record": np.rec.array([(i, "x") for i in count], [("a", "i4"), ("b", "U1")]),
        "objects": np.array([{"i": int(i)} for i in count], object),
    }


KINDS = list(made(1))


@pytest.mark.parametrize("n", [1, SMALL, LARGE], ids=["one", "small", "large"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: (a, 5)], ids=["bare", "wrapped"])
def test_array_arrives_as_it_was(send, kind, n, wrap):
    sent = wrap(made(n)[kind])
    assert_same(send(sent)[0], sent)


IN_ROWS = {*KINDS[:3], "longdouble", "complex", "uint64", "big-endian", "NaN", "text", "bytes", "timedelta64"}
IN_ROWS |= {kind for kind in KINDS if kind.startswith(("datetime64", "NaT"))}


@pytest.mark.parametrize("kind", KINDS)
def test_new_arrays_of_one_layout_arrive_as_they_were_and_apart(sink, kind):
    n = 2 * LARGE if kind == "float16" else LARGE
    sent = [made(n)[kind] for _ in range(3)]
    if kind in IN_ROWS:
        sent = [np.roll(item, shift) for shift, item in enumerate(sent)]
    encoded = encode(list(sent), sink)
    assert (encoded.kind == ROWS) == (kind in IN_ROWS)
    received = decode(encoded.kind, memoryview(encoded.payload), encoded.anchors, Access.INPLACE)
    assert_same(received, sent)
    if encoded.kind == ROWS:
        assert len(encoded.anchors) == 1
        assert not any(item.__array_interface__["data"][0] % 64 for item in received)
        for item in received[::2]:
            item[...] = np.zeros(1, item.dtype)
        assert_same(received[1], sent[1])


@pytest.mark.parametrize(
    "others",
    [
        lambda: [np.ones(LARGE, "f4")],
        lambda: [np.ones(LARGE + 1)],
        lambda: [np.ones((LARGE, 1))],
        lambda: [np.ones((2, LARGE // 2)).T.copy("F")],
        lambda: [np.ones(2 * LARGE)[::2]],
        lambda: [np.ones(3 * LARGE)[LARGE : 2 * LARGE]],
        lambda: [np.ones(LARGE, ">f8")],
        lambda: [np.ones(SMALL)],
        lambda: [b"x"],
    ],
)
def test_other_items_among_arrays_of_one_layout_arrive_as_they_were(send, others):
    for sent in ([np.zeros(LARGE), *others(), np.ones(LARGE)], [*others(), np.zeros(LARGE)]):
        assert_same(send(*sent), sent)


@pytest.mark.parametrize("n", [SMALL, LARGE], ids=["small", "large"])
def test_arrays_of_as_many_axes_as_numpy_has_arrive_as_they_were(send, n):
    axes = 64 if np.__version__[0] == "2" else 32
    for count in (1, 3):
        sent = [np.full((1,) * (axes - 1) + (n,), number) for number in range(count)]
        assert_same(send(*sent), sent)


@pytest.mark.parametrize("n", [SMALL, LARGE], ids=["small", "large"])
def test_masked_array_keeps_its_mask_and_fill_value(send, n):
    sent = np.ma.masked_array(np.arange(n) * 1.0, np.arange(n) % 2, fill_value=-1)
    (received,) = send(sent)
    assert_same(received.filled(), sent.filled())
    assert_same(received.mask, sent.mask)


@pytest.mark.parametrize("n", [SMALL, LARGE], ids=["small", "large"])
def test_variable_width_strings_arrive_as_they_were(send, n):
    if not hasattr(np.dtypes, "StringDType"):
        pytest.skip("this NumPy has no StringDType")
    sent = np.array(["x" * (i % 50) for i in range(n)], np.dtypes.StringDType())
    assert_same(send(sent)[0], sent)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0, 2), (1, 1, 1)])
@pytest.mark.parametrize("dtype", ["f8", "U3", "M8[s]", [("a", "f4")]], ids=str)
def test_scalar_and_empty_arrays_keep_their_shape(send, shape, dtype):
    sent = np.zeros(shape, dtype)
    assert_same(send(sent)[0], sent)
    assert_same(send([sent])[0], [sent])


@pytest.mark.parametrize("dtype", [[], "V0"], ids=str)
def test_array_of_items_without_bytes_keeps_its_shape(send, dtype):
    sent = np.ndarray((3,), np.dtype(dtype))
    assert_same(send(sent)[0], sent)


def test_equal_small_arrays_share_one_header(sink):
    items = [np.full(10, i, "i4") for i in range(20)]
    encoded = encode(items, sink)
    assert encoded.kind == RAW
    assert len(encoded.payload) < 20 * 40 + 40
    assert_same(decode(encoded.kind, encoded.payload, []), items)


@pytest.mark.parametrize(
    "other", [np.zeros(11), np.zeros(10, "f4"), np.zeros((5, 2)), 5, np.zeros(10, ">f8")], ids=repr
)
def test_small_arrays_that_differ_travel_together(send, other):
    items = [np.ones(10), other, np.ones(10)]
    assert_same(send(*items), items)


def test_large_and_small_arrays_travel_together(send):
    items = [np.ones(LARGE), np.ones(SMALL), None, np.ones(LARGE, "f4"), "text"]
    assert_same(send(*items), items)
    assert_same(send(*items[:2]), items[:2])
    assert_same(send(*items[1::-1]), items[1::-1])


def test_batch_without_items_is_empty(send):
    assert send() == []


# -- objects -----------------------------------------------------------------------------------------------------------

Point = namedtuple("Point", "x y")


@dataclass
class Frame:
    image: np.ndarray
    meta: dict = field(default_factory=dict)

    def __eq__(self, other):
        return np.array_equal(self.image, other.image) and self.meta.keys() == other.meta.keys()


def nested(n):
    return {
        "tuple": (np.ones(n), 1),
        "dict": {"a": np.ones(n), "b": {"c": [np.zeros(n, "i2")]}},
        "namedtuple": Point(np.ones(n), None),
        "ordered": OrderedDict(z=np.ones(n), a=1),
        "dataclass": Frame(np.ones((n, 2)), {"k": np.ones(n)}),
        "list in a tuple in a list": [([np.ones(n)],)],
        "array of arrays": {"o": [np.ones(n) for _ in range(5)]},
    }


@pytest.mark.parametrize("n", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("kind", nested(1))
def test_arrays_anywhere_in_an_object_arrive_as_they_were(send, kind, n):
    sent = nested(n)[kind]
    received = send(sent, 0, sent)
    assert received[1] == 0
    assert_same(received[0], sent)
    assert_same(received[2], sent)


@pytest.mark.parametrize("n", [SMALL, LARGE], ids=["small", "large"])
def test_object_array_of_arrays_arrives_as_it_was(send, n):
    sent = np.empty(2, object)
    sent[:] = [np.ones(n), {"k": np.zeros(n)}]
    (received,) = send(sent)
    assert_same(received[0], sent[0])
    assert_same(received[1], sent[1])


BUILTINS = [None, True, 3, 1 << 100, 2.5, 1j, "text ä", {1, 2}, frozenset("ab"), range(5), slice(1, 2), ..., print]
BYTES = [b"x", b"x" * (1 << 20), bytearray(b"y" * 50_000)]
OTHERS = [datetime.datetime(2024, 1, 2), np.float32(3), np.datetime64("2020"), np.sum]


@pytest.mark.parametrize("sent", [*BUILTINS, *BYTES, *OTHERS], ids=lambda sent: repr(sent)[:20])
def test_objects_without_arrays_arrive_as_they_were(send, sent):
    assert_same(send(sent, sent), [sent, sent])


def test_out_of_band_buffers_arrive_as_bytes(send):
    for data in (b"", b"x" * 100, bytes(range(256)) * 1000):
        (received,) = send([pickle.PickleBuffer(data)])
        assert bytes(memoryview(received[0])) == data


def test_functions_that_cannot_be_imported_travel_by_value(send):
    offset = np.arange(LARGE)

    def add(x):
        return x + offset

    twice, added = send(lambda x: 2 * x, add)
    assert twice(4) == 8
    assert np.array_equal(added(1), offset + 1)


def test_object_that_cannot_be_pickled_is_refused(send):
    with pytest.raises((TypeError, pickle.PicklingError)):
        send([(i for i in range(3))])


def test_arrays_that_a_function_has_captured_leave_as_blocks(sink):
    table = np.arange(LARGE)
    encoded = encode_code(lambda x: table[x], sink)
    assert len(encoded.anchors) == 1
    assert len(encoded.payload) < table.nbytes // 2


MAIN = """
import dataclasses, pickle, sys
import numpy as np
from pardata.codec.batch_codec import decode, encode

@dataclasses.dataclass
class Frame:
    image: object
    label: str

class Colour(__import__("enum").Enum):
    RED = 1

encoded = encode([Frame(np.arange(3), "a"), Colour.RED, {"f": Frame}], None)
sys.stdout.buffer.write(bytes([encoded.kind]) + encoded.payload)
"""


def test_classes_of_the_users_script_are_understood_where_that_script_is_not():
    done = subprocess.run([sys.executable, "-c", MAIN], capture_output=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr.decode()
    frame, colour, classes = decode(done.stdout[0], done.stdout[1:], [])
    assert (type(frame).__name__, frame.label, frame.image.tolist()) == ("Frame", "a", [0, 1, 2])
    assert colour.name == "RED"
    assert classes["f"] is type(frame)


# -- blocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nbytes", [INLINE_BYTES - 1, INLINE_BYTES])
def test_arrays_from_the_threshold_on_leave_as_blocks(sink, nbytes):
    for item in (np.zeros(nbytes, "u1"), [np.zeros(nbytes, "u1")], Frame(np.zeros(nbytes, "u1"))):
        encoded = encode([item], sink)
        assert len(encoded.anchors) == (nbytes >= INLINE_BYTES)
        assert (len(encoded.payload) < INLINE_BYTES // 4) == (nbytes >= INLINE_BYTES)


def test_arrays_of_one_block_name_it_once(sink, arena):
    block = arena.reserve(8 * LARGE)
    whole = view(block, 0, "f8", (LARGE,), None)
    whole[:] = np.arange(LARGE)
    whole.setflags(write=False)
    for items in ([whole, whole[:3000], whole[::-1]], [{"a": whole, "b": [whole[::2]]}]):
        encoded = encode(items, sink)
        assert [anchor is block for anchor in encoded.anchors] == [True]
        assert_same(decode(encoded.kind, encoded.payload, encoded.anchors), items)


def test_message_of_more_arrays_than_blocks_are_allowed_is_complete(sink):
    items = [[np.full(INLINE_BYTES, i % 100, "u1") for i in range(MOST_BLOCKS + 20)]]
    encoded = encode(items, sink)
    assert encoded.kind == PICKLE
    assert len(encoded.anchors) <= MOST_BLOCKS
    assert_same(decode(encoded.kind, encoded.payload, encoded.anchors), items)


def test_batch_of_more_arrays_than_blocks_are_allowed_is_complete(sink):
    items = [np.full(INLINE_BYTES, i % 100, "u1") for i in range(MOST_BLOCKS + 20)]
    encoded = encode(items, sink)
    assert len(encoded.anchors) <= MOST_BLOCKS
    assert_same(decode(encoded.kind, encoded.payload, encoded.anchors), items)


def test_bare_large_arrays_need_no_pickle(sink):
    encoded = encode([np.ones(LARGE), np.ones((LARGE, 2), "f4", order="F")], sink)
    assert encoded.kind == ARRAYS


def test_what_was_decoded_does_not_refer_to_the_payload(sink):
    for items in ([np.ones(SMALL)], [np.ones(LARGE)], [{"a": np.ones(SMALL), "b": b"bytes"}]):
        encoded = encode(items, sink)
        payload = bytearray(encoded.payload)
        received = decode(encoded.kind, memoryview(payload), encoded.anchors)
        payload[:] = bytes(len(payload))  # the slot is used for the next message
        assert_same(received, items)


@pytest.mark.parametrize("dtype", ["i1", "f8", "c16", "M8[ns]", "longdouble"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 2, 3)])
def test_small_arrays_are_aligned(send, dtype, shape):
    assert all(array.flags.aligned for array in send(np.zeros(shape, dtype), np.zeros(shape, dtype)))


# -- read-only and in place --------------------------------------------------------------------------------------------


def arrays_in(received):
    return [received] if isinstance(received, np.ndarray) else [received["k"][0]]


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: {"k": [a]}], ids=["bare", "wrapped"])
def test_large_arrays_are_read_only_and_small_ones_the_readers_own(send, wrap):
    (array,) = arrays_in(send(wrap(np.ones(LARGE)))[0])
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 5
    first, second = (arrays_in(item)[0] for item in send(wrap(np.ones(SMALL)), wrap(np.ones(SMALL))))
    first[:] = 7
    assert second.sum() == SMALL


@pytest.mark.parametrize("beside", [1, lambda: None], ids=["number", "function of a script"])
def test_small_array_of_pardata_is_the_readers_own_also_beside_what_goes_by_value(send, beside):
    held = pardata.zeros(SMALL)
    received = send([held, beside])[0][0]
    received += 1
    assert received.sum() == SMALL and held.sum() == 0


class Table:
    """Holds an array that nobody else can copy."""

    def __init__(self, held):
        self.held = held


@pytest.mark.parametrize("access", Access)
@pytest.mark.parametrize("is_shared", [False, True])
def test_array_that_an_object_holds_is_the_readers_own(sink, access, is_shared):
    array = np.ones((LARGE, 2), order="F")
    encoded = encode([[array, Table(array), {"t": Table(array + 1)}]], sink)
    for block in encoded.anchors:
        block.shared = is_shared
    bare, also, inner = decode(encoded.kind, encoded.payload, encoded.anchors, access)[0]
    assert bare is also.held and bare.flags.f_contiguous and inner["t"].held.flags.f_contiguous
    is_writable = access is Access.INPLACE or (access is Access.RESULT and not is_shared)
    assert (bare.flags.writeable, inner["t"].held.flags.writeable) == (is_writable, True)
    inner["t"].held[:] = 7
    again = decode(encoded.kind, encoded.payload, encoded.anchors)[0][2]["t"].held
    assert (again == (7 if access and not is_shared else 2)).all()


def test_state_is_the_workers_own_unless_it_is_frozen(sink):
    frozen, own = np.ones(LARGE), np.ones(LARGE)
    small = np.ones(3)
    frozen.setflags(write=False)
    state = {"frozen": frozen, "own": own, "small": small, "frozen, small": small[:]}
    state["frozen, small"].setflags(write=False)
    encoded = encode_code(state, sink)
    first, second = (decode_code(encoded.payload, encoded.anchors) for _ in "ab")
    assert [array.flags.writeable for array in first.values()] == [False, True, True, False]
    first["own"][:] = first["small"][:] = 7
    assert all((array == 1).all() for array in second.values())


@pytest.mark.parametrize("n", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: {"k": [a]}], ids=["bare", "wrapped"])
def test_arrays_received_in_place_are_writable_and_separate(send, n, wrap):
    first, second = (arrays_in(item)[0] for item in send(wrap(np.ones(n)), wrap(np.ones(n)), inplace=True))
    first[:] = 7
    assert second.sum() == n


def test_in_place_gives_the_block_itself_to_its_only_reader(sink):
    encoded = encode([np.ones(LARGE)], sink)
    (array,) = decode(encoded.kind, encoded.payload, encoded.anchors, Access.INPLACE)
    assert find_anchor(array) is encoded.anchors[0]


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: {"k": [a]}], ids=["bare", "wrapped"])
def test_in_place_gives_a_copy_where_others_read_the_block(sink, wrap):
    encoded = encode([wrap(np.ones((LARGE, 2), order="F"))], sink)
    encoded.anchors[0].shared = True
    (array,) = arrays_in(decode(encoded.kind, encoded.payload, encoded.anchors, Access.INPLACE)[0])
    assert find_anchor(array) is None
    assert array.flags.f_contiguous
    array[:] = 7
    (other,) = arrays_in(decode(encoded.kind, encoded.payload, encoded.anchors)[0])
    assert (other == 1).all()


LAYOUTS = {
    "fortran": np.asfortranarray,
    "transposed": lambda array: array.reshape(5, -1, 4).transpose(1, 0, 2),
    "backwards": lambda array: array[::-1],
    "a column": lambda array: array[:, 1],
    "every other, turned": lambda array: array[::2].T,
}


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: (a, 5)], ids=["bare", "wrapped"])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("rows", [20, 2000], ids=["small", "large"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_axes_keep_their_order_in_memory(send, layout, rows, inplace, wrap):
    sent = LAYOUTS[layout](np.arange(rows * 4.0).reshape(rows, 4))
    (received,) = send(wrap(sent), inplace=inplace)
    received = received[0] if type(received) is tuple else received
    assert_same(received, sent)
    assert_same(received.ravel(order="K"), sent.ravel(order="K"))
    assert received.flags.f_contiguous is sent.copy(order="K").flags.f_contiguous
    assert received.flags.writeable is (inplace or received.nbytes < INLINE_BYTES)


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: (a, 5)], ids=["bare", "wrapped"])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("n", [100, 10_000], ids=["in the message", "in a block"])
def test_entries_that_share_memory_are_sent_as_that_memory(sink, n, inplace, wrap):
    view = np.lib.stride_tricks.sliding_window_view(np.arange(n * 1.0), 50)
    encoded = encode([wrap(view)], sink)
    assert len(encoded.payload) + sum(block.nbytes for block in encoded.anchors) < 8 * n + 5000
    (received,) = decode(encoded.kind, encoded.payload, encoded.anchors, Access(inplace))
    received = received[0] if type(received) is tuple else received
    assert_same(received, view)
    assert received.strides == view.strides and not received.flags.writeable


def test_view_of_a_few_bytes_takes_no_block(sink):
    encoded = encode([np.broadcast_to(5.0, (1000, 1000))], sink)
    assert not encoded.anchors and len(encoded.payload) < 500


@pytest.mark.parametrize("n", [3, PACKED_BYTES // 8], ids=["small", "large"])
def test_array_that_is_met_again_is_sent_once(sink, n):
    array, other = np.arange(n * 1.0), np.arange(n * 1.0)
    encoded = encode([{"a": array, "b": [array, other], "c": array[:]}], sink)
    assert len(encoded.payload) + sum(block.nbytes for block in encoded.anchors) < 3.5 * (8 * n) + 2000
    ((received),) = decode(encoded.kind, encoded.payload, encoded.anchors)
    assert received["a"] is received["b"][0]
    assert received["a"] is not received["b"][1] and received["a"] is not received["c"]
    assert_same(received["b"][1], other)


def test_arrays_that_last_as_long_as_their_pickle_are_not_taken_for_each_other(send):
    class Maker:
        def __reduce__(self):
            return tuple, ([np.full(4, next(numbers)) for _ in range(3)],)

    numbers = iter(range(1000))
    (received,) = send([Maker() for _ in range(50)])
    assert [array[0] for part in received for array in part] == list(range(150))


@pytest.mark.parametrize("n", [3, LARGE], ids=["small", "large"])
def test_items_that_are_changed_in_place_have_nothing_in_common(sink, n):
    array = np.zeros(n)
    encoded = encode([(array, array), (array, 1)], sink, apart=True)
    assert encoded.kind == APART
    first, second = decode(encoded.kind, encoded.payload, encoded.anchors, Access.INPLACE)
    first[0][:] = 1
    assert first[1] is first[0] and not second[0].any()
    del first, second
    assert encode([(array, 1), (array.copy(), 1)], sink, apart=True).kind == PICKLE


METADATA = {
    "number": np.dtype("u1", metadata={"enum": {"RED": 0}}),
    "time": np.dtype("M8[s]", metadata={"opaque": True}),
    "text": np.dtype("S5", metadata={"charset": "utf-8"}),
    "field": np.dtype([("a", np.dtype("i4", metadata={"unit": "m"})), ("b", "f8")]),
    "with an array": np.dtype("f4", metadata={"scale": np.arange(3.0)}),
}


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: (a, 5)], ids=["bare", "wrapped"])
@pytest.mark.parametrize("n", [SMALL, 20_000], ids=["small", "large"])
@pytest.mark.parametrize("kind", METADATA)
def test_dtype_keeps_what_a_user_has_put_into_it(send, kind, n, wrap):
    other = np.arange(2.0)
    sent = [wrap(np.zeros(n, METADATA[kind])), other, wrap(np.zeros(n, "u1")), other]
    received = send(*sent)
    assert_same(received, sent)
    for one, two in zip(received[::2], sent[::2], strict=True):
        one, two = (pair[0] if type(pair) is tuple else pair for pair in (one, two))
        assert repr(one.dtype.metadata) == repr(two.dtype.metadata)
        if one.dtype.names:
            assert one.dtype["a"].metadata == two.dtype["a"].metadata
