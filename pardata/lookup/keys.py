"""The keys of a table, and the search for the row of a key.

Numbers are sorted and found by bisection; texts are sorted by checksum, and a text that is found is compared.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import numpy as np

from pardata.errors import ConfigError
from pardata.lookup.base import Array, plain
from pardata.lookup.columns import HeapColumn, HeapDraft, as_column

_LONG = 64  # from so many keys on it pays to sort them first: neighbours share their cache lines


_EXACT = (int, float, bool)


class NumberKeys:
    """Sorted numbers, int64 or float64."""

    def __init__(self, keys: Array) -> None:
        self._keys = keys
        self._view = keys.data  # a quarter of the cost of an item of the array; compares with any number exactly

    def find(self, key: Any) -> int:
        """Return the row of a key, or -1."""
        if type(key) not in _EXACT:
            if isinstance(key, np.ndarray):
                return -1
            key = plain(key)  # compared with a NumPy scalar, an int would be rounded to its type
            if isinstance(key, np.longdouble):  # no other number equals it
                return -1
        try:
            row = bisect_left(self._view, key)
        except (TypeError, ArithmeticError):  # no number, or a Decimal that is NaN
            return -1
        return row if row < len(self._view) and self._view[row] == key else -1

    def find_many(self, keys: Any) -> Array:
        """Return the row of each key, or -1."""
        if isinstance(keys, list) or not self._holds(keys.dtype):
            # Mixed kinds of numbers are compared one by one, exactly: float64 does not hold every int64.
            return np.fromiter(map(self.find, keys if isinstance(keys, list) else iter(keys)), np.intp, len(keys))
        keys = keys.astype(self._keys.dtype, copy=False)
        if not len(self._keys):
            return np.full(len(keys), -1, np.intp)
        if len(keys) < _LONG or (keys[1:] >= keys[:-1]).all():
            return self._find_sorted(keys)
        order = np.argsort(keys)
        rows = np.empty(len(keys), np.intp)
        rows[order] = self._find_sorted(keys[order])
        return rows

    def _holds(self, dtype: np.dtype[Any]) -> bool:
        """Return whether the dtype of the keys holds all values of another dtype."""
        if self._keys.dtype.kind == "f":
            return dtype.kind == "f" and dtype.itemsize <= 8
        return dtype.kind in "bi" or (dtype.kind == "u" and dtype.itemsize < 8)

    def _find_sorted(self, keys: Array) -> Array:
        rows = self._keys.searchsorted(keys)
        rows[rows == len(self._keys)] = 0
        rows[self._keys[rows] != keys] = -1
        return rows

    def span(self, low: Any, high: Any) -> slice:
        """Return the rows of ``low <= key < high``."""
        first = 0 if low is None else self._begin(low)
        return slice(first, max(first, len(self._view) if high is None else self._begin(high)))

    def _begin(self, bound: Any) -> int:
        """Return the first row whose key is not less than the bound."""
        given = plain(bound)
        if not isinstance(given, int | float) or given != given:
            raise ConfigError(f"the keys are numbers: no range of them begins or ends at {bound!r}")
        return bisect_left(self._view, given)

    def take(self, rows: Any) -> Array:
        """Return the keys of some rows."""
        taken: Array = self._keys[rows]
        return taken

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Any]:
        return map(self._keys.item, range(len(self._keys)))


class TextKeys:
    """Strings or bytes in the order of their CRC-32; keys with equal checksums are compared.

    Among a billion keys each shares its checksum with 0.2 others on average. So 32 bits are enough, and take half the
    memory of 64.
    """

    def __init__(self, sums: Array, ends: Array, heap: Array, codec: str) -> None:
        self._sums = sums
        self._view = sums.data
        self._column = HeapColumn(ends, heap, codec)
        self._type = str if codec == "text" else bytes

    def _raw(self, key: Any) -> bytes | None:
        if not isinstance(key, self._type):
            return None
        return key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key

    def find(self, key: Any) -> int:
        """Return the row of a key, or -1."""
        raw = self._raw(key)
        return -1 if raw is None else self._verified(raw, bisect_left(self._view, zlib.crc32(raw)))

    def _verified(self, raw: bytes, row: int) -> int:
        sum_ = zlib.crc32(raw)
        while row < len(self._view) and self._view[row] == sum_:
            if self._column.raw(row) == raw:
                return row
            row += 1
        return -1

    def find_many(self, keys: Any) -> Array:
        """Return the row of each key, or -1."""
        raws = [self._raw(key) for key in keys]
        sums = np.fromiter((zlib.crc32(raw or b"") for raw in raws), np.uint32, len(raws))
        first = self._sums.searchsorted(sums).tolist()
        found = (-1 if raw is None else self._verified(raw, row) for raw, row in zip(raws, first, strict=True))
        return np.fromiter(found, np.intp, len(raws))

    def span(self, low: Any, high: Any) -> Array:
        """Return the rows of ``low <= key < high``, in order of the keys. This reads all keys."""
        if not len(self):
            return np.empty(0, np.intp)
        first, end = (None if bound is None else self._bound(bound) for bound in (low, high))
        raws = ((self._column.raw(row), row) for row in range(len(self)))
        # The bytes of UTF-8 sort like the texts.
        chosen = sorted(pair for pair in raws if (first is None or pair[0] >= first) and (end is None or pair[0] < end))
        return np.array([row for _, row in chosen], np.intp)

    def _bound(self, bound: Any) -> bytes:
        raw = self._raw(bound)
        if raw is None:
            raise ConfigError(f"the keys are {self._type.__name__}: no range of them begins or ends at {bound!r}")
        return raw

    def take(self, rows: Any) -> Array:
        """Return the keys of some rows."""
        return self._column.take(rows)

    def __len__(self) -> int:
        return len(self._sums)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._column)


def keys_of(keys: Any) -> Array | list[Any]:
    """Return the given keys as an array or a list; raise `ConfigError` if one is missing."""
    values, missing = as_column(keys)
    if missing is not None:
        raise ConfigError(f"key {int(np.argmax(missing))} is missing")
    return values


def number_keys(keys: Array) -> Array:
    """Return numeric keys as int64 or float64; raise `ConfigError` if that would change one."""
    made = keys.astype(np.float64 if keys.dtype.kind == "f" else np.int64)
    if keys.dtype.kind == "f" and np.isnan(made).any():
        raise ConfigError("NaN cannot be a key: it equals nothing")
    if (made != keys).any():
        raise ConfigError(f"a key of {keys.dtype} does not fit {made.dtype}")
    return made


def times_hint(keys: Any) -> str:
    """Return a hint for an error about keys: how to convert times; "" for other keys."""
    is_time = isinstance(keys, np.ndarray) and keys.dtype.kind in "mM"
    return f"; times can be kept as numbers: {keys.dtype} as keys.astype('int64')" if is_time else ""


def check_unique(is_repeated: Array, key_of: Any) -> None:
    """Raise `ConfigError` if a key occurs twice: ``is_repeated[i]`` says that sorted keys i and i + 1 are equal."""
    if is_repeated.any():
        raise ConfigError(f"the key {plain(key_of(int(np.argmax(is_repeated))))!r} occurs more than once")


def sort_numbers(keys: Array) -> tuple[Array, Array | None]:
    """Return the sorted keys and the order that sorts them; None if they were sorted."""
    order = None if (keys[1:] > keys[:-1]).all() else np.argsort(keys, kind="stable")
    keys = keys if order is None else keys[order]
    check_unique(keys[1:] == keys[:-1], keys.__getitem__)
    return keys, order


def sort_texts(draft: HeapDraft) -> tuple[Array, Array]:
    """Return the sorted checksums of the keys and the order that sorts them."""
    if len(set(draft.parts)) < len(draft.parts):
        parts = sorted(draft.parts)
        twice = next(part for part, after in zip(parts, parts[1:], strict=False) if part == after)
        key = twice.decode("utf-8", "surrogatepass") if draft.codec == "text" else twice
        raise ConfigError(f"the key {key!r} occurs more than once")
    sums = np.fromiter(map(zlib.crc32, draft.parts), np.uint32, len(draft.parts))
    order = np.argsort(sums, kind="stable")
    return sums[order], order
