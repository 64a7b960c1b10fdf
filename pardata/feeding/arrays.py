"""The arrays of items: NumPy's, and those of torch where the dataset has imported it. torch itself is not imported."""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np

from pardata.errors import LossError

Array = np.ndarray[Any, Any]

_BITS: Final = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}  # torch's dtypes that hold the bits of another one


def as_array(value: Any) -> tuple[Array, str] | None:
    """Return an array or tensor as an array over the same memory, and the name of torch's dtype; None: it is neither.

    The name is "" for what is no tensor. A tensor whose dtype NumPy has not is an array of the same bits.
    """
    if isinstance(value, np.ndarray | np.generic):
        if isinstance(value, np.ma.MaskedArray):
            raise LossError("a masked array in a batch would lose its mask: return its data and its mask as two fields")
        array = np.asarray(value)
        return None if array.dtype.hasobject or array.dtype.kind in "OSUT" else (array, "")
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        return None
    return _of_tensor(torch, value)


def _of_tensor(torch: Any, tensor: Any) -> tuple[Array, str] | None:
    if tensor.is_nested or tensor.layout is not torch.strided or tensor.is_quantized:
        return None
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    name = str(plain.dtype).removeprefix("torch.")
    try:
        return plain.numpy(), name
    except TypeError:  # bfloat16, and other dtypes that NumPy has not
        return plain.view(getattr(torch, _BITS[plain.element_size()])).numpy(), name
