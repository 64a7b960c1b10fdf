"""Arrays of a batch become tensors of torch, and pinned ones. torch is imported when it is needed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pardata.codec.picklers import pickle_by_value_as
from pardata.errors import MissingExtraError
from pardata.feeding.arrays import as_array
from pardata.feeding.trees import with_leaves
from pardata.process.capacity import loading


def load_torch() -> Any:
    """Import torch. Raises MissingExtraError if it is not installed."""
    try:
        with loading("torch"):
            import torch
    except ImportError as error:
        raise MissingExtraError('torch is not installed: pip install "pardata[torch]"') from error
    return torch


def tensor_of(array: Any, name: str) -> Any:
    """Return a tensor over the memory of an array, which it keeps; `name` is that of its dtype in torch."""
    torch = load_torch()
    made = torch.from_numpy(array)
    dtype = getattr(torch, name, made.dtype)
    return made if made.dtype is dtype else made.view(dtype)  # the array has the bits of a dtype that NumPy has not


def send_tensors_as_arrays() -> None:
    """Have the tensors of datasets travel as arrays do: in one memory for all workers, until one writes to it.

    torch's own way is a copy of the bytes for each worker, and two more on the way.
    """
    pickle_by_value_as(load_torch().Tensor, _reduce)


def _reduce(tensor: Any) -> Any:
    found = None if tensor.requires_grad or tensor.device.type != "cpu" or tensor.__dict__ else as_array(tensor)
    return tensor.__reduce_ex__(5) if found is None else (tensor_of, found)


def can_pin() -> bool:
    """Return whether memory can be pinned: there is an accelerator. Warns if not, as DataLoader does."""
    torch = load_torch()
    if getattr(torch, "accelerator", torch.cuda).is_available():  # before torch 2.6 it has no name for all of them
        return True
    warnings.warn("pin_memory=True, but torch finds no accelerator: nothing is pinned", stacklevel=4)
    return False


def pinned(tree: Any) -> Any:
    """Return a batch with its tensors copied to pinned memory."""
    return with_leaves(lambda leaf: leaf.pin_memory() if hasattr(leaf, "pin_memory") else leaf, tree)


def pinned_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield pinned batches; while the loop works on one, a thread copies the next."""
    with ThreadPoolExecutor(1, "pardata-pin") as thread:
        ahead = None
        try:
            for batch in batches:
                copied, ahead = ahead, thread.submit(pinned, batch)
                del batch
                if copied is not None:
                    yield copied.result()
        except Exception:  # comes behind the batch that was made before it
            if ahead is not None:
                yield ahead.result()
            raise
        if ahead is not None:
            yield ahead.result()
