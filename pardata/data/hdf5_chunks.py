"""Chunks of an HDF5 dataset as the file has them: compressed by workers, for the only writer to put them into the file.

HDF5 compresses where it writes, and holds a lock meanwhile. To compress takes many times as long as to write.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np

from pardata.data.file_array import Array, EncodedChunks, Selection

_DEFLATE, _SHUFFLE = 1, 2  # numbers of HDF5's own filters
_KINDS: Final = "biuf"  # of dtypes: plain numbers


@dataclass(frozen=True)
class ChunkEncoder:
    """Compresses chunks as HDF5's filters do: the bytes shuffled, if they are to be, then deflated.

    Parameters
    ----------
    chunks : tuple of int
        The shape of a chunk.
    level : int
        Of zlib.
    shuffles : bool
        The first bytes of all entries come first, then the second ones, and so on.
    fill : scalar
        Of a chunk behind the end of the dataset, which may grow.
    """

    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    level: int
    shuffles: bool
    fill: Any

    def encode(self, selection: Selection, values: Array) -> EncodedChunks:
        """Return the chunks of a part that begins and ends where chunks do, or where the dataset ends."""
        starts = [range(part.start, part.stop, step) for part, step in zip(selection, self.chunks, strict=True)]
        begin = [part.start for part in selection]
        made: EncodedChunks = []
        for corner in itertools.product(*starts):
            inner = tuple(
                slice(at - low, at - low + step) for at, low, step in zip(corner, begin, self.chunks, strict=True)
            )
            made.append((corner, np.frombuffer(self._encoded(values[inner]), np.uint8)))
        return made

    def _encoded(self, values: Array) -> bytes:
        if values.shape == self.chunks:
            whole = np.ascontiguousarray(values, self.dtype)
        else:  # at the end of the dataset: a chunk is stored whole
            whole = np.full(self.chunks, self.fill, self.dtype)
            whole[tuple(map(slice, values.shape))] = values
        if self.shuffles:
            whole = np.ascontiguousarray(whole.reshape(-1).view(np.uint8).reshape(-1, self.dtype.itemsize).T)
        return zlib.compress(whole.data, self.level)


def encoder_of(dataset: Any) -> ChunkEncoder | None:
    """Return the encoder of a dataset; None if its filters are others, or none, or HDF5 has to convert its numbers.

    It has to where the file's type is not the one that h5py makes of the dtype: a bfloat16 is float32 in memory, an
    integer of 12 bits has 16 there, and may lie elsewhere among them.
    """
    if dataset.chunks is None or dataset.dtype.kind not in _KINDS or dataset.dtype.itemsize > 8:
        return None
    if dataset.id.get_type() != h5py.h5t.py_create(dataset.dtype, logical=True):
        return None
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(number) for number in range(plist.get_nfilters())]
    codes = [found[0] for found in filters]
    if codes not in ([_DEFLATE], [_SHUFFLE, _DEFLATE]):
        return None
    return ChunkEncoder(dataset.chunks, dataset.dtype, filters[-1][2][0], len(codes) == 2, dataset.fillvalue)
