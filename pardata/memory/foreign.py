"""Columns of pandas, polars, pyarrow and masked arrays, read without rounding.

The libraries give integers with missing values as floats; a masked value is a missing one.

None of the libraries is imported: their columns are recognised by their methods.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from pardata.errors import LossError

Array = np.ndarray[Any, Any]


class Read(NamedTuple):
    """The values of a column, and a mask of its missing integers or booleans (None: none is missing).

    Values that no array holds exactly are a list, with None for missing ones. Among floats these are NaN, among times
    NaT.
    """

    values: Array | list[Any]
    missing: Array | None = None

    def as_list(self) -> list[Any]:
        """Return the values as Python's own, missing ones as None."""
        values = self.values.tolist() if isinstance(self.values, np.ndarray) else self.values
        if self.missing is None:
            return values
        return [None if gone else value for value, gone in zip(values, self.missing.tolist(), strict=True)]


def is_column(values: object) -> bool:
    """Return whether this is a column, or an array, of another library."""
    return hasattr(values, "to_numpy") and not isinstance(values, np.ndarray) and not is_frame(values)


def is_frame(values: object) -> bool:
    """Return whether this is a data frame, or a table of pyarrow: columns with names and dtypes."""
    if isinstance(values, np.ndarray):
        return False
    return hasattr(values, "columns") and (hasattr(values, "dtypes") or hasattr(values, "column_names"))


_ROWS: Final = {
    "to_arrow_reader": "table.to_arrow_reader(10_000), which gives batches of so many rows",
    "itertuples": "table.itertuples()",
    "iter_rows": "table.iter_rows(named=True)",
    "collect_schema": "table.collect().iter_rows(named=True)",
    "to_batches": "table.to_pylist(), or table.to_batches() for some rows at a time",
    "to_pylist": "table.to_pylist()",
    "data_vars": 'the rows of a variable, dataset["name"].values, or a generator of dataset.isel(...)',
}


def rows_of_table(values: object) -> str | None:
    """Return an expression for the rows of a table, over which a loop gives columns; None: it is no table."""
    kind = type(values)  # a lazy table would make its schema, to be asked itself
    if not (hasattr(kind, "collect_schema") or hasattr(kind, "data_vars") or is_frame(values)):
        return None
    return next((rows for method, rows in _ROWS.items() if hasattr(kind, method)), "a list of its rows")


def columns_of(frame: Any) -> dict[Any, Any]:
    """Return the columns of a data frame, by name."""
    return {name: frame[name] for name in getattr(frame, "column_names", frame.columns)}


def read_values(values: Any) -> Read:
    """Return the exact values of a column, of a masked array, or of anything else as it is."""
    if isinstance(values, np.ma.MaskedArray):
        return _read_masked(values)
    return read_column(values) if is_column(values) else Read(values)


def read_column(column: Any) -> Read:
    """Return the exact values of a column. Raises `LossError` where its library gives rounded ones only."""
    if hasattr(column, "to_pylist"):
        return _read_arrow(column)
    if hasattr(column, "null_count") and hasattr(column, "to_list"):
        return _read_polars(column)
    if hasattr(column, "isna") and getattr(column, "ndim", 1) == 1:
        return _read_pandas(column)
    return Read(column.to_numpy())


def _read_masked(array: np.ma.MaskedArray[Any, Any]) -> Read:
    """Return a masked array as it is unless it has one axis, and some of its numbers, times or texts are masked."""
    kind = array.dtype.kind
    if array.ndim != 1 or kind not in "biufcmMSU" or not np.ma.is_masked(array):
        return Read(array)
    data = array.data
    if type(data) is not np.ndarray:  # it may have a unit
        return Read(array)
    if kind in "biu":
        return _with_gaps(data, array.mask)
    if kind in "SU":
        return Read(_with_gaps(data, array.mask).as_list())
    missing: Any = np.nan if kind in "fc" else np.array("NaT", array.dtype)
    return Read(np.asarray(array.filled(missing)))


def _with_gaps(values: Array, missing: Any) -> Read:
    gaps = np.asarray(missing, bool)
    return Read(values, gaps if gaps.any() else None)


# -- pandas ------------------------------------------------------------------------------------------------------------


def _read_pandas(column: Any) -> Read:
    dtype = column.dtype
    if hasattr(dtype, "pyarrow_dtype"):
        return _read_arrow(getattr(column, "array", column).__arrow_array__())
    if hasattr(dtype, "categories"):
        return _read_categories(column)
    kind = getattr(dtype, "numpy_dtype", None)
    if kind is not None and kind.kind in "biu":
        return _with_gaps(column.to_numpy(dtype=kind, na_value=kind.type(0)), column.isna())
    values = column.to_numpy()
    if getattr(dtype, "type", None) is str and values.dtype.kind == "O":
        return Read(_with_gaps(values, column.isna()).as_list())
    return Read(values)


def _read_categories(column: Any) -> Read:
    codes = np.asarray(getattr(column, "cat", column).codes)
    values, _ = read_column(column.dtype.categories)  # none of these is missing
    missing = codes < 0
    if isinstance(values, list):
        return Read([None if code < 0 else values[code] for code in codes.tolist()])
    if not missing.any():
        return Read(values[codes])
    if values.dtype.kind in "biu":
        return _with_gaps(values[codes] if len(values) else np.zeros(len(codes), values.dtype), missing)
    return (
        Read(column.to_numpy()) if values.dtype.kind in "fcmM" else Read(_with_gaps(values[codes], missing).as_list())
    )


# -- polars ------------------------------------------------------------------------------------------------------------


def _read_polars(column: Any) -> Read:
    dtype = column.dtype
    name = str(dtype)
    if getattr(dtype, "time_zone", None) is not None:
        if dtype.time_unit == "ns":
            raise LossError(
                f"a column of {name} would lose its time zone or its nanoseconds: give it in UTC, without a zone"
            )
        return Read(column.to_list())
    if dtype.is_nested():
        return _read_nested(column)
    if name in ("Int128", "UInt128", "Null") or dtype.is_decimal():
        return Read(column.to_list())
    if dtype.is_integer() or name == "Boolean":
        filled = column.fill_null(False if name == "Boolean" else 0)
        return _with_gaps(filled.to_numpy(), column.is_null().to_numpy())
    return Read(column.to_numpy())


def _read_nested(column: Any) -> Read:
    """Return rows as arrays, unless a missing value has made floats of integers."""
    inner = column.dtype
    while hasattr(inner, "inner"):
        inner = inner.inner
    if hasattr(inner, "fields"):  # a struct: NumPy would get one dtype for all of its fields
        return Read(column.to_list())
    values = column.to_numpy()
    rows = values.tolist() if values.dtype.kind == "O" else [values]
    is_float = any(isinstance(row, np.ndarray) and row.dtype.kind == "f" for row in rows)
    return Read(column.to_list() if is_float and inner.is_integer() else values)


# -- pyarrow -----------------------------------------------------------------------------------------------------------


def _read_arrow(column: Any) -> Read:
    kind = column.type
    name = str(kind.value_type if hasattr(kind, "index_type") else kind)  # of a dictionary: the type of its values
    if name.startswith(("int", "uint")) or name == "bool":
        filled = column.fill_null(name != "bool" and 0)
        return _with_gaps(filled.to_numpy(zero_copy_only=False), column.is_null().to_numpy(zero_copy_only=False))
    is_time = name.startswith(("timestamp", "duration", "date")) and "tz=" not in name
    if name in ("halffloat", "float", "double") or is_time:
        return Read(column.to_numpy(zero_copy_only=False))
    return Read(column.to_pylist())
