"""The interface of all look-ups: a read-only mapping that also answers many keys at once."""

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
    columns is a dict. A handle is small and is pickled without the data; each process opens the data at its first
    look-up, and again after a fork.
    """

    def items(self) -> ItemsView[Any, Any]:
        """Return the pairs of key and value; one iteration goes through one version of the contents.

        ``dict(lookup)`` looks up key by key and may mix versions if the contents change meanwhile: use
        ``dict(lookup.items())``. A `Service` takes the values from `get_many`: a missing float is NaN there, where
        ``lookup[key]`` is None.

        Returns
        -------
        ItemsView

        Examples
        --------
        >>> dict(pardata.Table([1, 2], ["one", "two"]).items())
        {1: 'one', 2: 'two'}
        """
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """Return the values, in the order of the keys; one iteration goes through one version, as in `items`."""
        return _Values(self)

    def get_many(self, keys: Any, default: Any = MISSING) -> Any:
        """Return the values of many keys at once.

        Parameters
        ----------
        keys : array or sequence, shape (n,)
        default : object, optional
            The value for a missing key, in every column.

        Returns
        -------
        array, shape (n, ...); or a dict of such arrays, one per column
            In the order of `keys`. Numbers and arrays keep their dtype; all other values are in an array of objects.

        Raises
        ------
        KeyError
            A key is missing and there is no `default`; the error names the first such key.
        TypeError
            `keys` is no sequence, or an array of more than one axis.

        Examples
        --------
        >>> stars = pardata.Table([71683, 32349], np.array([-0.01, -1.46]))
        >>> stars.get_many([32349, 1], default=np.nan).tolist()
        [-1.46, nan]
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
        """Return the keys with ``low <= key < high`` and their values, in order of the keys.

        Parameters
        ----------
        low, high : key, optional
            Default: no bound.

        Returns
        -------
        keys : array, shape (n,)
        values : array, shape (n, ...), or dict of such arrays
            As returned by `get_many`.

        Raises
        ------
        ConfigError
            The keys are of another kind than `low` or `high`.

        Examples
        --------
        >>> keys, values = pardata.Table([3, 1, 2], ["c", "a", "b"]).range(2)
        >>> keys.tolist(), values.tolist()
        ([2, 3], ['b', 'c'])
        """

    @abstractmethod
    def _entries(self) -> Iterator[tuple[Any, Any]]:
        """Yield keys and values of one version of the contents."""

    @abstractmethod
    def _find(self, keys: Any) -> tuple[Array, Columns]:
        """Return for each key whether it is there, and the columns of the keys found, in the order of `keys`."""

    @property
    @abstractmethod
    def columns(self) -> list[str | None]:
        """Names of the columns of a row; ``[None]`` for a single column without a name."""

    @property
    @abstractmethod
    def version(self) -> str:
        """A text that is different for other contents; it changes whenever the contents do."""

    @abstractmethod
    def close(self) -> None:
        """Release the resources of this handle; its later look-ups raise `ClosedError`.

        Other handles are not affected. Look-ups of other threads and iterations that have begun are completed.
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
    """Return `keys` as an array of numbers, or else as a list."""
    if isinstance(keys, str | bytes):
        raise TypeError(f"many keys are asked for by a sequence of them, not by {keys!r}")
    if is_column(keys):
        read = read_column(keys)
        keys = read.values if read.missing is None else read.as_list()
    if isinstance(keys, np.ma.MaskedArray) and np.ma.is_masked(keys):
        check_unit(keys, "many keys were asked for by")
        keys = keys.tolist()  # a masked entry becomes None, which is no key
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
    """Return a NumPy scalar as the equal Python scalar, if there is one: a long double may have none."""
    if not isinstance(value, np.generic):
        return value
    return exactly(value) if isinstance(value, np.longdouble) else value.item()


def exactly(number: Any) -> Any:
    """Return the int or float that is equal to a number of any type; the number itself if there is none."""
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
    """Return the column if it is the only one and has no name, else the dict of columns."""
    return columns.get(None, columns)


def array_of(values: list[Any]) -> Array:
    """Return the values of a column as an array: of numbers if all are of one kind, else of objects.

    None among floats becomes NaN.
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
    """Return parts of a column as one array; integers beside floats are not rounded."""
    if len({part.dtype for part in parts}) == 1:
        return np.concatenate(parts, dtype=parts[0].dtype)
    return array_of([value for part in parts for value in part.tolist()])


def _filled(column: Array, found: Array, default: Any) -> Array:
    """Return the column with `default` at missing keys, in a dtype that holds both exactly, else as objects."""
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
    """Return the dtypes that may hold both a column and its default."""
    if not isinstance(default, bool | int | float | complex | str | bytes | np.generic):
        return []
    given = np.asarray(default).dtype
    if dtype.kind in "biufc" and given.kind in "biufc":
        return [dtype, np.result_type(dtype, given)]
    return [np.result_type(dtype, given)] if dtype.kind == given.kind and dtype.kind in "SUmM" else []


def _same(value: Any, default: Any) -> bool:
    given = plain(default)
    return bool(value == given or (value != value and given != given))
