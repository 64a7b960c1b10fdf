"""Small arrays of a message travel as one, and arrive as those that they were."""

import numpy as np
import pytest

from pardata.cluster import wire
from pardata.cluster.rows import together


def numbers(count=5, shape=(3, 2), dtype=float):
    return [np.full(shape, index, dtype) for index in range(count)]


def read_only(items):
    items[2].setflags(write=False)
    return items


ARE_ONE = {
    "alike": numbers(),
    "empty": numbers(shape=(0, 2)),
    "many": numbers(1000, (100,), np.float32),  # they go beside the stream
}
ARE_NOT = {
    "few": numbers(2),
    "of other shapes": [*numbers(), np.zeros(6)],
    "of other dtypes": [*numbers(), np.zeros((3, 2), np.int64)],
    "large": numbers(shape=(2000,)),
    "numbers": numbers(shape=()),
    "read-only": read_only(numbers()),
    "in Fortran's order": [np.asfortranarray(array) for array in numbers()],
    "in the other byte order": numbers(dtype=">f8"),
    "of objects": numbers(dtype=object),
    "of text": numbers(dtype="U3"),
    "the same twice": [*(items := numbers()), items[0]],
    "masked": [np.ma.masked_array(array) for array in numbers()],
    "with something else": [*numbers(), "x"],
    "described": numbers(dtype=np.dtype(float, metadata={"unit": "m"})),
}


@pytest.mark.parametrize("kind", [*ARE_ONE, *ARE_NOT])
def test_arrays_arrive_as_they_were(kind):
    items = (ARE_ONE | ARE_NOT)[kind]
    given = together(items)
    assert (given is items) == (kind in ARE_NOT)
    made = wire.decode([frame if isinstance(frame, bytes) else frame.copy() for frame in wire.encode(given)])
    assert type(made) is list and len(made) == len(items)
    for one, other in zip(made, items, strict=True):
        assert type(one) is type(other) and np.array_equal(one, other)
        if isinstance(one, np.ndarray):
            assert (one.dtype, one.shape, one.strides) == (other.dtype, other.shape, other.strides)
            assert one.flags.writeable == other.flags.writeable
    assert all(made[0] is not other for other in made[1:]) or kind == "the same twice"
