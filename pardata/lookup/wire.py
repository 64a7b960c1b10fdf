"""The bodies of a look-up service's requests and answers: JSON, or arrays in NumPy's .npy format. Pure: no I/O.

JSON has no form for some values. They are objects of one member, which names the type:

      {"bytes": base64}    {"float": "nan"}    {"complex": [re, im]}    {"tuple": [...]}    {"dict": {...}}
      {"npy": base64}                          an array, or a NumPy scalar
      {"typed": ["module:name", npy]}          the same, of a dtype that is not NumPy's
      {"dtype": "<f8", "values": [...]}        a column of plain numbers

A body of arrays is one .npy after the other.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from pardata.lookup.base import Array, Columns
from pardata.memory.dtypes import check_npy, descr_of, dtype_of, is_registered, survives_npy
from pardata.memory.plain import objects

JSON: Final = "application/json"
NPY: Final = "application/x-npy"
MISSING_KEY: Final = "missing key"  # the error in an answer of status 404, if a key is the cause


def to_json(value: Any) -> Any:
    """Return a value in the form that `json.dumps` takes.

    Raises
    ------
    TypeError
        The value is of a type that cannot be sent.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if type(value) is complex:
        return {"complex": [to_json(value.real), to_json(value.imag)]}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        array = np.asarray(value)
        if is_registered(array.dtype):
            return {"typed": [descr_of(array.dtype, "a look-up service"), to_json(array.view(f"V{array.itemsize}"))]}
        check_npy(array.dtype, "a look-up service")
        return {"npy": base64.b64encode(to_npy([array])).decode()}
    if isinstance(value, list):
        return [to_json(entry) for entry in value]
    if isinstance(value, tuple):
        return {"tuple": [to_json(entry) for entry in value]}
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {"dict": {name: to_json(entry) for name, entry in value.items()}}
    raise TypeError(f"a value of type {type(value).__name__} cannot be sent by a look-up service")


def from_json(value: Any) -> Any:
    """Return the value that `to_json` was given; raise ValueError if that has not made `value`."""
    if isinstance(value, list):
        return [from_json(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ValueError("an object in a look-up's JSON has one member")
    ((kind, inner),) = value.items()
    if kind == "float" and inner in ("nan", "inf", "-inf"):
        return float(inner)
    if kind == "bytes" and isinstance(inner, str):
        return base64.b64decode(inner, validate=True)
    if kind == "complex" and isinstance(inner, list) and len(inner) == 2:
        return complex(*map(from_json, inner))
    if kind == "npy" and isinstance(inner, str):
        (array,) = from_npy(base64.b64decode(inner, validate=True))
        return array if array.ndim else array[()]
    if kind == "typed" and isinstance(inner, list) and len(inner) == 2:
        raw, dtype = np.asarray(from_json(inner[1])), dtype_of(inner[0])
        if raw.dtype != f"V{dtype.itemsize}":
            raise ValueError(f"an object in a look-up's JSON holds {raw.dtype} for {dtype}")
        return raw.view(dtype) if raw.ndim else raw.view(dtype)[()]
    if kind == "tuple" and isinstance(inner, list):
        return tuple(from_json(inner))
    if kind == "dict" and isinstance(inner, dict):
        return {name: from_json(entry) for name, entry in inner.items()}
    raise ValueError(f"an object in a look-up's JSON has the unknown member {kind!r}")


def to_npy(arrays: Iterable[Array]) -> bytes:
    """Return arrays without objects as one .npy after the other."""
    file = io.BytesIO()
    for array in arrays:
        np.lib.format.write_array(file, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
    return file.getvalue()


def from_npy(data: bytes) -> list[Array]:
    """Return the arrays of a body, read-only; raise ValueError for any other bytes, hostile ones too."""
    arrays = []
    position = 0
    while position < len(data):
        array, position = _one_npy(data, position)
        arrays.append(array)
    return arrays


def _one_npy(data: bytes, position: int) -> tuple[Array, int]:
    file = io.BytesIO(data[position : position + 70_000])  # no header of NumPy's is longer
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, is_fortran, dtype = read(file)
    except Exception as error:  # hostile bytes raise errors of many types
        raise ValueError(f"no .npy data: {error}") from error
    begin = position + file.tell()
    # The sizes are only claimed by the sender: no memory is reserved before they fit the bytes that have come.
    count = math.prod(shape)
    if (
        dtype.hasobject
        or dtype.itemsize == 0
        or min(shape, default=0) < 0
        or len(data) - begin < count * dtype.itemsize
    ):
        raise ValueError(f"no .npy data: an array of {shape} {dtype} is not in {len(data) - begin} bytes")
    array = np.ndarray(shape, dtype, data, begin, order="F" if is_fortran else "C") if count else np.empty(shape, dtype)
    return array, begin + count * dtype.itemsize


def _column_to_json(column: Array) -> Any:
    if column.dtype.hasobject:
        return [to_json(value) for value in column.tolist()]
    is_plain = (column.ndim == 1 and survives_npy(column.dtype)) and (
        column.dtype.kind in "biu" or (column.dtype.kind == "f" and np.isfinite(column).all())
    )
    return {"dtype": column.dtype.str, "values": column.tolist()} if is_plain else to_json(column)


def _column_from_json(value: Any) -> Array:
    if isinstance(value, dict) and "dtype" in value:
        return np.array(value["values"], value["dtype"])
    made = from_json(value)
    return made if isinstance(made, np.ndarray) else objects(made)


def pack(first: Array, columns: Columns, wants_npy: bool) -> tuple[bytes, str]:
    """Return a body and its content type.

    Arrays are sent as .npy if the client accepts that and the format holds the dtypes of all of them.

    Parameters
    ----------
    first : array, shape (n,)
        Which keys were found (bool), or keys.
    columns : dict of arrays, shape (m, ...)
    wants_npy : bool

    Raises
    ------
    TypeError
        As `to_json`.
    """
    arrays = [first, *columns.values()]
    if wants_npy and all(survives_npy(array.dtype) for array in arrays):
        return to_npy(arrays), NPY
    body = {
        "first": _column_to_json(first),
        "columns": [_column_to_json(column) for column in columns.values()],
        "names": list(columns),
    }
    return json.dumps(body).encode(), JSON


def unpack(body: bytes, kind: str, names: Sequence[str | None]) -> tuple[Array, Columns]:
    """Return the first array and the columns of a body; raise ValueError for other bytes."""
    if kind == NPY:
        first, *columns = from_npy(body)
    else:
        said = json.loads(body)
        first = _column_from_json(said["first"])
        columns = [_column_from_json(column) for column in said["columns"]]
    return first, dict(zip(names, columns, strict=True))
