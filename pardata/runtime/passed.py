"""Objects that go from stage to stage themselves, as they cannot be pickled: each as one item only."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from pardata.errors import SerializationError
from pardata.runtime.faults import Fault
from pardata.runtime.worker.program import StageFailure


class Passed:
    """The objects that a generator has handed on uncopied, because they cannot be pickled.

    None of them may be handed on again as another item: the readers of the first would see the changed contents.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._known: dict[int, tuple[Callable[[], Any], int]] = {}

    def check(self, obj: Any, number: int) -> None:
        """Note that `obj` is item `number`; raises StageFailure if it was another one before."""
        key = id(obj)
        known, before = self._known.get(key, (None, number))
        if known is not None and known() is obj and before != number:
            refused = SerializationError(
                f"stage {self._stage!r} yields one {type(obj).__qualname__} again and again, and it cannot be pickled "
                f"to keep what it was: yield a copy of it, or what is to be known of it"
            )
            raise StageFailure(Fault.of(refused, self._stage, number), refused)
        try:
            kept: Callable[[], Any] = weakref.ref(obj, lambda _: self._known.pop(key, None) and None)
        except TypeError:  # it cannot be referred to weakly
            return
        self._known[key] = kept, number
