"""The form in which an array crosses a channel: one rule for all picklers.

===================================  ===================================================================
an array                             goes as
===================================  ===================================================================
of Python objects                    its own pickle
in a named block                     its own pickle: the block's name
in a file that `numpy.memmap` maps   address in the file (`memory.mapped`)
any other `ndarray`                  plain memory, in its layout (`memory.layout`): in a block, or in the message
of a subclass                        the `ndarray` of its memory and, beside it, the rest of its state
===================================  ===================================================================

The state of a subclass is taken from the pickle of an array of it without entries. This form is used for classes of
which a small sample arrives in it exactly as by its own pickle; arrays of other classes go as their own pickle.
"""

from __future__ import annotations

import pickle
import weakref
from typing import Any, Final

import cloudpickle
import numpy as np

from pardata.memory.byte_order import is_native, native_array, native_dtype
from pardata.memory.mapped import mapping_of, rebuild_memmap
from pardata.memory.shared_array import is_array

Array = np.ndarray[Any, Any]

_carried: weakref.WeakKeyDictionary[type, dict[bool, bool]] = weakref.WeakKeyDictionary()
_OF_MEMMAP: Final = ("_mmap", "filename", "offset", "mode")
_MASKED_STATE: Final = ("_hardmask", "_optinfo", "_basedict", "_baseclass")


def reduce_subclass(array: Any) -> Any:
    """Return the reduced value of an array of a subclass, in which its memory is a plain array.

    NotImplemented if the array goes as its own pickle.
    """
    if is_array(array) or array.dtype.hasobject or (not array.nbytes and is_native(array.dtype)):
        return NotImplemented  # an array without entries has nothing that could be shared, but its byte order
    kind = type(array)
    plain = np.ndarray.view(array, np.ndarray)
    if kind is np.memmap and mapping_of(array) is not None:
        return rebuild_memmap, (plain, array.filename, array.offset, "r+" if array.mode == "w+" else array.mode)
    if kind is np.ma.MaskedArray:
        return _reduce_masked(array)
    return (_rebuild, (_sample(array), plain)) if _is_carried(array) else NotImplemented


def _sample(array: Any) -> Any:
    """Return an array without entries that has the rest of the state."""
    return _with_state(np.empty((0,) * max(1, array.ndim), native_dtype(array.dtype)), type(array), array)


def _with_state(plain: Array, kind: type[Array], holder: Any) -> Any:
    """Return an array as one of a subclass, with the attributes of `holder`."""
    made = np.ndarray.view(plain, kind)
    state = getattr(holder, "__dict__", None)
    if state is not None:
        made.__dict__.clear()
        made.__dict__.update(state)
    return made


def _rebuild(sample: Any, plain: Array) -> Any:
    return _with_state(plain, type(sample), sample)


def _is_carried(array: Any) -> bool:
    """Return whether arrays of this class arrive in this form as by their own pickle; tried out once per class."""
    known = _carried.setdefault(type(array), {})
    is_scalar = array.ndim == 0
    if is_scalar not in known:
        known[is_scalar] = not _has_slots(type(array)) and _is_carried_now(array)
    return known[is_scalar]


def _has_slots(kind: type) -> bool:
    return any(base.__dict__.get("__slots__") for base in kind.__mro__)


def _is_carried_now(array: Any) -> bool:
    if isinstance(array, np.ma.MaskedArray):
        return False  # its mask is of its shape
    plain = np.ndarray.view(array, np.ndarray)[(slice(0, 1),) * array.ndim].copy()
    plain = native_array(plain)  # the pickle of a subclass brings any other order back as that
    try:
        own = pickle.loads(cloudpickle.dumps(_with_state(plain, type(array), array), 5))
        made = _rebuild(pickle.loads(cloudpickle.dumps(_sample(array), 5)), plain)
        return _are_same(own, made)
    except Exception:  # the class does not support this form: its own pickle decides
        return False


def _are_same(own: Any, made: Any) -> bool:
    states = [getattr(array, "__dict__", {}) for array in (own, made)]
    return (
        type(own) is type(made)
        and own.dtype == made.dtype
        and own.dtype.metadata == made.dtype.metadata
        and own.shape == made.shape
        and np.ndarray.view(own, np.ndarray).tobytes() == np.ndarray.view(made, np.ndarray).tobytes()
        and list(states[0]) == list(states[1])
        and bool(cloudpickle.dumps(states[0]) == cloudpickle.dumps(states[1]))
    )


def _reduce_masked(array: Any) -> Any:
    mask = None if array._mask is np.ma.nomask else array._mask
    state = {name: array.__dict__[name] for name in _MASKED_STATE if name in array.__dict__}
    if "_mmap" in array._optinfo:  # NumPy notes there what a memmap, over which this array was made, has as attributes
        kept = {name: value for name, value in array._optinfo.items() if name not in _OF_MEMMAP}
        state |= dict.fromkeys(state.keys() & {"_optinfo", "_basedict"}, kept)
    return _rebuild_masked, (np.ndarray.view(array, np.ndarray), mask, array._fill_value, state)


def _rebuild_masked(data: Array, mask: Array | None, fill_value: Array | None, state: dict[str, Any]) -> Any:
    made = np.ndarray.view(data, np.ma.MaskedArray)
    made.__dict__.update(state.get("_optinfo", {}))  # attributes of the array under the mask, as a unit
    made.__dict__.update(
        state,
        _mask=np.ma.nomask if mask is None else mask,
        _fill_value=None if fill_value is None else np.array(fill_value),  # it is written to by `fill_value = ...`
        _sharedmask=False,
    )
    return made
