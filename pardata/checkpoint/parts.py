"""The parts of which values consist, in an order that is the same in every process. Pure."""

from __future__ import annotations

import copyreg
import itertools
from typing import Any, Final

_SAMPLES: Final = 64
_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})  # `marshal` writes them in one way only
_BUILTIN: Final[tuple[Any, ...]] = (
    list, tuple, dict, set, frozenset, str, bytes, bytearray, int, float, complex,
)  # fmt: skip


def is_plain(values: Any) -> bool:
    """Return whether a list holds only numbers and texts, or tuples of such."""
    kinds = set(map(type, values))
    if kinds == {tuple}:
        kinds = set(map(type, itertools.chain.from_iterable(values)))
    return kinds <= _PLAIN


def sampled(values: Any) -> Any:
    """Return a sequence, or some entries of a long one: the first, the last, and evenly between."""
    if len(values) <= _SAMPLES:
        return values
    return [values[at * (len(values) - 1) // (_SAMPLES - 1)] for at in range(_SAMPLES)]


def contents_of(value: Any) -> list[Any]:
    """Return what an object is as a list, a text and the like, if its class is derived from one of them."""
    return [base(value) for base in _BUILTIN if isinstance(value, base)]


def state_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object, also those in slots."""
    slots = {name for kind in type(value).__mro__ for name in _slots_of(kind)}
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    state = getattr(value, "__dict__", None)
    return dict(sorted({**found, **(state if isinstance(state, dict) else {})}.items()))


def _slots_of(kind: type) -> list[str]:
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    private = f"_{kind.__name__.lstrip('_')}"
    return [f"{private}{name}" if name.startswith("__") and not name.endswith("__") else name for name in names]


def reduced(value: Any) -> list[Any]:
    """Return the parts of which a copy of an object is made (as `pickle` does it); nothing if it has no copy."""
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        made: Any = value.__reduce_ex__(4) if reduce is None else reduce(value)
        if not isinstance(made, tuple):
            return [made]
        return [*made[:3], *(part if part is None else list(part) for part in made[3:5])]
    except Exception:
        return []
