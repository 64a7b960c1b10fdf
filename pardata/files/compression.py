"""The compressions of the pages of a paged file: gzip and zstd, as Zarr defines them."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Any, Final

from pardata.errors import ConfigError, MissingExtraError
from pardata.process.capacity import loading

_GZIP_BITS: Final = 31  # zlib's number for "with a gzip header"


def codec_of(compression: str | None) -> tuple[Callable[[bytes], bytes], Callable[[Any], bytes]]:
    """Return the functions that compress and decompress; raise `ConfigError` for an unknown compression."""
    if compression is None:
        return bytes, bytes
    if compression == "gzip":
        return _to_gzip, lambda data: zlib.decompress(data, _GZIP_BITS)
    if compression == "zstd":
        return _zstd()
    raise ConfigError(f'compression must be None, "gzip" or "zstd", not {compression!r}')


def _zstd() -> tuple[Callable[[bytes], bytes], Callable[[Any], bytes]]:
    """Return the functions of the standard library (from Python 3.14 on) or of the package zstandard."""
    if sys.version_info >= (3, 14):
        with loading("zstd compression"):
            from compression import zstd

        return zstd.compress, zstd.decompress
    try:
        with loading("zstd compression"):
            import zstandard
    except ImportError as error:
        raise MissingExtraError('zstd compression needs a package: pip install "pardata[zstd]"') from error
    return zstandard.ZstdCompressor().compress, zstandard.ZstdDecompressor().decompress


def _to_gzip(data: bytes) -> bytes:
    codec = zlib.compressobj(6, zlib.DEFLATED, _GZIP_BITS)
    return codec.compress(data) + codec.flush()
