"""Dask arrays on its process scheduler, which starts its pool for every call."""

from __future__ import annotations

from benchmarks.rivals import dask_threads


class Rival(dask_threads.Rival):
    scheduler = "processes"
    chunks = 16
