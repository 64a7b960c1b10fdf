"""Values that go over HTTP come back unchanged, and bytes that are no message of a look-up are refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pardata.lookup import wire

PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(), st.binary())
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)
ARRAYS = arrays.arrays(
    st.one_of(
        arrays.integer_dtypes(), arrays.floating_dtypes(), arrays.complex_number_dtypes(), arrays.byte_string_dtypes()
    ),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0),
)


def same(one, other):
    return type(one) is type(other) and repr(one) == repr(other)


@given(VALUES)
def test_values(value):
    assert same(wire.from_json(json.loads(json.dumps(wire.to_json(value), allow_nan=False))), value)


@given(st.lists(ARRAYS, max_size=3))
def test_arrays(given_arrays):
    back = wire.from_npy(wire.to_npy(given_arrays))
    assert len(back) == len(given_arrays)
    for one, other in zip(back, given_arrays, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@given(st.lists(ARRAYS, min_size=1, max_size=2), st.data())
def test_damaged_arrays_are_refused_or_are_arrays(given_arrays, data):
    body = bytearray(wire.to_npy(given_arrays))
    for _ in range(3):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(body[: data.draw(st.integers(0, len(body)))])
    try:
        assert all(isinstance(array, np.ndarray) for array in wire.from_npy(body))
    except ValueError:
        pass


@given(st.binary(max_size=100))
def test_other_bytes_are_refused(body):
    if body:
        with pytest.raises(ValueError, match="npy"):
            wire.from_npy(body)


def test_sizes_that_a_header_claims_reserve_nothing():
    for shape in ("(4611686018427387904,)", "(-1,)", "(1e3,)", "(True,)", "(2**40, 2**40)"):
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        body = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(4)
        with pytest.raises(ValueError, match="npy"):
            wire.from_npy(body)


@pytest.mark.parametrize(
    "value", [{}, {"a": 1, "b": 2}, {"no": 1}, {"float": "x"}, {"bytes": "?"}, {"bytes": 1}, {"npy": ""}, {"dict": []}]
)
def test_json_that_is_none_of_ours(value):
    with pytest.raises(ValueError):
        wire.from_json(value)


def test_what_cannot_be_sent():
    for value in (object(), {1: 2}, np.array([None]), [{"a": {2}}]):
        with pytest.raises(TypeError, match="cannot be sent"):
            wire.to_json(value)
