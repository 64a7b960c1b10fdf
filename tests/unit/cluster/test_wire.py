"""Objects go over the network by value, with large buffers beside the stream; addresses on this machine are refused."""

import functools

import numpy as np
import pytest

import pardata
from pardata.cluster import wire


def there_and_back(obj):
    frames = wire.encode(obj)
    return wire.decode([bytes(frames[0]), *(frame.copy() for frame in frames[1:])])


@pytest.mark.parametrize("obj", [None, 3, "text", b"x" * 100_000, {"a": [1, (2.5, None)]}, {1, 2}])
def test_plain_objects(obj):
    assert there_and_back(obj) == obj


@pytest.mark.parametrize(
    "array",
    [
        np.arange(100_000.0),
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.arange(100_000).reshape(100, 1000)[::2, ::3],
        np.arange(600, dtype=">i4").reshape(20, 30)[:, ::3],
        np.asfortranarray(np.ones((300, 200), np.float32)),
        np.array(3.5),
        np.array(["a", None], object),
        np.zeros(50_000, [("a", "i4"), ("b", "f8")]),
        np.ma.masked_array(np.arange(40_000), np.arange(40_000) % 2),
    ],
    ids=lambda array: f"{type(array).__name__} {array.dtype}",
)
def test_arrays(array):
    made = there_and_back([array])[0]
    assert type(made) is type(array) and made.dtype == array.dtype
    np.testing.assert_array_equal(made, array)


def test_large_arrays_are_beside_the_stream_and_are_not_copied():
    array = np.arange(100_000.0)
    head, frame = wire.encode([array, np.ones(3)])
    assert np.shares_memory(frame, array)
    assert len(head) < 1000
    assert wire.count_bytes([head, frame]) == len(head) + 800_000


def test_one_array_stays_one():
    array = np.ones(100_000)
    first, second = there_and_back([array, array])
    assert first is second


def test_shared_and_mapped_arrays_go_by_value(tmp_path):
    shared = pardata.array(np.arange(50_000))
    np.save(tmp_path / "a.npy", np.arange(60_000))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    with pardata.SharedMemory(create=True, size=80_000) as block:
        named = np.ndarray(10_000, np.int64, block.buf)
        named[:] = 7
        made = there_and_back([shared, mapped, named])
        del named
        block.unlink()
    (tmp_path / "a.npy").unlink()
    for array, expected in zip(made, [np.arange(50_000), np.arange(60_000), np.full(10_000, 7)], strict=True):
        assert type(array) is np.ndarray
        np.testing.assert_array_equal(array, expected)


def test_functions_go_by_value_with_what_they_capture():
    weights = np.arange(20_000.0)

    def weighted(x):
        return x * weights.sum()

    frames = wire.encode(functools.partial(weighted, 2))
    assert len(frames) == 2
    assert wire.decode(frames)() == 2 * weights.sum()


def test_what_is_only_an_address_is_refused():
    with pardata.SharedMemory(create=True, size=10) as block:
        block.unlink()
        for local, way in ((block, "by value"), (pardata.Table({"a": 1}), "pardata.serve"), (pardata.Queue(), "home")):
            with pytest.raises(wire.LocalOnly, match=way):
                wire.encode([lambda x, local=local: local])
