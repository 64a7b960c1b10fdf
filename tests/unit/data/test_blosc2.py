"""Arrays of Blosc2 beside what the conformance suite asks of every format: chunks that workers compress, refusals."""

import pickle

import numpy as np
import pytest

import pardata
from pardata.data.registry import file_array
from pardata.memory import disk
from tests.conformance.data_formats import SHAPE, values_of

blosc2 = pytest.importorskip("blosc2")


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("dtype", ["f4", ">i4", "S3", "i4,f8"])
def test_chunks_that_workers_compress_are_those_of_the_library(tmp_path, dtype, contiguous):
    """In files and in folders, also where a chunk is not full, and one of zeros."""
    values = values_of(dtype=dtype)
    values[14:21] = np.zeros((), dtype)
    options = {"chunks": (7, 4, 4), "blocks": (3, 2, 4), "cparams": {"codec": blosc2.Codec.LZ4, "clevel": 9}}
    target = blosc2.zeros(
        SHAPE, dtype=values.dtype, urlpath=str(tmp_path / "a.b2nd"), mode="w", contiguous=contiguous, **options
    )
    array = file_array(target)
    encoder = pickle.loads(pickle.dumps(array.encoder()))
    for begin in (0, 14, 28, 42):
        part = (slice(begin, min(begin + 14, 50)), slice(0, 6), slice(0, 4))
        array.write_encoded(encoder.encode(part, values[part]))
    found = blosc2.open(str(tmp_path / "a.b2nd"), mode="r")
    assert np.array_equal(found[:], values) and found.cparams.codec == blosc2.Codec.LZ4
    assert np.array_equal(pickle.loads(pickle.dumps(array))[3:20, 2:], values[3:20, 2:])


def test_what_is_refused_is_told(tmp_path, monkeypatch):
    in_memory = blosc2.asarray(values_of())
    assert np.array_equal(file_array(in_memory)[2:9], values_of()[2:9])
    with pytest.raises(pardata.ConfigError, match="in the memory of this process"):
        pickle.dumps(file_array(in_memory))
    with pytest.raises(pardata.ConfigError, match="lazy.compute"):
        file_array(in_memory + 1)
    blosc2.SChunk(data=b"bytes", urlpath=str(tmp_path / "s.b2nd"), mode="w")
    for name, key, message in (
        ("none.b2nd", None, "none.b2nd"),
        ("s.b2nd", None, "a SChunk in it, and no array"),
        ("s.b2nd", "x", "has no key"),
    ):
        with pytest.raises(pardata.ConfigError, match=message):
            pardata.open(tmp_path / name, key=key)
    for options, message in (({"key": "x"}, "has no key"), ({"compression": "lz4"}, "make one with other codecs")):
        with pytest.raises(pardata.ConfigError, match=message):
            pardata.source([1]).to(tmp_path / "a.b2nd", **options)
    target = file_array(blosc2.zeros(SHAPE, urlpath=str(tmp_path / "a.b2nd"), mode="w"))
    monkeypatch.setattr(disk, "free_bytes", lambda path: 1000)
    with pytest.raises(OSError, match="No space left"):  # the file could not be opened again
        target[:] = np.ones(SHAPE)
