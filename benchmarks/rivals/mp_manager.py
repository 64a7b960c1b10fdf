"""`multiprocessing.Manager().dict()`: a dict in a process of its own, asked through a proxy."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

from benchmarks.rivals import rival


class Rival(rival.Rival):
    def lookup(
        self, place: str, keys: Any, values: Any, look: Callable[..., list[float]], *arguments: Any
    ) -> list[float]:
        context = multiprocessing.get_context("fork")
        with context.Manager() as managed, context.Pool(1) as pool:
            lookup = managed.dict(zip(keys.tolist(), values.tolist(), strict=True))
            found: list[float] = pool.apply(look, (lookup, *arguments))
            return found
