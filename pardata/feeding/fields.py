"""The fields of a batch, by what the first item has there: each takes that field of one item after the other.

Arrays are written where they belong, numbers kept until a dtype for all of them is known, texts kept in a list;
mappings and sequences have fields of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from pardata.feeding.arrays import Array, as_array, check_torch_has, is_bits
from pardata.feeding.trees import Leaf, with_values
from pardata.memory.shared_heap import result_array

_NUMBERS: Final = (int, float, complex)
_INTEGERS: Final = (int, np.integer)


class FieldOfRows(Protocol):
    """A field of the batch, which takes that field of one item after the other."""

    def put(self, row: int, value: Any) -> None:
        """Write the field of item number `row`."""

    def finish(self, rows: int, arrays: list[Array]) -> Any:
        """Return the field of a batch of so many items, with a `Leaf` for each array that is appended to `arrays`."""


class _ArrayField:
    def __init__(self, first: Array, size: int, tensor: str, tensors: bool, place: str) -> None:
        self._size, self._tensor, self._tensors, self._place = size, tensor, tensors, place
        self._shape, self._dtype = first.shape, first.dtype
        if not tensors and is_bits(tensor, first):
            raise TypeError(
                f"{_named(place)}is a tensor of torch.{tensor}, which NumPy has not: convert it, as by .float()"
            )
        self._rows = self._new(first.dtype)

    def _new(self, dtype: np.dtype[Any]) -> Array:
        if not self._tensors:
            return result_array((self._size, *self._shape), dtype)
        check_torch_has(dtype, f"{_named(self._place)}is")
        return result_array((self._size, *self._shape), dtype.newbyteorder("="))

    def put(self, row: int, value: Any) -> None:
        found = as_array(value)
        if found is None:
            if self._shape or not isinstance(value, _NUMBERS):
                raise TypeError(f"{_named(self._place)}is an array in the first item and {_told(value)} in another one")
            found = np.asarray(value, np.result_type(self._dtype, value)), self._tensor
        array, tensor = found
        if array.shape != self._shape:
            raise ValueError(
                f"{_named(self._place)}has the shape {array.shape} in one item and {self._shape} in the first one of "
                f"the batch: make them equal, or put them together by collate= (of arrays that belong together, as "
                f"images and labels, a dataset is list(zip(images, labels)))"
            )
        if tensor != self._tensor or array.dtype != self._dtype:
            self._widen(array, tensor, row)
        self._rows[row] = array

    def _widen(self, array: Array, tensor: str, row: int) -> None:
        """Take in an item of another dtype; the rows before it are copied, unless their dtype can hold it."""
        if is_bits(tensor, array) or is_bits(self._tensor, self._rows):
            raise TypeError(
                f"{_named(self._place)}is of {tensor or array.dtype} in one item and of "
                f"{self._tensor or self._dtype} in the first one of the batch"
            )
        wider = np.promote_types(self._dtype, array.dtype)
        if wider.kind == "f" and self._dtype.kind in "iu" and array.dtype.kind in "iu":
            raise OverflowError(
                f"{_named(self._place)}is of {array.dtype} in one item and of {self._dtype} in those before it, and no "
                f"dtype of integers holds both"
            )
        self._tensor = ""
        if wider != self._dtype:
            self._dtype, before = wider, self._rows
            self._rows = self._new(wider)
            self._rows[:row] = before[:row]

    def finish(self, rows: int, arrays: list[Array]) -> Any:
        return _leaf(self._rows[:rows], self._tensor, self._tensors, arrays)


class _NumberField:
    """Numbers are kept until the end: a later one may need another dtype."""

    def __init__(self, tensors: bool, place: str) -> None:
        self._values: list[Any] = []
        self._tensors, self._place = tensors, place

    def put(self, row: int, value: Any) -> None:
        self._values.append(value if isinstance(value, _NUMBERS) else self._number(value))

    def _number(self, value: Any) -> Any:
        """Return the number of an array without axes, such as NumPy's numbers, or of a tensor."""
        found = as_array(value)
        if found is None or found[0].shape or found[0].dtype.kind not in "biufc" or is_bits(found[1], found[0]):
            raise TypeError(f"{_named(self._place)}is a number in the first item and {_told(value)} in another one")
        return found[0][()]

    def finish(self, rows: int, arrays: list[Array]) -> Any:
        made = np.array(self._values)
        if made.dtype.hasobject or (made.dtype.kind == "f" and all(isinstance(n, _INTEGERS) for n in self._values)):
            raise OverflowError(f"{_named(self._place)}has integers that no dtype of 64 bits holds")
        return _leaf(made, "", self._tensors, arrays)


