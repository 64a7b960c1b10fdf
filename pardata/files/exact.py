"""Convert an array to another dtype, unless a value would change."""

from __future__ import annotations

from typing import Any

import numpy as np

from pardata.errors import ConfigError

Array = np.ndarray[Any, Any]


def exact(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return the array in C order with another dtype.

    Floats may be rounded to shorter ones; all other values stay equal.

    Raises
    ------
    ConfigError
        The kinds do not fit, or a value would change.
    """
    same = array.dtype.newbyteorder("=") == dtype.newbyteorder("=")
    if (
        not same
        and not np.can_cast(array.dtype, dtype, "same_kind")
        and not {array.dtype.kind, dtype.kind} <= set("iu")
    ):
        raise ConfigError(f"{array.dtype} does not fit {dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.ascontiguousarray(array, dtype)
        if same or array.dtype.names is not None:
            return made
        changed = _changed(array, made)
    if changed.any():
        first = array[tuple(np.argwhere(changed)[0])]
        raise ConfigError(f"the value {first!r} of {array.dtype} does not fit {dtype}")
    return made


def _changed(array: Array, made: Array) -> Array:
    """Return which values have changed, as an array of booleans."""
    if array.dtype.kind in "fc" and made.dtype.kind in "fc":
        return np.asarray(np.isinf(made) & ~np.isinf(array))
    back = made.astype(array.dtype)
    changed = (back != array) | ((made < 0) != (array < 0) if array.dtype.kind in "iu" else False)
    return np.asarray(changed & ~np.isnat(array) if array.dtype.kind in "mM" else changed)
