"""NIfTI files beside what the conformance suite asks of every format: scaling, orders of entries, refusals."""

import pickle

import numpy as np
import pytest

import pardata
from pardata.data.registry import file_array
from tests.conformance.data_formats import values_of

nib = pytest.importorskip("nibabel")

VALUES = values_of((6, 5, 4), "i2")


def sent(proxy):
    """Return an image's array as a worker opens it."""
    return pickle.loads(pickle.dumps(file_array(proxy)))


def saved(path, values, dtype=None):
    """Return the proxy of an image in a file."""
    image = nib.Nifti1Image(values, np.eye(4), dtype=values.dtype)
    if dtype is not None:
        image.header.set_data_dtype(dtype)  # scaled, if it is smaller
    nib.save(image, path)
    return nib.load(path).dataobj


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "img"])
@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (VALUES, None),
        (VALUES / np.float32(7), "i2"),
        (VALUES / 7, "u1"),
        (VALUES.astype(">i4"), None),
        (VALUES[0], None),
    ],
)
def test_parts_of_a_volume_are_those_of_the_library(tmp_path, monkeypatch, ending, values, dtype):
    monkeypatch.chdir(tmp_path)
    proxy = saved(f"a.{ending}", values, dtype)  # which keeps a path that depends on the working directory
    expected, array = np.asarray(proxy), sent(proxy)
    monkeypatch.chdir("/")
    assert array.dtype == expected.dtype and np.array_equal(array[:], expected)
    for index in (slice(1, 3), (slice(0, 2), slice(1, 2)), (slice(None), slice(1, 3), slice(2, 4))[: values.ndim]):
        assert np.array_equal(array[index], expected[index])


def test_a_proxy_that_was_reshaped_and_what_is_no_proxy(tmp_path):
    proxy = saved(tmp_path / "a.nii", VALUES)
    assert np.array_equal(sent(proxy.reshape((30, 4)))[:], np.asarray(proxy.reshape((30, 4))))
    image = nib.load(tmp_path / "a.nii")
    with pytest.raises(pardata.ConfigError, match=r"give its data, image.dataobj"):
        file_array(image)
    with (tmp_path / "a.nii").open("rb") as file:
        opened = nib.Nifti1Image.from_stream(file)
        with pytest.raises(pardata.ConfigError, match="no file of its own"):
            file_array(opened.dataobj)
    with pytest.raises(pardata.ConfigError, match="has no key"):
        pardata.open(tmp_path / "a.nii", key="x")
    with pytest.raises(pardata.ConfigError, match="No such file|no file"):
        pardata.open(tmp_path / "b.nii")


def test_lengths_are_plain_ints(tmp_path):
    """An MGH image has those of NumPy, which stand in no description of a new file."""
    nib.save(nib.MGHImage(VALUES.astype("i4"), np.eye(4)), tmp_path / "a.mgz")
    array = file_array(nib.load(tmp_path / "a.mgz").dataobj)
    assert [type(length) for length in array.shape + array.page_shape] == [int] * 6
    with pardata.WorkerPool(1, kind="thread") as pool:
        made = pool.map_array(np.negative, nib.load(tmp_path / "a.mgz").dataobj, out=str(tmp_path / "a.npy"))
        assert np.array_equal(made, -VALUES)
