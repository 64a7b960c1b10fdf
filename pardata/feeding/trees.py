"""The containers of a batch: walked, and copied with other leaves. Pure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Leaf:
    """Stands for an array within the containers of a batch, which travels beside them.

    Parameters
    ----------
    number : int
        Of the array.
    tensor : str
        The name of torch's dtype if it is to be a tensor; "" for an array.
    """

    number: int
    tensor: str


def with_leaves(fn: Callable[[Any], Any], tree: Any, lists: bool = False) -> Any:
    """Return a copy of the containers in `tree` (lists, tuples, mappings) with ``fn(leaf)`` in the place of each leaf.

    `lists`: plain tuples become lists.
    """
    kind = type(tree)
    if kind is list or kind is tuple:
        parts = [with_leaves(fn, part, lists) for part in tree]
        return parts if lists or kind is list else tuple(parts)
    if isinstance(tree, tuple) and hasattr(kind, "_fields"):
        return kind(*[with_leaves(fn, part, lists) for part in tree])
    if isinstance(tree, Mapping):
        return with_values(tree, {key: with_leaves(fn, value, lists) for key, value in tree.items()})
    return fn(tree)


def with_values(mapping: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """Return a mapping like `mapping`, its other properties included, with these values for its keys."""
    if type(mapping) is dict:
        return values
    try:
        if isinstance(mapping, MutableMapping):
            made = copy.copy(mapping)
            made.update(values)
            return made
        return type(mapping)(values)  # type: ignore[call-arg]
    except TypeError:  # it cannot be made in these ways
        return values
