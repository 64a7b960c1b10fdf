"""Batches in place: what each kind of item becomes, and what does not fit."""

from collections import OrderedDict, UserDict, namedtuple
from types import MappingProxyType

import numpy as np
import pytest

import pardata
from pardata.feeding.collate import Assembly, pack
from pardata.feeding.trees import Leaf, with_leaves

Pair = namedtuple("Pair", "left right")


def assembled(items, size=None, tensors=False):
    assembly = Assembly(size or len(items), tensors)
    for item in items:
        assembly.add(item)
    made = assembly.finish()
    assert made.is_assembled and not any(array.flags.writeable for array in made.arrays)
    return with_leaves(lambda leaf: made.arrays[leaf.number] if type(leaf) is Leaf else leaf, made.tree)


def told(tree):
    """The arrays of a batch as text, for a comparison."""
    return with_leaves(lambda leaf: (leaf.dtype.str, leaf.tolist()) if isinstance(leaf, np.ndarray) else leaf, tree)


@pytest.mark.parametrize(
    ("items", "wanted"),
    [
        ([1, 2], ("<i8", [1, 2])),
        ([1, 2.5], ("<f8", [1.0, 2.5])),
        ([True, False], ("|b1", [True, False])),
        ([0.5, 1], ("<f8", [0.5, 1.0])),
        ([np.float32(1), np.float32(2)], ("<f4", [1.0, 2.0])),
        ([np.array(1, "u2"), np.array(2, "u2")], ("<u2", [1, 2])),
        ([0, np.int64(2), np.array(3)], ("<i8", [0, 2, 3])),
        ([np.int64(2), 0, True], ("<i8", [2, 0, 1])),
        ([np.float32(0.5), 1, 0.25], ("<f4", [0.5, 1, 0.25])),
        ([np.array(1), 0.5], ("<f8", [1, 0.5])),
        ([1j, 2], ("<c16", [1j, 2])),
        ([2**63], ("<u8", [2**63])),
        ([np.zeros((0, 2)), np.zeros((0, 2))], ("<f8", [[], []])),
        ([np.array([1, 2], ">i4")], (">i4", [[1, 2]])),
        (["a", "b"], ["a", "b"]),
        ([(1, "a"), (2, "b")], [("<i8", [1, 2]), ("a", "b")]),
        ([[1, 2], [3, 4]], [("<i8", [1, 3]), ("<i8", [2, 4])]),
        ([Pair(1, 2.0), Pair(3, 4.0)], Pair(("<i8", [1, 3]), ("<f8", [2.0, 4.0]))),
        ([{"x": 1, "y": [1]}, {"y": [2], "x": 2}], {"x": ("<i8", [1, 2]), "y": [("<i8", [1, 2])]}),
        ([OrderedDict(a=1), OrderedDict(a=2)], OrderedDict(a=("<i8", [1, 2]))),
        ([UserDict(a=1), UserDict(a=2)], UserDict(a=("<i8", [1, 2]))),
        ([MappingProxyType({"a": 1})], MappingProxyType({"a": ("<i8", [1])})),
    ],
    ids=str,
)
def test_fields(items, wanted):
    found = told(assembled(items))
    assert found == wanted and type(found) is type(wanted)


def test_rows_are_written_when_they_come():
    buffer = np.zeros(3)
    assembly = Assembly(2, False)
    for number in range(2):
        buffer[:] = number
        assembly.add(buffer)
    assert assembly.finish().arrays[0].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_batch_that_is_not_full_has_the_rows_that_came():
    assert assembled([np.ones(2), np.zeros(2)], size=5).shape == (2, 2)


def test_another_dtype_widens_the_field():
    rows = [np.array([1, 2], "u1"), np.array([0.5, 1], "f4"), np.array([3, 4], "u1")]
    assert told(assembled(rows)) == ("<f4", [[1, 2], [0.5, 1], [3, 4]])


def test_tensors_have_the_order_of_bytes_of_the_machine():
    assert told(assembled([np.array([1, 2], ">i4")], tensors=True)) == ("<i4", [[1, 2]])


@pytest.mark.parametrize(
    ("items", "error", "match"),
    [
        ([np.zeros(2), np.zeros(3)], ValueError, r"an item has the shape \(3,\) in one item and \(2,\) in the first"),
        ([{"x": [np.zeros(2)]}, {"x": [np.zeros(1)]}], ValueError, r"the field \['x'\]\[0\] has the shape"),
        ([(1, 2), (1,)], ValueError, "has 1 parts in one item and 2 in the first"),
        ([None], TypeError, "an item is NoneType: batches are made of"),
        ([np.zeros(2, object)], TypeError, "an item is ndarray of object"),
        ([np.array(["a"])], TypeError, "an item is ndarray of <U1"),
        ([np.zeros(2), "a"], TypeError, "is an array in the first item and str in another"),
        ([1, "a"], TypeError, "is a number in the first item and str in another"),
        ([1, np.zeros(1)], TypeError, "is a number in the first item and ndarray of float64 in another"),
        ([1, np.datetime64("2020")], TypeError, "is a number in the first item and datetime64 in another"),
        ([np.zeros(1), 1], TypeError, "is an array in the first item and int in another"),
        ([2**70], OverflowError, "has integers that no dtype of 64 bits holds"),
        ([2**63, -1], OverflowError, "has integers that no dtype of 64 bits holds"),
        ([np.uint8(1), 300], OverflowError, "300"),
        (
            [np.zeros(1, "u8"), np.zeros(1, "i8")],
            OverflowError,
            "is of int64 in one item and of uint64 in those before",
        ),
        ([np.ma.masked_array([1, 2], [0, 1])], pardata.LossError, "would lose its mask"),
        ([{"x": 1}, {"y": 1}], ValueError, "an item has the key 'x' in the first item and not in another one"),
        ([[{"x": 1}], [{}]], ValueError, r"the field \[0\] has the key 'x' in the first item and not in another one"),
        ([{"x": 1}, None], TypeError, "an item is a mapping in the first item and NoneType in another one"),
        ([{"x": 1}, [1]], TypeError, "an item is a mapping in the first item and list in another one"),
        ([(1, 2), None], TypeError, "an item is a sequence in the first item and NoneType in another one"),
        ([{"x": (1, 2)}, {"x": 1}], TypeError, r"the field \['x'\] is a sequence in the first item and int in another"),
    ],
)
def test_what_does_not_fit(items, error, match):
    with pytest.raises(error, match=match):
        assembled(items)


def test_what_somebody_else_has_put_together_keeps_its_arrays():
    array = np.zeros(3)
    made = pack({"x": (array, "text", 1)}, None)
    assert made.tree["x"][0] is array and type(made.tree["x"]) is tuple and not made.is_assembled
