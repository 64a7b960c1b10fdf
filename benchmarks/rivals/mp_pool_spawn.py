"""`multiprocessing.Pool` by spawn: the default on macOS and Windows, and necessary in programs with threads."""

from __future__ import annotations

from benchmarks.rivals import mp_pool


class Rival(mp_pool.Rival):
    method = "spawn"
