"""Descriptions of dtypes in files: NumPy's own, or the name of a registered type; other dtypes are refused.

NumPy's description is `dtype.str`. For a type that another package has registered (bfloat16) it gives the size only,
and it leaves the metadata of a dtype out: a reader would get another dtype.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import numpy as np

from pardata.errors import ConfigError, LossError

_REGISTERED: Final = 2  # `dtype.isbuiltin` of a type that was registered with NumPy
_IMPORTED: Final = ("ml_dtypes",)  # for a name in a file; no other module is imported because a file says so


def is_registered(dtype: np.dtype[Any]) -> bool:
    """Return whether a package other than NumPy has made this type."""
    return dtype.isbuiltin == _REGISTERED


def descr_of(dtype: np.dtype[Any], what: str) -> Any:
    """Return the description of a dtype in JSON: as in a ``.npy`` file, or for a registered type ``module:name``.

    Raises `LossError`, whose text begins with `what`, if no description gives the same dtype by `dtype_of`.
    """
    if is_registered(dtype) and dtype == np.dtype(dtype.type) and not has_metadata(dtype):
        return f"{dtype.type.__module__}:{dtype.type.__qualname__}"
    check_npy(dtype, what)
    return np.lib.format.dtype_to_descr(dtype)


def dtype_of(descr: Any) -> np.dtype[Any]:
    """Return the dtype that `descr_of` was given. Raises `ConfigError` if its package is not installed."""
    if not isinstance(descr, str) or ":" not in descr:
        kind: np.dtype[Any] = np.lib.format.descr_to_dtype(descr)  # type: ignore[arg-type]
        return kind
    module, _, name = descr.partition(":")
    try:
        found = importlib.import_module(module) if module in _IMPORTED else sys.modules[module]
        made: np.dtype[Any] = np.dtype(getattr(found, name))
    except (ImportError, KeyError, AttributeError, TypeError) as error:
        raise ConfigError(f"values of the dtype {name!r} need the package {module}: import it first") from error
    if not is_registered(made):
        raise ConfigError(f"{descr} is no dtype that {module} has registered with NumPy")
    return made


def has_metadata(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype, or one in it, has metadata."""
    inner = [dtype.subdtype[0]] if dtype.subdtype else [field[0] for field in (dtype.fields or {}).values()]
    return bool(dtype.metadata) or any(map(has_metadata, inner))


def survives_npy(dtype: np.dtype[Any]) -> bool:
    """Return whether a ``.npy`` file describes a dtype completely."""
    if dtype.hasobject or is_registered(dtype) or has_metadata(dtype):
        return False
    try:
        return bool(np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype)) == dtype)
    except (ValueError, TypeError):  # fields that overlap
        return False


def check_npy(dtype: np.dtype[Any], what: str) -> None:
    """Raise `LossError` for a dtype that a ``.npy`` file cannot describe."""
    if survives_npy(dtype):
        return
    if has_metadata(dtype):
        raise LossError(
            f"{what} cannot hold the metadata of {dtype!r}: convert to a dtype without them, or use write_pieces"
        )
    where = "PagedFile, write_pieces and Table keep it" if is_registered(dtype) else "write_pieces and Table keep it"
    raise LossError(
        f"{what} cannot hold {dtype}, which would come back as another dtype: {where}, or give the bytes, "
        f"array.view('u{dtype.itemsize}')"
        if dtype.itemsize in (1, 2, 4, 8)
        else f"{what} cannot hold {dtype}, which would come back as another dtype: {where}"
    )
