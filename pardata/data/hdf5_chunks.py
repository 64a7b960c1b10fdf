"""Chunks of an HDF5 dataset as the file has them: compressed by workers, for the only writer to put them into the file.

HDF5 compresses where it writes, and holds a lock meanwhile. To compress takes many times as long as to write.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np

from pardata.data.file_array import Array, EncodedChunks, Selection

try:
    import imagecodecs
except ImportError:
    _libdeflate: Any = None
else:
    _libdeflate = imagecodecs if getattr(getattr(imagecodecs, "DEFLATE", None), "available", False) else None

_DEFLATE, _SHUFFLE = 1, 2  # numbers of HDF5's own filters
_KINDS: Final = "biuf"  # of dtypes: plain numbers
_LEAST_BYTES: Final = 1 << 16  # of a chunk: HDF5 reads many small ones in less time than they are asked for one by one


@dataclass(frozen=True)
class ChunkCodec:
    """Compresses and decompresses chunks as HDF5's filters do: the bytes shuffled, if they are to be, then deflated.

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
        return _deflated(whole, self.level)

    @property
    def most_bytes(self) -> int:
        """Of a chunk that is compressed: HDF5 leaves one as it is that would become longer by a thousandth."""
        nbytes = math.prod(self.chunks) * self.dtype.itemsize
        return nbytes + nbytes // 1000 + 64

    def decode_into(self, data: memoryview, out: Array) -> bool:
        """Fill `out` with the beginning of a chunk; False if the bytes are none."""
        fits = out.shape == self.chunks and out.flags.c_contiguous
        whole = out if fits else np.empty(self.chunks, self.dtype)
        stored = np.empty(whole.nbytes, np.uint8) if self.shuffles else _bytes_of(whole)
        if not _inflate(data, stored):
            return False
        if self.shuffles:
            _bytes_of(whole).reshape(-1, self.dtype.itemsize)[...] = stored.reshape(self.dtype.itemsize, -1).T
        if not fits:
            out[...] = whole[tuple(map(slice, out.shape))]
        return True


def _bytes_of(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)


def _deflated(array: Array, level: int) -> bytes:
    if _libdeflate is None:
        return zlib.compress(array.data, level)
    made: bytes = _libdeflate.deflate_encode(_bytes_of(array), level=level)
    return made


def _inflate(data: memoryview, out: Array) -> bool:
    """Fill `out` with what `data` was made of; False if that is damaged, or of another length."""
    if _libdeflate is None:
        try:
            made = zlib.decompress(data, bufsize=out.nbytes)
        except zlib.error:
            return False
        if len(made) == out.nbytes:
            out[...] = np.frombuffer(made, np.uint8)
        return len(made) == out.nbytes
    try:
        return bool(_libdeflate.deflate_decode(data, out=out).nbytes == out.nbytes)
    except _libdeflate.DeflateError:
        return False


def read_chunks(dataset: Any, selection: Selection, out: Array) -> Iterator[tuple[Selection, Array]]:
    """Fill `out` with what can be decompressed here; yields the parts that HDF5 has to read, and where they belong.

    These are parts of chunks, which it may have in its cache; chunks that are not there, that are damaged, or to which
    not all filters were applied; and all that has other filters.
    """
    codec = codec_of(dataset) if out.dtype == dataset.dtype else None
    if (
        codec is None
        or math.prod(codec.chunks) * codec.dtype.itemsize < _LEAST_BYTES
        or not any(_is_whole(part, corner, codec, dataset.shape) for corner, part, _ in _cut(selection, codec.chunks))
    ):
        yield selection, out
        return
    stored = np.empty(codec.most_bytes, np.uint8)
    for corner, part, place in _cut(selection, codec.chunks):
        is_whole = _is_whole(part, corner, codec, dataset.shape)
        if not (is_whole and _read_chunk(dataset, codec, corner, stored, out[place])):
            yield part, out[place]


def _is_whole(part: Selection, corner: tuple[int, ...], codec: ChunkCodec, shape: tuple[int, ...]) -> bool:
    ends = zip(part, corner, codec.chunks, shape, strict=True)
    return all((one.start, one.stop) == (at, min(at + step, length)) for one, at, step, length in ends)


def _read_chunk(dataset: Any, codec: ChunkCodec, corner: tuple[int, ...], stored: Array, out: Array) -> bool:
    # The index is not asked whether there is such a chunk: HDF5 goes through all chunks for that. Of one that was never
    # written HDF5 2.0 may tell any size, so the memory is given: of a size that it cannot have, h5py would reserve it.
    try:
        mask, data = dataset.id.read_direct_chunk(corner, out=stored)
    except (OSError, RuntimeError, ValueError):  # it is not there, or longer
        return False
    return not mask and codec.decode_into(data, out)


def _cut(selection: Selection, chunks: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Selection, Selection]]:
    """Yield for each chunk where it begins, what the selection has of it, and where this is in the selection."""
    starts = [range(one.start // step * step, one.stop, step) for one, step in zip(selection, chunks, strict=True)]
    for corner in itertools.product(*starts):
        ends = zip(selection, corner, chunks, strict=True)
        part = tuple(slice(max(one.start, at), min(one.stop, at + step)) for one, at, step in ends)
        place = tuple(slice(a.start - one.start, a.stop - one.start) for a, one in zip(part, selection, strict=True))
        yield corner, part, place


def codec_of(dataset: Any) -> ChunkCodec | None:
    """Return the codec of a dataset; None if its filters are others, or none, or HDF5 has to convert its numbers.

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
    if len(codes) == 2 and filters[0][2][:1] != (dataset.dtype.itemsize,):
        return None
    return ChunkCodec(dataset.chunks, dataset.dtype, filters[-1][2][0], len(codes) == 2, dataset.fillvalue)
