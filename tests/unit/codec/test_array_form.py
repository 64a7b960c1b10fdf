"""An array of a subclass arrives as its own pickle would bring it, and its memory goes as an array's does."""

import io
import pickle

import numpy as np
import pytest

from pardata.channel.placing import BlockPlacer
from pardata.codec.access import Access
from pardata.codec.array_form import reduce_subclass
from pardata.codec.batch_codec import decode, encode
from pardata.codec.picklers import ArrayPickler
from tests.conformance.kinds import Tagged

N = 4000


@pytest.fixture
def send(arena):
    """Send one item, and return what arrives, and how many bytes did not go into blocks."""
    sink = BlockPlacer(arena, False, Access.READ)

    def make(item, inplace=False):
        encoded = encode([item], sink)
        (received,) = decode(encoded.kind, memoryview(encoded.payload), encoded.anchors, Access(inplace))
        return received, len(encoded.payload)

    return make


class Plain(np.ndarray):
    """Has no state; what is put into its `__dict__` is lost by its pickle."""


class Counted(Tagged):
    """Has a state that depends on how many entries there are."""

    def __setstate__(self, state):
        super().__setstate__(state)
        self.count = self.size


class Slotted(np.ndarray):
    """Keeps its state outside of a `__dict__`."""

    __slots__ = ("tag",)

    def __array_finalize__(self, parent):
        self.tag = getattr(parent, "tag", None)

    def __reduce__(self):
        make, arguments, state = np.ndarray.__reduce__(self)
        return make, arguments, (state, self.tag)

    def __setstate__(self, state):
        np.ndarray.__setstate__(self, state[0])
        self.tag = state[1]


class Changed(np.ndarray):
    """Comes out of its pickle with other values."""

    def __setstate__(self, state):
        super().__setstate__(state)
        self += 1


class Closed(np.ndarray):
    """Cannot be pickled."""

    def __reduce__(self):
        raise TypeError("not this one")


def of(kind, tag=None):
    made = np.arange(N * 1.0).view(kind)
    if tag is not None:
        made.tag = tag
    return made


ARRAYS = {
    "plain": lambda: of(Plain, "lost"),
    "tagged": lambda: of(Tagged, {"unit": "m"}),
    "tagged, in another order": lambda: of(Tagged, 5).reshape(40, 100).T,
    "counted": lambda: of(Counted, 5),
    "slotted": lambda: of(Slotted, 5),
    "changed": lambda: of(Changed),
    "matrix": lambda: np.arange(N).reshape(40, -1).view(np.matrix),
    "recarray": lambda: np.rec.fromarrays([np.arange(N), np.arange(N) / 3], names="a,b"),
    "small": lambda: of(Tagged, "small")[:3],
    "without entries": lambda: of(Tagged, "none")[:0],
    "a scalar": lambda: of(Tagged, "one")[0:1].reshape(()),
    "of objects": lambda: np.array([{}, 5], object).view(Tagged),
    "sliding": lambda: np.lib.stride_tricks.sliding_window_view(of(Plain), 50, subok=True),
}
GOES_AS_BYTES = {"counted", "slotted", "changed"}


def state_of(array):
    state = {name: value for name, value in getattr(array, "__dict__", {}).items() if name != "tag"}
    return type(array), array.dtype, array.shape, getattr(array, "tag", None), state


@pytest.mark.parametrize("name", ARRAYS)
def test_it_arrives_as_its_own_pickle_would_bring_it(send, name):
    array = ARRAYS[name]()
    (received, nbytes), own = send(array), pickle.loads(pickle.dumps(array, 5))
    assert state_of(received) == state_of(own)
    np.testing.assert_array_equal(received.view(np.ndarray), own.view(np.ndarray))
    if array.nbytes >= 16 << 10:
        assert (nbytes > array.nbytes / 2) is (name in GOES_AS_BYTES)


@pytest.mark.parametrize("name", ["tagged", "matrix", "small", "recarray"])
@pytest.mark.parametrize("inplace", [False, True])
def test_it_is_read_only_as_arrays_are(send, name, inplace):
    received, _ = send([ARRAYS[name]()], inplace)
    assert received[0].flags.writeable is (inplace or name == "small")


@pytest.mark.parametrize("order", "<>")
def test_it_keeps_its_byte_order_which_its_own_pickle_does_not(send, order):
    class First(Tagged):  # the first of a class decides how others go
        pass

    array = np.arange(N).astype(f"{order}f8").view(First)
    received, nbytes = send([array])
    assert received[0].dtype.str == f"{order}f8" and nbytes < array.nbytes / 2
    np.testing.assert_array_equal(received[0], array)


def test_it_is_one_object_where_it_was_one(send):
    array = of(Tagged, "x")
    (one, other, view), _ = send((array, array, array[:10]))
    assert one is other and view is not one and view.tag == "x"


def test_it_may_contain_itself(send):
    array = of(Tagged)
    array.tag = [array]
    received, _ = send(array)
    assert type(received.tag[0]) is Tagged
    np.testing.assert_array_equal(received.tag[0], array)


def test_one_that_cannot_be_pickled_is_refused():
    with pytest.raises(TypeError, match="not this one"):
        ArrayPickler(io.BytesIO(), False).dump(of(Closed))
    assert reduce_subclass(of(Closed)) is NotImplemented


MASKED = {
    "masked": lambda: np.ma.masked_array(np.arange(N), np.arange(N) % 2, fill_value=-1),
    "small": lambda: np.ma.masked_array([1.0, 2], [0, 1]),
    "without a mask": lambda: np.ma.masked_array(np.arange(N)),
    "a hard mask": lambda: np.ma.masked_array(np.arange(N), np.arange(N) % 2, hard_mask=True),
    "fields": lambda: np.ma.masked_array(np.zeros(N, "i4,f8"), [(0, 1)] * N),
    "in another order": lambda: np.ma.masked_array(np.arange(N).reshape(40, -1), np.arange(N).reshape(40, -1) % 2).T,
    "a matrix": lambda: np.ma.masked_array(np.arange(N).reshape(40, -1).view(np.matrix), False),
}


def test_under_a_mask_it_keeps_its_attributes_which_its_own_pickle_does_not(send):
    array = np.ma.masked_array(of(Tagged, "m"), np.arange(N) % 2)
    assert pickle.loads(pickle.dumps(array, 5)).data.tag is None
    received, nbytes = send(array)
    assert (received.tag, received.data.tag, type(received.data)) == ("m", "m", Tagged) and nbytes < 12_000
    assert received[3:].tag == "m"


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("name", MASKED)
def test_a_masked_array_keeps_all_that_it_has(send, name, inplace):
    array = MASKED[name]()
    received, nbytes = send(array, inplace)
    assert type(received) is np.ma.MaskedArray and received.dtype == array.dtype
    assert (received.mask is np.ma.nomask) is (array.mask is np.ma.nomask)
    np.testing.assert_array_equal(received.mask, array.mask)
    np.testing.assert_array_equal(np.asarray(received.data), np.asarray(array.data))
    np.testing.assert_array_equal(received.ravel("K").data, array.ravel("K").data)
    assert type(received.data) is type(array.data) and received.hardmask == array.hardmask
    assert str(received.fill_value) == str(array.fill_value)
    assert received.flags.writeable is (inplace or name == "small") and nbytes < 12_000
    received.fill_value = 7 if received.dtype.names is None else (7, 7)
    if inplace:
        received[0] = np.ma.masked
        assert np.all(np.ma.getmaskarray(received)[0].tolist())