class _ListField:
    def __init__(self) -> None:
        self._values: list[Any] = []

    def put(self, row: int, value: Any) -> None:
        self._values.append(value)

    def finish(self, rows: int, arrays: list[Array]) -> Any:
        return self._values


class _MappingField:
    def __init__(self, first: Mapping[Any, Any], make: Callable[[Any, str], FieldOfRows], place: str) -> None:
        self._first, self._place = first, place
        self._fields = {key: make(value, f"{place}[{key!r}]") for key, value in first.items()}

    def put(self, row: int, value: Any) -> None:
        for key, field in self._fields.items():
            try:
                part = value[key]
            except (KeyError, TypeError) as error:
                raise self._lack(value, key) from error
            field.put(row, part)

    def _lack(self, value: Any, key: Any) -> Exception:
        if not isinstance(value, Mapping):
            return TypeError(f"{_named(self._place)}is a mapping in the first item and {_told(value)} in another one")
        return ValueError(f"{_named(self._place)}has the key {key!r} in the first item and not in another one")

    def finish(self, rows: int, arrays: list[Array]) -> Any:
        return with_values(self._first, {key: field.finish(rows, arrays) for key, field in self._fields.items()})


class _SequenceField:
    def __init__(self, first: Sequence[Any], make: Callable[[Any, str], FieldOfRows], place: str) -> None:
        self._kind, self._place = type(first), place
        self._fields = [make(value, f"{place}[{index}]") for index, value in enumerate(first)]
        self._puts = [field.put for field in self._fields]

    def put(self, row: int, value: Any) -> None:
        try:
            parts = len(value)
        except TypeError as error:
            raise TypeError(
                f"{_named(self._place)}is a sequence in the first item and {_told(value)} in another one"
            ) from error
        if parts != len(self._puts):
            raise ValueError(
                f"{_named(self._place)}has {parts} parts in one item and {len(self._puts)} in the first one"
            )
        for put, part in zip(self._puts, value):  # noqa: B905 (their lengths are equal)
            put(row, part)

    def finish(self, rows: int, arrays: list[Array]) -> Any:
        made = [field.finish(rows, arrays) for field in self._fields]
        made = [
            tuple(part) if type(field) is _ListField else part for field, part in zip(self._fields, made, strict=True)
        ]
        if hasattr(self._kind, "_fields"):
            return self._kind(*made)
        if issubclass(self._kind, tuple) or self._kind is list:
            return made
        try:
            return self._kind(made)  # type: ignore[call-arg]
        except TypeError:
            return made


def field_for(first: Any, size: int, tensors: bool, place: str) -> FieldOfRows:
    """Return the field of a batch whose first item has `first` there."""

    def make(part: Any, there: str) -> FieldOfRows:
        return field_for(part, size, tensors, there)

    found = as_array(first)
    if found is not None:
        return _ArrayField(found[0], size, found[1], tensors, place)
    if isinstance(first, _NUMBERS):
        return _NumberField(tensors, place)
    if isinstance(first, str | bytes):
        return _ListField()
    if isinstance(first, Mapping):
        return _MappingField(first, make, place)
    if isinstance(first, Sequence):
        return _SequenceField(first, make, place)
    raise TypeError(
        f"{_named(place)}is {_told(first)}: batches are made of arrays, tensors, numbers, texts, and of mappings and "
        f"sequences of these; for others give a function as collate="
    )


def _leaf(array: Array, tensor: str, tensors: bool, arrays: list[Array]) -> Leaf:
    array.setflags(write=False)
    arrays.append(array)
    return Leaf(len(arrays) - 1, (tensor or array.dtype.name) if tensors else "")


def _named(place: str) -> str:
    return f"the field {place} " if place else "an item "


def _told(value: object) -> str:
    told = value.dtype if isinstance(value, np.ndarray) else getattr(value, "layout", None)  # of sparse tensors
    return type(value).__name__ if told is None else f"{type(value).__name__} of {told}"
