"""Images of TIFF files (tifffile): series and pages are read by any process, new files are written by any of them.

      page by page, each decompressed where it is read     mapped, where the whole series lies as one array in the file

A TiffFile is not safe for threads and cannot be pickled, so each process opens the file again, once for each array, and
decompresses outside of its lock.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile

from pardata.data.file_array import Array, FileArray, Selection, ages, check_same, gone, page_of_rows
from pardata.data.new_tiff import new_file, opened_file
from pardata.data.registry import chosen_key
from pardata.errors import ConfigError, StaleBlockError

__all__ = ["adapt", "new_file", "open_path"]


class OpenImage:
    """A series or a page of a file that this process has opened, until the last reference goes."""

    def __init__(self, image: Any, close: Callable[[], None] | None) -> None:
        self.image = image
        self._lock = threading.RLock()  # reading moves the position in the file
        if close is not None:
            weakref.finalize(self, close)
        self._is_series = isinstance(image, tifffile.TiffPageSeries)
        is_plain = self._is_series and not image.is_multifile and image.transform is None
        self.offset: int | None = image.dataoffset if is_plain else None  # of an array that can be mapped

    def other_files(self) -> set[str]:
        """Return the paths of all files of a series that is in several."""
        if not self._is_series or not self.image.is_multifile:
            return set()
        with self._lock:
            return {page.parent.filehandle.path for page in self.image if page is not None}

    def read_all(self) -> Array:
        """Return all of it."""
        with self._lock:
            made: Array = self.image.asarray(maxworkers=1)
        return made

    def read_page(self, number: int, out: Array | None) -> Array | None:
        """Return a page, decompressed into `out` if it is given; None if the file leaves it out."""
        with self._lock:
            page = self.image[number] if self._is_series else self.image
            if page is None:
                return None
            handle = page.parent.filehandle
            if handle.closed:  # one of the other files of a series
                handle.open()
                try:
                    return self._pixels(page, out)
                finally:
                    handle.close()
        return self._pixels(page, out)

    def _pixels(self, page: Any, out: Array | None) -> Array:
        fits = out is not None and out.flags.c_contiguous and out.dtype == page.dtype
        made: Array = page.asarray(out=out if fits else None, lock=self._lock, maxworkers=1)
        return made


class ImageArray(FileArray):
    """A series or a page: opened again by the path of the file and its number in it."""

    way_to_write = 'tifffile.memmap(path) maps what is not compressed, and out="new.tif" makes a new file'

    def __init__(self, image: Any) -> None:
        self._path: str = image.parent.filehandle.path
        self._place = _place(image)
        is_file = os.path.isfile(self._path)
        self._opened: OpenImage | None = self._open() if is_file else OpenImage(image, None)
        self._others = sorted(self._opened.other_files() - {self._path})
        shape, dtype = _found(image)
        self._leading = _leading_axes(image) if is_file else None
        count = self._leading or 0
        pages = (*(1,) * count, *shape[count:]) if self._opened.offset is None else page_of_rows(shape, dtype)
        obstacle = "" if is_file else "it is no file of its own; save it under a path, or give its values, asarray()"
        super().__init__(self._named, shape, dtype, pages, pages, "none", obstacle)
        check_same(self, *_found(self._opened.image))

    @property
    def _named(self) -> str:
        kind, number, detail = self._place
        return f"{self._path}:{kind} {number}" + (f" level {detail}" if detail and kind == "series" else "")

    def read_into(self, selection: Selection, out: Array) -> None:
        opened = self._image()
        if opened.offset is not None and self._leading is not None:
            dtype = self.dtype.newbyteorder(opened.image.parent.byteorder)
            out[...] = np.memmap(self._path, dtype, "r", opened.offset, self.shape)[selection]
        elif self._leading is None:
            out[...] = opened.read_all().reshape(self.shape)[selection]
        else:
            self._read_pages(opened, self._leading, selection, out)

    def _read_pages(self, opened: OpenImage, count: int, selection: Selection, out: Array) -> None:
        """Read the pages that the first `count` axes number."""
        leading, inner, shape = selection[:count], selection[count:], self.shape[count:]
        is_whole = all((part.start, part.stop) == (0, length) for part, length in zip(inner, shape, strict=True))
        for place in np.ndindex(*(part.stop - part.start for part in leading)):
            numbers = [part.start + step for part, step in zip(leading, place, strict=True)]
            number = int(np.ravel_multi_index(numbers, self.shape[:count])) if count else 0
            made = opened.read_page(number, out[place] if is_whole else None)
            if made is None:
                out[place] = 0  # as asarray() has it
            elif not np.may_share_memory(made, out):
                out[place] = made.reshape(shape)[inner]

    def age(self) -> object:
        """Return the age of the file, or of all files that a series is in."""
        return ages([self._path, *self._others])

    def _image(self) -> OpenImage:
        if self._opened is None:
            self._opened = self._open()
            check_same(self, *_found(self._opened.image))
        return self._opened

    def _open(self) -> OpenImage:
        try:
            file = tifffile.TiffFile(self._path)
        except (OSError, tifffile.TiffFileError) as error:
            raise gone(self._named, error) from error
        try:
            return OpenImage(_image_at(file, self._place), file.close)
        except (IndexError, StaleBlockError) as error:
            file.close()
            raise StaleBlockError(f"{self._named} was replaced meanwhile: it has no such images") from error
        except BaseException:
            file.close()
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_opened": None}


ImagePlace = tuple[str, int, int]  # "series", its number and its level; or "page", its number and where it begins


def _is_page(image: Any) -> bool:
    return isinstance(image, tifffile.TiffPage | tifffile.TiffFrame)


def _place(image: Any) -> ImagePlace:
    """Return where an image is in its file."""
    if _is_page(image):
        if len(image.treeindex) > 1:
            raise ConfigError(f"{image.parent.filehandle.path}: the page is within another one: give series.levels[n]")
        return "page", image.index, image.offset
    for number, entry in enumerate(image.parent.series):
        for level, found in enumerate(entry.levels):
            if found is image:
                return "series", number, level
    raise ConfigError(f"{image.parent.filehandle.path}: this series is none of those that TiffFile(path).series has")


def _image_at(file: Any, place: ImagePlace) -> Any:
    """Return the image at a place of a file that was opened again."""
    kind, number, detail = place
    if kind == "series":
        return file.series[number].levels[detail]
    page = file.pages[number]
    if page.offset != detail:
        raise StaleBlockError("another page")
    return page


def _found(image: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    return tuple(image.shape), np.dtype(image.dtype)


def _leading_axes(series: Any) -> int | None:
    """Return the number of axes that count pages; None if the series is not a stack of them."""
    if _is_page(series):
        return 0
    shape, page = tuple(series.shape), math.prod(series.keyframe.shape)
    if series.transform is None:
        for count in range(len(shape)):
            if math.prod(shape[count:]) == page and math.prod(shape[:count]) == len(series):
                return count
    return None


def adapt(found: Any) -> FileArray | None:
    """Return the `FileArray` of a series or a page; None of other objects. Raises `ConfigError` for a file."""
    if isinstance(found, tifffile.TiffPageSeries) or _is_page(found):
        if found.dtype is None or not math.prod(found.shape):
            raise ConfigError(f"{found.parent.filehandle.path}: the image is empty, or has pixels that NumPy has not")
        return ImageArray(found)
    if isinstance(found, tifffile.TiffFile):
        raise ConfigError(f"a TiffFile has images, {len(found.series)} series: give one of them, file.series[0]")
    return None


def open_path(path: str, key: str | None) -> Any:
    """Return the only series of a file, or the one whose number is `key`; the file is open for reading."""
    try:
        file = opened_file(path)
    except (OSError, tifffile.TiffFileError) as error:
        raise ConfigError(f"open({path!r}): {error}") from error
    try:
        return file.series[int(chosen_key(path, key, [str(number) for number in range(len(file.series))]))]
    except BaseException:
        file.close()
        raise
