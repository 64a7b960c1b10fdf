"""Who gives an option that a function does not have is told what it is called here."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Final, ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_ELSEWHERE: Final = {
    **dict.fromkeys(("n_jobs", "processes", "num_processes", "nprocesses", "num_workers", "ncpus"), "workers"),
    **dict.fromkeys(("max_tasks_per_child", "maxtasksperchild", "worker_lifespan"), "max_tasks_per_worker"),
    **dict.fromkeys(("timeout", "task_timeout"), "timeout_s"),
    **dict.fromkeys(("chunks", "chunk_size", "block_size"), "chunksize"),
    **dict.fromkeys(("depth", "overlap"), "halo"),
    **dict.fromkeys(("progress_bar", "verbose"), "progress"),
    "shared_objects": "shared",
    "worker_init": "initializer",
    "worker_exit": "finalizer",
    "collate_fn": "collate",
    "generator": "seed",
}  # names of multiprocessing, concurrent.futures, joblib, mpire, dask and torch

_COUNTS: Final = ("workers", "n_jobs", "num_workers", "processes", "max_workers")

# What is to be said of options that a function has no counterpart of.
OF_STAGES: Final = {
    **dict.fromkeys(_COUNTS, "it is one of a stage, as in stream.map(fn, workers=2)"),
    **dict.fromkeys(
        ("retries", "errors", "timeout", "timeout_s", "chunksize"), "it is one of a stage: stream.map(fn, ...)"
    ),
}
OF_POOLS: Final = {
    **dict.fromkeys(_COUNTS, "it is one of the pool, as in pardata.WorkerPool(2)"),
    **dict.fromkeys(("retries", "timeout_s"), "it is one of the pool: pardata.WorkerPool(...)"),
}
OF_LOADERS: Final = {
    **dict.fromkeys(
        ("persistent_workers", "prefetch_factor", "multiprocessing_context"),
        "leave it out: workers stay, and work ahead",
    ),
    "worker_init_fn": "leave it out: random numbers do not depend on workers (docs/training.md)",
}


def meant_by(name: str, options: Collection[str]) -> str | None:
    """Return the option that somebody meant by another name, or None."""
    close = difflib.get_close_matches(name, options, 1, 0.75)
    here = _ELSEWHERE.get(name)
    return here if here in options else next(iter(close), None)


def tells_options(
    elsewhere: Mapping[str, str] | None = None,
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Have the `TypeError` of an option that a function does not have say which one is meant.

    `elsewhere` has what is to be said of options that it has no counterpart of.
    """

    def decorate(fn: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        code = fn.__code__
        options = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        known = frozenset(options)

        @wraps(fn)
        def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            if not known.issuperset(kwargs):
                _tell(fn.__qualname__.removesuffix(".__init__"), kwargs, options, elsewhere or {})
            return fn(*args, **kwargs)

        return checked

    return decorate


def _tell(function: str, given: Mapping[str, object], options: Collection[str], elsewhere: Mapping[str, str]) -> None:
    for name in given:
        if name in options:
            continue
        meant = meant_by(name, options)
        hint = elsewhere.get(name) or (meant and f"did you mean {meant!r}?")
        if hint:
            raise TypeError(f"{function}(): there is no option {name!r}; {hint}")
