"""Arguments as plain arrays of numbers; an argument that means more than its numbers is refused.

A mask, a unit and missing values change the meaning of numbers. Shared memory, files and the blocks that a function
gets hold numbers only, so these would be lost: all ways into them check that here. Names and labels beside the numbers
change none of them; they are left out.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pardata.errors import ConfigError, LossError
from pardata.memory.foreign import columns_of, is_column, is_frame, read_column

Array = np.ndarray[Any, Any]

_SCALARS: Final = (bool, int, float, complex, str, bytes, np.generic, type(None))


def plain_array(values: ArrayLike, what: str, dtype: DTypeLike | None = None) -> Array:
    """Return an argument as an ndarray, a view where that is possible.

    Raises `LossError`, whose text begins with `what` ("map_array got"), if a mask, a unit or missing values would be
    lost.
    """
    if type(values) is np.ndarray or isinstance(values, _SCALARS):
        return np.asarray(values, dtype)
    given: Any = values
    if is_frame(given):
        given = _of_frame(given, what)
    elif is_column(given):
        given = _of_column(given, what)
    elif not isinstance(given, np.ndarray):
        _check_parts(given, what)
        if hasattr(given, "__array__"):
            given = np.asanyarray(given)  # may give a masked array
        elif hasattr(given, "__dlpack__"):
            given = _of_dlpack(given, what)
    if isinstance(given, np.ndarray):
        return np.asarray(numbers_of(given, what), dtype)
    try:
        return np.asarray(given, dtype)
    except ValueError as error:
        raise _uneven(error, given, what) from None


def _of_dlpack(given: Any, what: str) -> Array:
    """Return an array that speaks the protocol of DLPack alone, of which NumPy itself would make an object."""
    try:
        return np.from_dlpack(given)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{what} a {type(given).__name__} that NumPy cannot read: copy it to the memory of the processor, and give "
            f"that ({error})"
        ) from error


def _uneven(error: ValueError, values: Any, what: str) -> ValueError:
    """Return the error for rows of different lengths, which NumPy does not tell; another one as it is."""
    if "inhomogeneous" not in str(error):
        return error
    lengths = list(dict.fromkeys(len(row) if hasattr(row, "__len__") else 0 for row in values))
    told = f"of different lengths, {', '.join(map(str, lengths[:5]))}" if len(lengths) > 1 else "whose parts differ"
    return ConfigError(f"{what} rows {told}: an array has rows of one length; fill them up, or keep them in a list")


def numbers_of(array: Array, what: str) -> Array:
    """Return an array as it is, or the data of a masked one of which no value is masked; else as `plain_array`."""
    if type(array) is np.ndarray:
        return array
    check_unit(array, what)
    is_masked_array = isinstance(array, np.ma.MaskedArray)
    if not is_masked_array and not hasattr(array, "unmasked"):
        return array
    mask = np.ascontiguousarray(np.ma.getmaskarray(array) if is_masked_array else array.mask)  # type: ignore[attr-defined]
    if mask.view(bool).any():
        raise LossError(
            f"{what} a masked array, and its mask would be lost: give its data filled, array.filled(...), or the data "
            f"and the mask as two arrays"
        )
    numbers: Array = array.data if is_masked_array else array.unmasked  # type: ignore[assignment,attr-defined]
    return numbers


def check_unit(array: Array, what: str) -> None:
    """Raise `LossError` for an array with a unit."""
    for name in ("unit", "units"):  # the first is astropy's
        unit = getattr(array, name, None)
        if unit is not None and name not in (array.dtype.names or ()):  # a field is an attribute of a recarray
            raise LossError(_unit_text(what, unit, array))


def _unit_text(what: str, unit: object, values: object) -> str:
    way = next((name for name in ("value", "magnitude") if hasattr(values, name)), None)
    how = f".{way}" if way else "numpy.asarray(...)"
    return f"{what} values with the unit {unit!s}, which would be lost: give their numbers, {how}"


def _check_parts(values: object, what: str) -> None:
    """Check the parts of lists: NumPy would take the numbers of arrays in them without their masks and units."""
    if isinstance(values, list | tuple):
        for kind in set(map(type, values)) - set(_SCALARS):
            if issubclass(kind, np.generic):
                continue
            for value in values:
                if type(value) is kind:
                    _check_parts(value, what)
    elif isinstance(values, np.ndarray):
        numbers_of(values, what)
    elif hasattr(type(values), "magnitude") and hasattr(type(values), "units"):  # pint's, which are no arrays
        raise LossError(_unit_text(what, getattr(values, "units", "?"), values))
    elif type(values).__name__ == "NAType":  # pandas.NA
        raise LossError(f"{what} a missing value, and no array of numbers holds one: fill it")


def _of_column(column: Any, what: str) -> Any:
    values, missing = read_column(column)
    if missing is not None and isinstance(values, np.ndarray):
        kind = getattr(column, "dtype", None) or getattr(column, "type", "?")
        raise LossError(
            f"{what} a column of {kind} with missing values, which no array of {values.dtype} holds (and floats would "
            f"round large integers): fill them first, with fillna(...) or fill_null(...)"
        )
    return values if isinstance(values, np.ndarray) else objects(values)


def objects(values: list[Any]) -> Array:
    """Return an array with these objects as entries."""
    made = np.empty(len(values), object)
    for index, value in enumerate(values):  # one by one: NumPy would take sequences apart
        made[index] = value
    return made


def _of_frame(frame: Any, what: str) -> Any:
    """Return the array of a data frame, whose columns NumPy converts to one dtype."""
    made = np.asarray(frame)
    for number, (name, given) in enumerate(columns_of(frame).items()):
        column = _of_column(given, what) if is_column(given) else np.asarray(given)
        is_converted = isinstance(column, np.ndarray) and column.dtype.kind in "iu" and made.dtype.kind in "fc"
        if is_converted and column.ndim == 1 and not _is_exact(column, made[:, number].real):
            raise LossError(
                f"{what} a table whose column {name!r} of {column.dtype} would be rounded to {made.dtype}, which its "
                f"columns have in common: give the columns one by one"
            )
    return made


def _is_exact(integers: Array, floats: Array) -> bool:
    """Return whether floats equal the integers that they were made of."""
    with np.errstate(invalid="ignore"):
        return bool((floats.astype(integers.dtype) == integers).all())
