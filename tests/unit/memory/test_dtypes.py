"""A dtype comes back from its description as the same dtype, or is refused."""

import json

import numpy as np
import pytest

import pardata
from pardata.memory.dtypes import check_npy, descr_of, dtype_of, survives_npy

PLAIN = [*"?bhilqBHILQefdgFDG", "S3", "U2", "V5", "M8[ns]", "m8[25s]", "M8", ">i4", [("a", "i4"), ("b", "f8", (2,))]]
ALIGNED = np.dtype([("a", "i1"), ("b", "i8")], align=True)
OVERLAPPING = np.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2]})
WITH_METADATA = np.dtype("i1", metadata={"enum": {"a": 1}})


def registered():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    names = [name for name in dir(ml_dtypes) if name.startswith(("bfloat", "float", "int", "uint"))]
    return [np.dtype(getattr(ml_dtypes, name)) for name in names]


@pytest.mark.parametrize("given", [*PLAIN, ALIGNED], ids=str)
def test_dtypes_of_numpy_come_back_from_json(given):
    dtype = np.dtype(given)
    assert survives_npy(dtype)
    check_npy(dtype, "a file")
    descr = json.loads(json.dumps(descr_of(dtype, "a file")))
    if not isinstance(descr, list):  # whose tuples JSON makes lists: `files.layout` makes them tuples again
        assert dtype_of(descr) == dtype


def test_registered_dtypes_come_back_by_their_name():
    assert len(registered()) > 5
    for dtype in registered():
        assert dtype_of(json.loads(json.dumps(descr_of(dtype, "a file")))) == dtype
        with pytest.raises(pardata.LossError, match=f"^x.npy cannot hold {dtype}, .*PagedFile"):
            check_npy(dtype, "x.npy")


@pytest.mark.parametrize(
    "dtype",
    [OVERLAPPING, WITH_METADATA, np.dtype([("a", WITH_METADATA)]), np.dtype((WITH_METADATA, (2,)))],
    ids=["overlapping", "metadata", "metadata in a field", "metadata in a part"],
)
def test_what_no_description_says_is_refused(dtype):
    assert not survives_npy(dtype)
    with pytest.raises(pardata.LossError, match="^a file cannot hold"):
        descr_of(dtype, "a file")


def test_a_record_of_registered_dtypes_is_refused():
    dtype = np.dtype([("a", registered()[0]), ("b", "f4")])
    with pytest.raises(TypeError, match="cannot hold"):
        descr_of(dtype, "a file")


@pytest.mark.parametrize("name", ["no_such_package:kind", "os:system", "decimal:Decimal", "numpy:float64"])
def test_a_name_in_a_file_imports_nothing_and_is_only_that_of_a_dtype(name):
    with pytest.raises(pardata.ConfigError, match="import it first|no dtype"):
        dtype_of(name)
