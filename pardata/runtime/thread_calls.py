"""Libraries that no variable tells their number of threads: their own calls do, when a worker has loaded them.

The inter-op threads of torch are left alone: torch raises at the second call that sets them, which would be the user's.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib.machinery import ModuleSpec
from typing import Any, Final


def _limit_blosc2(blosc2: Any, cores: int, given: Mapping[str, str]) -> None:
    """It counts the cores of the affinity mask, for itself and, whatever NUMEXPR_NUM_THREADS says, for numexpr."""
    if "NUMEXPR_NUM_THREADS" not in given:
        blosc2.numexpr.set_num_threads(cores)
    if "BLOSC_NTHREADS" not in given:
        blosc2.set_nthreads(cores)


def _limit_duckdb(duckdb: Any, cores: int, given: Mapping[str, str]) -> None:
    """Each of its databases has threads of its own, as many as the affinity mask has cores."""
    connect = duckdb.connect

    @wraps(connect)
    def connect_limited(*args: Any, **options: Any) -> Any:
        connection = connect(*args, **options)
        config = args[2] if len(args) > 2 else options.get("config")
        if "threads" not in (config or {}):
            with contextlib.suppress(duckdb.Error):  # the configuration is locked
                connection.execute(f"SET threads = {cores}")
        return connection

    connect_limited.__module__ = duckdb.__name__  # where it is found by that name, if a result refers to it
    duckdb.connect = connect_limited
    duckdb.default_connection().execute(f"SET threads = {cores}")


_CALLS: Final[dict[str, Callable[[Any, int, Mapping[str, str]], None]]] = {
    "blosc2": _limit_blosc2,
    "duckdb": _limit_duckdb,
}


class ThreadCalls:
    """A finder for `sys.meta_path` in front of the others: what they find is told its threads when it is loaded."""

    def __init__(self, cores: int, given: Mapping[str, str]) -> None:
        self._cores = cores
        self._given = given

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a library that has such a call, as the others find it."""
        if name not in _CALLS:
            return None
        finders = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in finders)
        found = next((spec for spec in specs if spec is not None), None)
        if found is not None and found.loader is not None:
            self._have_told(found.loader, name)
        return found

    def _have_told(self, loader: Any, name: str) -> None:
        run = loader.exec_module

        def run_and_tell(module: types.ModuleType) -> None:
            run(module)
            with contextlib.suppress(Exception):  # of a version that has no such call
                _CALLS[name](module, self._cores, self._given)

        loader.exec_module = run_and_tell


def tell_threads(cores: int, given: Mapping[str, str]) -> None:
    """Have libraries that this process loads from now on use `cores` threads, where `given` says nothing of it."""
    sys.meta_path.insert(0, ThreadCalls(cores, given))
