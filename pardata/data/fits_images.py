"""Images of FITS files (astropy): read by any process, scaled by BSCALE and BZERO as astropy does it.

Only the part that is asked for is read, through ``hdu.section``; of an image that is compressed tile by tile the tiles
that it touches. The values are those of the file: changes that were made in memory and not written do not count.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.io import fits

from pardata.data.file_array import Array, FileArray, Selection, check_same, gone, page_of_rows
from pardata.data.registry import chosen_key
from pardata.errors import ConfigError, StaleBlockError

_IMAGES = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
# The options of `fits.open` that decide which values an image has, with the attributes that keep them.
_OPTIONS = {"do_not_scale_image_data": "_do_not_scale_image_data", "uint": "_uint", "ignore_blank": "_ignore_blank"}


class OpenHDU:
    """An image of a file that this process has opened, until the last reference goes."""

    def __init__(self, hdu: Any, close: Callable[[], None]) -> None:
        self.hdu = hdu
        self.lock = threading.Lock()  # reading moves the position in the file
        weakref.finalize(self, close)


class HDUArray(FileArray):
    """An image: opened again by the path of the file and the place of its header there."""

    way_to_write = "pardata writes no FITS files; astropy does, fits.PrimaryHDU(values).writeto(path)"

    def __init__(self, hdu: Any) -> None:
        found = hdu.fileinfo()
        path = found and found["file"].name
        if not path or not os.path.isfile(path) or getattr(hdu, "_data_replaced", False):
            raise ConfigError("the image is in memory, and not as it is in a file: give its values, hdu.data")
        if found["filemode"] not in ("readonly", "denywrite"):
            raise ConfigError(f'{path} is open for writing (mode {found["filemode"]!r}): open it with mode="readonly"')
        self._path: str = os.path.abspath(path)
        self._header_at: int = found["hdrLoc"]
        self._options = {name: bool(getattr(hdu, kept, name == "uint")) for name, kept in _OPTIONS.items()}
        location = f"{self._path}:{hdu.name or 'image'} at {self._header_at}"
        self._opened: OpenHDU | None = self._open(location)
        shape, dtype = _found(self._opened.hdu)
        pages = _pages(hdu, shape, dtype, found["file"].compression)
        super().__init__(location, shape, dtype, pages, pages, "none")

    def read_into(self, selection: Selection, out: Array) -> None:
        if self._opened is None:
            self._opened = self._open(self.location)
            check_same(self, *_found(self._opened.hdu))
        with self._opened.lock:
            out[...] = self._opened.hdu.section[selection]

    def _open(self, location: str) -> OpenHDU:
        try:
            file = fits.open(self._path, memmap=False, **self._options)
        except OSError as error:
            raise gone(location, error) from error
        try:
            for hdu in file:
                if hdu.fileinfo()["hdrLoc"] == self._header_at and isinstance(hdu, _IMAGES):
                    return OpenHDU(hdu, file.close)
            raise StaleBlockError(f"{location} was replaced meanwhile: it has no image there")
        except BaseException:
            file.close()
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_opened": None}


def _found(hdu: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape, and the dtype of the values, which is known when one is read."""
    shape = tuple(hdu.shape)
    if not shape or not all(shape):
        raise ConfigError(f"the image {hdu.name or 'of the file'!r} has no data, as a primary one often has")
    return shape, hdu.section[(slice(0, 1),) * len(shape)].dtype


def _pages(hdu: Any, shape: tuple[int, ...], dtype: np.dtype[Any], compression: str | None) -> tuple[int, ...]:
    if compression:  # of the whole file, which is read from its beginning each time
        return shape
    tiles = getattr(hdu, "tile_shape", None)
    return page_of_rows(shape, dtype) if tiles is None else tuple(map(min, tiles, shape))


def adapt(found: Any) -> FileArray | None:
    """Return the `FileArray` of an image; None of other objects. Raises `ConfigError` for a file or a table."""
    if isinstance(found, _IMAGES):
        return HDUArray(found)
    if isinstance(found, fits.HDUList):
        raise ConfigError(f"a FITS file has images, {list(_images(found))}: give one of them, file[1]")
    if isinstance(found, fits.BinTableHDU | fits.TableHDU):
        raise ConfigError(f"{found.name or 'the HDU'} is a table: give the values of a column, hdu.data[name]")
    return None


def _images(file: Any) -> dict[str, Any]:
    """Return the images of a file that have data, by their numbers."""
    return {str(number): hdu for number, hdu in enumerate(file) if isinstance(hdu, _IMAGES) and hdu.shape}


def open_path(path: str, key: str | None) -> Any:
    """Return the only image of a file, or the one whose name (EXTNAME) or number is `key`, opened for reading."""
    try:
        file = fits.open(path, mode="readonly")
    except OSError as error:
        raise ConfigError(f"open({path!r}): {error}") from error
    try:
        images = _images(file)
        named = {hdu.name: hdu for hdu in reversed(images.values()) if hdu.name}
        keys = [*images, *named] if key is not None else [*images]
        hdu = {**named, **images}[chosen_key(path, key, keys)]
    except BaseException:
        file.close()
        raise
    weakref.finalize(hdu, hdu.fileinfo()["file"].close)  # it has no close() of its own
    return hdu
