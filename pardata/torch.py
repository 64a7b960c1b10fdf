"""Tensors for training loops with torch: `pardata.torch.Loader`. torch is imported when a loader is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from pardata.feeding.feed import Feed
from pardata.feeding.tensors import can_pin, load_torch, pinned_ahead
from pardata.runtime.option_names import OF_LOADERS, tells_options

__all__ = ["Loader"]


class Loader(Feed):
    """Batches of tensors for a training loop, in the place of torch's `DataLoader`: `pardata.batches` with tensors.

    Tensors lie in the shared memory in which workers have written them; they are writable, and nothing is copied. Of
    arrays, tensors and numbers tensors are made; they have the dtypes that `DataLoader` gives them.

    Parameters
    ----------
    dataset, batch_size, shuffle, sampler, batch_sampler, workers, collate, drop_last
        As of `pardata.batches`. A result of `collate` arrives as it is, tensors in it without pickling them.
    seed : int, at least 0, optional
        As of `pardata.batches`. Default: drawn from torch's global generator, so `torch.manual_seed` decides on it.
    pin_memory : bool
        Copy tensors to pinned memory, one batch ahead, by a thread. Without an accelerator: a warning, and no copy.

    Raises
    ------
    MissingExtraError
        torch is not installed.
    ConfigError
        As of `pardata.batches`.

    Examples
    --------
    >>> import torch, pardata.torch
    >>> from torch.utils.data import TensorDataset
    >>> images, labels = torch.zeros(10, 3, 4, 4), torch.arange(10)
    >>> with pardata.torch.Loader(TensorDataset(images, labels), batch_size=4, workers=2) as loader:
    ...     for image, label in loader:
    ...         print(tuple(image.shape), label.tolist())
    (4, 3, 4, 4) [0, 1, 2, 3]
    (4, 3, 4, 4) [4, 5, 6, 7]
    (2, 3, 4, 4) [8, 9]
    """

    _tensors: ClassVar[bool] = True

    @tells_options(OF_LOADERS)
    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        *,
        shuffle: bool = False,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Iterable[Any]] | None = None,
        workers: int | None = None,
        collate: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        seed: int | None = None,
    ) -> None:
        load_torch()
        super().__init__(
            dataset, batch_size, shuffle=shuffle, sampler=sampler, batch_sampler=batch_sampler, workers=workers,
            collate=collate, drop_last=drop_last, seed=seed,
        )  # fmt: skip
        self._pins = pin_memory and can_pin()

    def _arriving(self, batches: Iterator[Any]) -> Iterator[Any]:
        return pinned_ahead(batches) if self._pins else batches

    def _new_seed(self) -> int:
        torch = load_torch()
        return int(torch.empty((), dtype=torch.int64).random_().item())
