"""A batch, assembled in place: each item is written where it belongs when it comes, so it is copied once.

The rules are those of torch's `default_collate`: arrays, tensors and numbers get a first axis, texts become a list
(within sequences a tuple), and of containers a container of such fields is made (of a tuple, a list).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pardata.errors import ConfigError
from pardata.feeding.arrays import Array, as_array, check_torch_has, for_tensor, is_bits
from pardata.feeding.fields import FieldOfRows, field_for
from pardata.feeding.trees import Leaf, with_leaves


class PackedBatch(NamedTuple):
    """A batch on its way to the loop.

    Parameters
    ----------
    tree : containers with a `Leaf` for each array
    arrays : list of arrays
    is_assembled : bool
        The arrays were made for this batch, and nobody else has them. They travel read-only, as then a worker sends
        them where they lie; the receiver may make them writable.
    """

    tree: Any
    arrays: list[Array]
    is_assembled: bool


class Assembly:
    """A batch of up to `size` items that is being assembled.

    Parameters
    ----------
    tensors : bool
        Arrays and numbers are to be tensors of torch, of native byte order.
    """

    def __init__(self, size: int, tensors: bool) -> None:
        self.rows = 0
        self._size = size
        self._tensors = tensors
        self._field: FieldOfRows | None = None

    def add(self, item: Any) -> None:
        """Write the next item. Raises TypeError for what cannot be put together, ValueError for what does not fit."""
        if self._field is None:
            self._field = field_for(item, self._size, self._tensors, "")
        self._field.put(self.rows, item)
        self.rows += 1

    def finish(self) -> PackedBatch:
        """Return the batch of the items so far, at least one."""
        arrays: list[Array] = []
        assert self._field is not None
        tree = self._field.finish(self.rows, arrays)
        return PackedBatch(tree, arrays, True)


def pack(tree: Any, tensors: bool | None) -> PackedBatch:
    """Return a batch, or a single item, that somebody else has put together.

    Parameters
    ----------
    tensors : bool, optional
        Its arrays are to be tensors, or its tensors arrays (and its tuples lists, as torch's `default_convert` has it);
        None: it is to arrive as it is.
    """
    arrays: list[Array] = []

    def taken(leaf: Any) -> Any:
        found = as_array(leaf)
        if found is None or (tensors is None and not found[1]) or (not tensors and isinstance(leaf, np.generic)):
            return leaf
        array, tensor = found
        if tensors is False and is_bits(tensor, array):
            raise TypeError(f"an item has a tensor of torch.{tensor}, which NumPy has not: convert it, as by .float()")
        if tensors:
            check_torch_has(array.dtype, "an item has")
            array = for_tensor(array)
        arrays.append(array)
        return Leaf(len(arrays) - 1, "" if tensors is False else tensor or array.dtype.name)

    return PackedBatch(with_leaves(taken, tree, tensors is not None), arrays, False)


def check_collate(collate: object) -> None:
    """Raise ConfigError if `collate` is no function."""
    if collate is not None and not callable(collate):
        raise ConfigError(f"collate must be a function of a list of items, not {type(collate).__name__}")
