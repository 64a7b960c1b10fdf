"""What all look-ups have in common: a read-only mapping that also answers many keys at once."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any, Final

import numpy as np

from pardata.memory.dtypes import is_registered
from pardata.memory.foreign import is_column, read_column
from pardata.memory.plain import check_unit, objects, plain_array

Array = np.ndarray[Any, Any]
Columns = dict[str | None, Array]  # the key None: there is one column and it has no name


class _NoDefault:
    def __repr__(self) -> str:
        return "<no default>"


MISSING: Final = _NoDefault()


class Lookup(Mapping[Any, Any]):
    """A read-only mapping from keys to rows that lies outside of the process.

    A row of one unnamed column is its value: a Python scalar, a string, bytes, an array or any object. A row of named
    columns is a dict. Handles are small and pickle as a recipe; each process opens what is behind them at its first
    look-up, and again after a fork.
    """

    def items(self) -> ItemsView[Any, Any]:
        """Return keys and values; one iteration over them is of one version of the contents.

        (``dict(lookup)`` looks up key by key, so contents that change meanwhile come in between: use
        ``dict(lookup.items())``.) From a `Service` the values are those of `get_many`, one by one: nothing among floats
        is NaN there, where ``lookup[key]`` is None.
        """
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """Return the values, in the order of the keys; as `items`."""
        return _Values(self)

    def get_many(self, keys: Any, default: Any = MISSING) -> Any:
        """Return the values of many keys at once.

        Parameters
        ----------
        keys : array or sequence, shape (n,)
        default : object, optional
            The value in place of a missing key's (in every column).

        Returns
        -------
        array, shape (n, ...); or a dict of such arrays, one per column
            In the order of `keys`. Numbers and arrays in an array of their dtype, all else in one of objects.

        Raises
        ------
        KeyError
            The first key that is missing, if there is no `default`.
        """
        asked = as_keys(keys)
        found, columns = self._find(asked)
        if not found.all():
            if default is MISSING:
                raise KeyError(plain(asked[int(np.argmin(found))]))
            columns = {name: _filled(column, found, default) for name, column in columns.items()}
        return unwrapped(columns)

    @abstractmethod
    def range(self, low: Any = None, high: Any = None) -> tuple[Array, Any]:
        """Return what has keys from `low` (included) to `high` (not included), in order of the keys.

        Parameters
        ----------
        low, high : key, optional
            Default: from the first, to the last.

        Returns
        -------
        keys : array, shape (n,)
        values : as `get_many`

        Raises
        ------
        ConfigError
            The keys are of another kind than `low` or `high`.
        """

    @abstractmethod
    def _entries(self) -> Iterator[tuple[Any, Any]]:
        """Yield keys and values of one version of the contents."""

    @abstractmethod
    def _find(self, keys: Any) -> tuple[Array, Columns]:
        """Return which of the keys there are, and the columns of those, in the order of `keys`."""

    @property
    @abstractmethod
    def columns(self) -> list[str | None]:
        """The names of the columns of a row; ``[None]`` for one without a name."""

    @property
    @abstractmethod
    def version(self) -> str:
        """What tells these contents from other ones at other times or places."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open here. Look-ups of this handle raise `ClosedError` from then on; others go on.

        What has begun comes to its end: a look-up of another thread, and an iteration.
        """

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Items(ItemsView[Any, Any]):
    _mapping: Lookup

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self._mapping._entries()


class _Values(ValuesView[Any]):
    _mapping: Lookup

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._mapping._entries())

    def __contains__(self, wanted: object) -> bool:
        return any(value is wanted or value == wanted for value in self)


def as_keys(keys: Any) -> Any:
    """Return `keys` as they are asked for: an array of numbers, or a list."""
    if isinstance(keys, str | bytes):
        raise TypeError(f"many keys are asked for by a sequence of them, not by {keys!r}")
    if is_column(keys):
        read = read_column(keys)
        keys = read.values if read.missing is None else read.as_list()
    if isinstance(keys, np.ma.MaskedArray) and np.ma.is_masked(keys):
        check_unit(keys, "many keys were asked for by")
        keys = keys.tolist()  # what is masked is None, and no key
    if not isinstance(keys, np.ndarray):
        try:
            keys = list(keys)
        except TypeError:
            raise TypeError(f"many keys are asked for by a sequence of them, not by {keys!r}") from None
        if keys and all(type(key) is int for key in keys):
            try:
                return np.array(keys, np.int64)
            except OverflowError:
                return keys
        return np.array(keys) if keys and all(type(key) is float for key in keys) else keys
    if keys.ndim != 1:
        raise TypeError(f"keys must have one axis, not shape {keys.shape}")
    keys = plain_array(keys, "many keys were asked for by")
    is_common = keys.dtype.kind in "biuf" and keys.dtype.itemsize <= 8 and not is_registered(keys.dtype)
    return keys if is_common else keys.tolist()


def plain(value: Any) -> Any:
    """Return a NumPy scalar as Python's, if there is one that is equal: not every long float is a float."""
    if not isinstance(value, np.generic):
        return value
    return exactly(value) if isinstance(value, np.longdouble) else value.item()


