"""Images of DICOM files (pydicom): a folder of them is a series, in the order of its slices; a file has its frames.

Values are rescaled where they are read, each by its own file: in a series of PET every slice has another factor.
"""

from __future__ import annotations

import os
from typing import Any, Final, NamedTuple

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, pixel_array

from pardata.data.file_array import Array, FileArray, FileMark, Selection, check_mark, file_mark, gone
from pardata.data.registry import chosen_key
from pardata.errors import ConfigError

_SCALE: Final = ["RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"]
_FORM: Final = ["Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PixelRepresentation"]
_PLACE: Final = ["SeriesInstanceUID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient"]
_GROUPS: Final = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]  # of an enhanced image
_TAGS: Final = [*_FORM, *_PLACE, *_SCALE, *_GROUPS, "NumberOfFrames"]


class Frame(NamedTuple):
    """The place of an image: a file, its number in that, and a mark that tells whether the file is another one.

    `scale`: a slope and an intercept of the frame's own, which pydicom does not apply.
    """

    path: str
    number: int
    mark: FileMark | None
    scale: tuple[float, float] | None


class FramesArray(FileArray):
    """Images of files: opened again by their paths."""

    way_to_write = "pardata writes no DICOM files; pydicom does, dataset.set_pixel_data(...) and dataset.save_as(path)"

    def __init__(self, location: str, frames: list[Frame], is_single: bool) -> None:
        self._frames = frames
        self._is_single = is_single  # an image that is not one of several
        first = _values(frames[0])
        shape = first.shape if is_single else (len(frames), *first.shape)
        page = first.shape if is_single else (1, *first.shape)
        super().__init__(location, shape, first.dtype, page, page, "none")

    def read_into(self, selection: Selection, out: Array) -> None:
        if self._is_single:
            out[...] = _values(self._frames[0])[selection]
            return
        numbers, *inner = selection
        for place, number in enumerate(range(numbers.start, numbers.stop)):
            out[place] = _values(self._frames[number])[tuple(inner)]


def _values(frame: Frame) -> Array:
    check_mark(frame.path, frame.path, frame.mark)
    found = pydicom.Dataset()
    try:
        stored = pixel_array(frame.path, ds_out=found, index=frame.number, specific_tags=_SCALE)
    except (FileNotFoundError, InvalidDicomError) as error:
        raise gone(frame.path, error) from error
    except Exception as error:  # as of a file that was cut off: pydicom does not name it
        error.add_note(f"while image {frame.number} of {frame.path} was read")
        raise
    if frame.scale is not None:
        found.RescaleSlope, found.RescaleIntercept = frame.scale
    made: Array = apply_modality_lut(stored, found)
    return made


def _header(path: str) -> Any:
    """Return what a file says of its images; None if it has none, or is no file of DICOM."""
    try:
        found = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except InvalidDicomError:
        return None
    return found if "Rows" in found else None


def _frames_of(path: str, header: Any) -> list[Frame]:
    mark = file_mark(path)
    scales = [_own_scale(header, number) for number in range(int(header.get("NumberOfFrames") or 1))]
    if None in scales and any(scales):
        raise ConfigError(f"{path}: some of its frames have a slope and an intercept, and others have not")
    return [Frame(path, number, mark, scale) for number, scale in enumerate(scales)]


def _own_scale(header: Any, number: int) -> tuple[float, float] | None:
    """Return the slope and intercept of a frame of an enhanced image; None if it has none."""
    shared, frames = (header.get(name) or [] for name in _GROUPS)
    for group in (*frames[number : number + 1], *shared):
        for found in group.get("PixelValueTransformationSequence") or []:
            slope, intercept = found.get("RescaleSlope"), found.get("RescaleIntercept")
            if slope is not None and intercept is not None:
                return float(slope), float(intercept)
    return None


def adapt(found: Any) -> FileArray | None:
    """Return the `FileArray` of a file's images; None of other objects."""
    if not isinstance(found, pydicom.FileDataset):
        return None
    name = found.filename
    path = os.path.abspath(name) if isinstance(name, str | os.PathLike) else ""
    if not os.path.isfile(path):
        raise ConfigError("the dataset of pydicom is of no file: save it, or give its values, dataset.pixel_array")
    header = _header(path)
    if header is None:
        raise ConfigError(f"{path} has no images")
    return FramesArray(path, _frames_of(path, header), not header.get("NumberOfFrames"))


def open_path(path: str, key: str | None) -> Any:
    """Return the dataset of a file, or the series in a folder: the only one, or the one whose UID is `key`."""
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return _series(path, key)
    if key is not None:
        raise ConfigError(f"open({path!r}, key={key!r}): a file has no key; that of a folder is the UID of a series")
    try:
        return pydicom.dcmread(path, defer_size=1 << 16)
    except (OSError, InvalidDicomError) as error:
        raise ConfigError(f"open({path!r}): {error}") from error


def _series(folder: str, key: str | None) -> FileArray:
    found: dict[str, list[tuple[str, Any]]] = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        header = _header(path) if os.path.isfile(path) else None
        if header is not None:
            found.setdefault(str(header.get("SeriesInstanceUID")), []).append((path, header))
    if not found:
        raise ConfigError(
            f"open({folder!r}): a folder without one of the known endings is read as a series of DICOM, and no file "
            f"in it is an image of DICOM (folders in it are not looked at). Of other files give a list of the paths, "
            f"of Parquet files pyarrow.dataset.dataset({folder!r}), of N5 what tensorstore.open gives"
        )
    uid = chosen_key(folder, key, list(found))
    slices = _in_order(folder, found[uid])
    forms = {tuple(header.get(tag) for tag in _FORM) for _, header in slices}
    frames = [frame for path, header in slices for frame in _frames_of(path, header)]
    scales = {_scale_of(header) for _, header in slices}
    if len(forms) > 1 or len(scales) > 1 or len({frame.scale is None for frame in frames}) > 1:
        raise ConfigError(f"{folder}: the images of series {uid} have not all the same shape and kind: open its files")
    return FramesArray(folder, frames, False)


def _scale_of(header: Any) -> str:
    """Return what pydicom rescales an image by: each has another dtype."""
    if "ModalityLUTSequence" in header:
        return "a table"
    return "a line" if "RescaleSlope" in header and "RescaleIntercept" in header else ""


def _in_order(folder: str, slices: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return slices along their axis if each has a place of its own on it, else by their numbers."""
    for place in (_height, _number):
        by_place = {place(header): found for found in slices for header in found[1:]}
        if None not in by_place and len(by_place) == len(slices):
            return [by_place[known] for known in sorted(by_place)]
    raise ConfigError(f"{folder}: neither the places nor the numbers of its images tell their order: open the files")


def _number(header: Any) -> Any:
    number = header.get("InstanceNumber")
    return None if number is None else int(number)


def _height(header: Any) -> Any:
    """Return where a slice is along the axis that is at right angles to it, in mm."""
    position, axes = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if position is None or axes is None:
        return None
    normal = np.cross([float(part) for part in axes[:3]], [float(part) for part in axes[3:]])
    return round(float(normal @ [float(part) for part in position]), 3)
