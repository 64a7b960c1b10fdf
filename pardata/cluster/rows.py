"""Small arrays of one kind, which a message carries as one: pickled by itself, each costs more than its bytes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]

_FEWEST: Final = 4
_MOST_BYTES: Final = 1 << 13  # of an array: beyond that its copies cost what is saved


class _Together:
    """Arrays that arrive as a list of them."""

    def __init__(self, items: list[Array]) -> None:
        self._items = items

    def __reduce__(self) -> Any:
        return _apart, (np.concatenate(self._items, axis=None), len(self._items), self._items[0].shape)


def _apart(flat: Array, count: int, shape: tuple[int, ...]) -> list[Array]:
    return [row.copy() for row in flat.reshape(count, *shape)]


def together(items: list[Any]) -> Any:
    """Return what is pickled in the place of a list, and arrives as an equal one: the list, or its arrays as one."""
    if len(items) < _FEWEST or not _is_small(items[0]):
        return items
    dtype, shape = items[0].dtype, items[0].shape
    are_alike = all(_is_small(item) and item.shape == shape and item.dtype == dtype for item in items)
    return _Together(items) if are_alike and len({*map(id, items)}) == len(items) else items


def _is_small(item: Any) -> bool:
    """Return whether nothing of an array but its entries would be lost, and it is small."""
    if type(item) is not np.ndarray or not item.ndim > 0 or item.nbytes > _MOST_BYTES:
        return False
    dtype = item.dtype
    return bool(dtype.kind in "biufc" and dtype.isnative and dtype.metadata is None and item.flags.carray)