def exactly(number: Any) -> Any:
    """Return a number of any type as the int or the float that is equal to it, itself if there is none."""
    if number != number:
        return float("nan")
    try:
        as_float = float(number)
    except OverflowError:
        return number
    if not math.isfinite(as_float):
        return as_float if as_float == number else number
    return int(number) if number == int(number) else as_float if as_float == number else number


def unwrapped(columns: Columns) -> Any:
    """Return the one column without a name, or the dict of columns."""
    return columns.get(None, columns)


def array_of(values: list[Any]) -> Array:
    """Return the values of a column as an array: of numbers if all are of one kind, else of objects.

    Missing numbers (None) are NaN among floats.
    """
    kinds = set(map(type, values))
    if kinds == {float, type(None)}:
        return np.array([np.nan if value is None else value for value in values])
    if (kinds and kinds <= {int, float}) or kinds == {bool}:
        try:
            made = np.array(values)
        except OverflowError:
            return objects(values)
        if len(kinds) == 1 or made.tolist() == values:  # not every int is a float
            return made
    return objects(values)


def joined(parts: list[Array]) -> Array:
    """Return parts of a column as one array; where one holds integers and another floats, none of them is rounded."""
    if len({part.dtype for part in parts}) == 1:
        return np.concatenate(parts, dtype=parts[0].dtype)
    return array_of([value for part in parts for value in part.tolist()])


def _filled(column: Array, found: Array, default: Any) -> Array:
    """Return the column with `default` where nothing was found, of a dtype that holds both exactly, else of objects."""
    shape = (len(found), *column.shape[1:])
    for dtype in _dtypes_for(column.dtype, default):
        made = np.empty(shape, dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            made[found] = column
            if np.array_equal(made[found].astype(column.dtype), column, equal_nan=column.dtype.kind in "fcmM"):
                made[~found] = np.asarray(default).astype(dtype)
                if all(_same(value, default) for value in made[~found][:1].ravel().tolist()):
                    return made
    made = np.empty(shape, object)
    made[~found] = objects([default])
    made[found] = column
    return made


def _dtypes_for(dtype: np.dtype[Any], default: Any) -> list[np.dtype[Any]]:
    """Return the dtypes that may hold a column and its default."""
    if not isinstance(default, bool | int | float | complex | str | bytes | np.generic):
        return []
    given = np.asarray(default).dtype
    if dtype.kind in "biufc" and given.kind in "biufc":
        return [dtype, np.result_type(dtype, given)]
    return [np.result_type(dtype, given)] if dtype.kind == given.kind and dtype.kind in "SUmM" else []


def _same(value: Any, default: Any) -> bool:
    given = plain(default)
    return bool(value == given or (value != value and given != given))
