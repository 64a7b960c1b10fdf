"""CRC-32C, the checksum of the Zarr format: by the package crc32c where it is installed, else by NumPy.

With NumPy the data are cut into equal lanes, whose checksums are computed together and then combined. The checksum is
linear over GF(2): that of ``a + b`` is that of ``a``, advanced by as many zero bytes as ``b`` has, xor that of ``b``.

Source: RFC 3720, appendix B.4 (the polynomial); Adler's crc32_combine in zlib (putting together).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np

_POLYNOMIAL: Final = 0x82F63B78  # of Castagnoli, bits reversed
_LANE_BYTES: Final = 64
_ONES: Final = 0xFFFFFFFF

Words = np.ndarray[Any, np.dtype[np.uint32]]


def _byte_table() -> Words:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


_TABLE: Final = _byte_table()


def _moved(tables: Words, sums: Words) -> Words:
    """Apply a linear map to checksums; its tables hold the image of each value of each of the four bytes."""
    moved: Words = (
        tables[0, sums & 255] ^ tables[1, sums >> 8 & 255] ^ tables[2, sums >> 16 & 255] ^ tables[3, sums >> 24]
    )
    return moved


@cache
def _move_by(doublings: int) -> Words:
    """Return the tables of the map that advances a checksum by ``_LANE_BYTES << doublings`` zero bytes."""
    values = np.arange(256, dtype=np.uint32)
    sums = np.stack([values << np.uint32(8 * byte) for byte in range(4)])
    if doublings == 0:
        for _ in range(_LANE_BYTES):
            sums = sums >> np.uint32(8) ^ _TABLE[sums & 255]
        return sums
    half = _move_by(doublings - 1)
    return _moved(half, _moved(half, sums))


def crc32c_by_numpy(data: Any, before: int = 0) -> int:
    """Return the CRC-32C of `data`, continued from preceding bytes whose CRC-32C is `before`."""
    given = np.frombuffer(data, np.uint8)
    if len(given) < 4:
        sum_ = before ^ _ONES
        for byte in given.tolist():
            sum_ = sum_ >> 8 ^ int(_TABLE[(sum_ ^ byte) & 255])
        return sum_ ^ _ONES
    lanes = 1 << max(0, (-(-len(given) // _LANE_BYTES) - 1).bit_length())
    padded = np.zeros(lanes * _LANE_BYTES, np.uint8)  # leading zero bytes leave a sum of zero unchanged
    padded[-len(given) :] = given
    # This has the effect of a sum that does not begin as zero.
    padded[-len(given) :][:4] ^= np.frombuffer((before ^ _ONES).to_bytes(4, "little"), np.uint8)
    columns = padded.reshape(lanes, _LANE_BYTES).T.copy()
    sums = np.zeros(lanes, np.uint32)
    for column in columns:
        sums = sums >> np.uint32(8) ^ _TABLE[(sums ^ column) & 255]
    doublings = 0
    while len(sums) > 1:
        sums = _moved(_move_by(doublings), sums[0::2]) ^ sums[1::2]
        doublings += 1
    return int(sums[0]) ^ _ONES


def _best() -> Callable[..., int]:
    try:
        from crc32c import crc32c as fast
    except ImportError:
        return crc32c_by_numpy
    return fast


crc32c: Final[Callable[..., int]] = _best()
