"""`multiprocessing.Pool` by spawn: the default on macOS and Windows, and what programs with threads must use."""

from __future__ import annotations

from benchmarks.rivals import mp_pool


class Rival(mp_pool.Rival):
    method = "spawn"
