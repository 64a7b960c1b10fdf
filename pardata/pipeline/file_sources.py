"""Streams of arrays in files: the source hands out places, and processes read the parts that lie there.

      source: where parts lie ---> read: workers=, each opens the file ---> items

Rows, and blocks of fewer rows than a chunk has, are read chunk by chunk: one by one they would take hundreds of times
as long.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from pardata.data.file_array import Array, FileArray, Selection
from pardata.data.registry import format_of, open_data
from pardata.errors import ConfigError
from pardata.memory.byte_order import native_array
from pardata.pipeline.builtin_generators import FlatMap, Flattened
from pardata.pipeline.new_stage import checked_count, new_stage
from pardata.pipeline.plan.node import Counted, Kind, Node, user_line
from pardata.pipeline.stream import Stream

PartSize = int | Literal["chunk"] | None
PartBounds = tuple[tuple[int, int], ...]  # for each axis where it begins and ends
Labelling = Callable[[Selection, Array], Any]  # returns values with the labels of their place


@dataclass(frozen=True)
class PartGrid(Counted):
    """The places of an array's parts, in order: steps along each axis, or along one alone."""

    shape: tuple[int, ...]
    steps: tuple[int, ...]
    axis: int | None = None

    def __len__(self) -> int:
        return math.prod(map(len, self._begins()))

    def __iter__(self) -> Iterator[PartBounds]:
        spans = [
            [(begin, min(begin + step, length)) for begin in begins]
            for begins, length, step in zip(self._begins(), self.shape, self.steps, strict=True)
        ]
        return itertools.product(*spans)

    def _begins(self) -> list[range]:
        """Return where parts begin, on each axis; rows without entries are rows, too."""
        return [
            range(0, length, step) if self.axis in (None, axis) else range(1)
            for axis, (length, step) in enumerate(zip(self.shape, self.steps, strict=True))
        ]


@dataclass(frozen=True)
class ReadPart:
    """Reads a part of an array, with the labels that its library has for it."""

    array: FileArray
    native: bool
    labels: Labelling | None

    def __call__(self, part: PartBounds) -> Any:
        """Return the block."""
        selection = _selection(part)
        block = self.array[selection]
        if self.native:
            block = native_array(block)
        return block if self.labels is None else self.labels(selection, block)


@dataclass(frozen=True)
class CutBlock:
    """Cuts a block into items, which are views: of `by` entries along `axis`, or its entries if that is None."""

    by: int | None
    axis: int

    def __call__(self, block: Any) -> Iterable[Any]:
        """Return the items."""
        if self.by is None:
            return _entries(block, self.axis)
        before = (slice(None),) * self.axis
        return [block[(*before, slice(at, at + self.by))] for at in range(0, block.shape[self.axis], self.by)]


@dataclass(frozen=True)
class ReadItems:
    """Reads a part of an array, and cuts it into items."""

    read: ReadPart
    cut: CutBlock

    def __call__(self, part: PartBounds) -> Iterable[Any]:
        """Return the items."""
        return self.cut(self.read(part))


def opened(items: Any) -> Any:
    """Return the array at a path of another format than NumPy's; other items as they are."""
    if isinstance(items, str | os.PathLike):
        entry = format_of(os.fspath(items))
        if entry is not None and entry.library != "numpy":
            return open_data(items)
    return items


def parts_of_array(array: Any, by: PartSize, axis: int) -> list[Any]:
    """Return the parts of an array that is no file's, as views; those of a DataArray have its labels."""
    if not isinstance(array, np.ndarray) and not hasattr(type(array), "isel"):
        raise ConfigError(f"source({type(array).__name__}, by=..., axis=...): these go with arrays")
    axis = _checked_axis(array, axis)
    if by is None:
        return list(_entries(array, axis))
    return [array[_selection(part)] for part in _grid(array, by, axis)]


def _selection(part: PartBounds) -> Selection:
    return tuple(slice(begin, end) for begin, end in part)


def _entries(array: Any, axis: int) -> Iterable[Any]:
    """Return the entries along an axis, as views."""
    if isinstance(array, np.ndarray):
        return np.moveaxis(array, axis, 0)
    before = (slice(None),) * axis
    return [array[(*before, at)] for at in range(array.shape[axis])]


def array_source(
    array: FileArray,
    by: PartSize,
    axis: int,
    workers: int,
    name: str | None,
    native: bool,
    labels: Labelling | None,
) -> Stream:
    """Return the stream of an array's entries along `axis`, or of its parts (see `sources.source`)."""
    axis = _checked_axis(array, axis)
    checked_count("source", "workers", workers)
    read, name = ReadPart(array, native, labels), name or "read"
    grid = _grid(array, by, axis)
    step, page = grid.steps[axis], max(1, min(array.page_shape[axis], array.shape[axis]))
    total = len(grid)
    is_cut = by is None or step < page
    if is_cut:  # read whole pages, or little more: item by item each page would be read again for each of its items
        grid = replace(grid, steps=(*grid.steps[:axis], -(-page // step) * step, *grid.steps[axis + 1 :]))
    places = Stream(Node(Kind.SOURCE, "parts", grid, where=user_line()))
    if not is_cut:
        return places.map(read, workers=workers, name=name)
    cut = CutBlock(None if by is None else int(by), axis)
    if workers == 1:
        return Stream(new_stage(places._node, Kind.GENERATOR, FlatMap(ReadItems(read, cut), total), name))
    blocks = places.map(read, workers=workers, name=name)
    if by is None and not axis:
        return Stream(new_stage(blocks._node, Kind.GENERATOR, Flattened(total), "unbatch", workplace="thread"))
    return Stream(new_stage(blocks._node, Kind.GENERATOR, FlatMap(cut, total), "cut"))


def _grid(array: Any, by: PartSize, axis: int) -> PartGrid:
    return PartGrid(array.shape, _steps(array, by, axis), None if by == "chunk" else axis)


def _checked_axis(array: Any, axis: Any) -> int:
    ndim = len(array.shape)
    if not ndim:
        raise ConfigError(f"source({_named(array)}): it is a single number, which has no rows")
    axis = checked_count("source", "axis", axis, -ndim)
    if axis >= ndim:
        raise ConfigError(f"source(axis={axis}): the array of shape {array.shape} has no such axis")
    return int(axis % ndim)


def _steps(array: Any, by: PartSize, axis: int) -> tuple[int, ...]:
    """Return the lengths of a part; empty axes are one part, or none."""
    shape: tuple[int, ...] = tuple(max(1, length) for length in array.shape)
    pages = array.page_shape if isinstance(array, FileArray) else None
    if by == "chunk":
        if pages is None:
            raise ConfigError(f'source({_named(array)}, by="chunk"): it has no chunks; by=n gives n rows at a time')
        return tuple(map(min, pages, shape))
    step = 1 if by is None else checked_count("source", "by", by)
    return (*shape[:axis], min(step, shape[axis]), *shape[axis + 1 :])


def _named(array: Any) -> str:
    return array.location if isinstance(array, FileArray) else type(array).__name__
