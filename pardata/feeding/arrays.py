"""The arrays of items: NumPy's, and those of torch where the dataset has imported it. torch itself is not imported."""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np

from pardata.errors import LossError

Array = np.ndarray[Any, Any]

_NOT_NUMBERS: Final = frozenset("OSUT")  # kinds of dtypes: objects and texts
_BITS: Final = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}  # torch's dtypes that hold the bits of another one
_names: dict[Any, str] = {}  # of torch's dtypes


def as_array(value: Any) -> tuple[Array, str] | None:
    """Return an array or tensor as an array over the same memory, and the name of torch's dtype; None: it is neither.

    The name is "" for what is no tensor. A tensor whose dtype NumPy has not is an array of the same bits.
    """
    if type(value) is not np.ndarray:
        if not isinstance(value, np.ndarray | np.generic):
            torch = sys.modules.get("torch")
            return _of_tensor(torch, value) if torch is not None and isinstance(value, torch.Tensor) else None
        if isinstance(value, np.ma.MaskedArray):
            raise LossError("a masked array in a batch would lose its mask: return its data and its mask as two fields")
        value = np.asarray(value)
    dtype = value.dtype
    return None if dtype.kind in _NOT_NUMBERS or dtype.hasobject else (value, "")


def check_torch_has(dtype: np.dtype[Any], place: str) -> None:
    """Raise TypeError if torch has no such numbers; the message begins with `place`."""
    if dtype.kind not in "biufc" or dtype.char in "gG":  # g, G: long double
        raise TypeError(f"{place} an array of {dtype}, which torch has not: convert it, as by .astype(float)")


def for_tensor(array: Array) -> Array:
    """Return an array over whose memory a tensor can be made: itself, or a copy."""
    if array.flags.writeable and array.dtype.isnative and min(array.strides, default=0) >= 0:
        return array
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def _of_tensor(torch: Any, tensor: Any) -> tuple[Array, str] | None:
    try:
        return tensor.numpy(), _names[tensor.dtype]
    except (KeyError, RuntimeError, TypeError):  # it is one of the others
        return _of_any_tensor(torch, tensor)


def _of_any_tensor(torch: Any, tensor: Any) -> tuple[Array, str] | None:
    if tensor.is_nested or tensor.layout is not torch.strided or tensor.is_quantized:
        return None
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    name = _names[plain.dtype] = str(plain.dtype).removeprefix("torch.")
    try:
        return plain.numpy(), name
    except TypeError:  # bfloat16, and other dtypes that NumPy has not
        return plain.view(getattr(torch, _BITS[plain.element_size()])).numpy(), name


def is_bits(tensor: str, array: Array) -> bool:
    """Return whether an array holds the bits of torch's numbers, not the numbers."""
    return tensor != "" and tensor != array.dtype.name
