"""Imported by the fork server alone: the work of a worker, and what each worker would have to look for by itself."""

from __future__ import annotations

from pardata.memory.born.library import load_error
from pardata.memory.segment import are_huge_by_default
from pardata.process.system import libc
from pardata.runtime.library_limits import numpys_openblas
from pardata.runtime.settings import note_settings
from pardata.runtime.worker.main import main

__all__ = ["main"]

are_huge_by_default()
load_error()
numpys_openblas()
note_settings()
libc().mallopt, libc().fflush  # looked up once
