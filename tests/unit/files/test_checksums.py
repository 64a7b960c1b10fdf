"""CRC-32C by NumPy is that of the package crc32c."""

import crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pardata.files.checksums import crc32c_by_numpy


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_agrees_with_the_package_also_behind_other_bytes(before, data):
    assert crc32c_by_numpy(data) == crc32c.crc32c(data)
    assert crc32c_by_numpy(data, crc32c_by_numpy(before)) == crc32c.crc32c(before + data)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 4096, 65536, 100_001])
def test_agrees_at_lengths_around_its_lanes(size):
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    assert crc32c_by_numpy(data) == crc32c.crc32c(data.tobytes())


def test_the_check_value_of_the_standard():
    assert crc32c_by_numpy(b"123456789") == 0xE3069283
