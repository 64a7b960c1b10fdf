"""Volumes of NIfTI files and their like (nibabel): the proxy of an image's data, scaled where it is read.

A file that is not compressed is mapped: a proxy itself reads nearly all of a file for a part of it, as volumes lie in
Fortran order. One that is compressed is decompressed from its beginning each time, so it is one page.
"""

from __future__ import annotations

import math
import os
from typing import Any, Final

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy, is_proxy
from nibabel.filebasedimages import ImageFileError
from nibabel.volumeutils import apply_read_scaling

from pardata.data.file_array import Array, FileArray, Selection, gone, page_of_rows
from pardata.errors import ConfigError, StaleBlockError

_PACKED: Final = (".gz", ".mgz", ".bz2", ".zst")


class ProxyArray(FileArray):
    """The data of an image: opened again by the path of the file."""

    way_to_write = "pardata writes no NIfTI files; nibabel does, nib.Nifti1Image(values, affine).to_filename(path)"

    def __init__(self, proxy: Any) -> None:
        if not isinstance(proxy.file_like, str | os.PathLike):
            raise ConfigError("the image is no file of its own: save it, or give its values, np.asarray(image.dataobj)")
        self._path = os.path.abspath(proxy.file_like)  # that of the proxy may depend on the working directory
        self._layout = _layout(proxy)
        self._order: Any = proxy.order  # "C" or "F"
        self._is_checked = True
        self._is_packed = self._path.lower().endswith(_PACKED)
        shape = tuple(proxy.shape)
        dtype = self._scaled(np.zeros(1, proxy.dtype)).dtype
        pages = shape if self._is_packed else page_of_rows(shape, dtype)
        super().__init__(self._path, shape, dtype, pages, pages, "none")

    def read_into(self, selection: Selection, out: Array) -> None:
        try:
            self._check()
            if self._is_packed:
                spec = self.shape, *self._layout[1:]
                out[...] = ArrayProxy(self._path, spec, mmap=False, order=self._order)[selection]
            else:
                stored, offset = self._layout[1:3]
                mapped = np.memmap(self._path, stored, "r", offset, self.shape, self._order)
                out[...] = self._scaled(mapped[selection])
        except (FileNotFoundError, ImageFileError) as error:
            raise gone(self.location, error) from error

    def _check(self) -> None:
        """Have a look whether the file is that which it was, in a process that has not looked yet."""
        if not self._is_checked:
            found = _layout(nib.load(self._path).dataobj)
            if found != self._layout:
                raise StaleBlockError(
                    f"{self.location} was replaced or resized meanwhile: its entries, their dtype, their place in the "
                    f"file and their scale were {self._layout}, and are {found}"
                )
            self._is_checked = True

    def _scaled(self, stored: Array) -> Array:
        made: Array = apply_read_scaling(stored, *map(np.asanyarray, self._layout[3:]))
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_is_checked": False}


def _layout(proxy: Any) -> tuple[int, np.dtype[Any], int, float, float]:
    """Return the number of entries, their dtype in the file, where they begin there, and what scales them.

    The shape is not among them: a proxy can be reshaped.
    """
    return math.prod(proxy.shape), proxy.dtype, proxy.offset, proxy.slope, proxy.inter


def adapt(found: Any) -> FileArray | None:
    """Return the `FileArray` of a proxy; None of other objects. Raises `ConfigError` for an image."""
    if type(found) is ArrayProxy:
        return ProxyArray(found)
    if isinstance(found, nib.spatialimages.SpatialImage):
        raise ConfigError("an image of nibabel has more than an array: give its data, image.dataobj")
    if is_proxy(found):
        raise ConfigError(f"a {type(found).__name__} cannot be read in parts: give its values, np.asarray(proxy)")
    return None


def open_path(path: str, key: str | None) -> Any:
    """Return the proxy of an image's data."""
    if key is not None:
        raise ConfigError(f"open({path!r}, key={key!r}): it is one array, which has no key")
    try:
        return nib.load(path).dataobj
    except (OSError, ImageFileError) as error:
        raise ConfigError(f"open({path!r}): {error}") from error
