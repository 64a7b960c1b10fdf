"""Options of pools, checked."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from math import isfinite
from types import MethodType
from typing import Any, Final

import numpy as np

from pardata.errors import ConfigError
from pardata.memory.sizes import count_bytes
from pardata.modules.function_name import function_name
from pardata.pool.configuration import Setup
from pardata.runtime.library_limits import share_cores, usable_cores
from pardata.runtime.native import as_native

MAY_AWAIT: Final = (MethodType, partial)  # `inspect` finds out


def check_awaits_nothing(fn: Any) -> None:
    """Raise `ConfigError` for a coroutine function: a worker would make a coroutine, and nobody runs it."""
    if inspect.iscoroutinefunction(fn):
        name = function_name(fn)
        raise ConfigError(
            f"{name!r} is a coroutine function, and a pool's worker awaits nothing: give it to a stream, as "
            f"pardata.source(items).map({name}), or call asyncio.run in a function"
        )


def count_workers(workers: int | None, max_workers: int | None) -> int:
    """Return the number of workers that is meant."""
    if workers is not None and max_workers is not None:
        raise ConfigError("workers and max_workers are two names for the same: give one")
    if max_workers is not None:
        if not isinstance(max_workers, int) or isinstance(max_workers, bool):
            raise ConfigError(f"max_workers must be an int, not {max_workers!r}")
        if max_workers < 1:
            raise ConfigError("max_workers must be greater than 0")
        return max_workers
    if workers is None:
        return usable_cores()
    if isinstance(workers, np.integer):
        workers = int(workers)
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise ConfigError(f"workers must be an int of at least 1, not {workers!r}")
    return workers


def check_setup(setup: Setup) -> Setup:
    """Return the setup as a pool takes it, with a seed. Raises `ConfigError` if something in it cannot be."""
    check_least("max_tasks_per_worker", setup.max_tasks_per_worker, int, 1)
    memory_limit = None if setup.memory_limit is None else count_bytes("memory_limit", setup.memory_limit)
    check_timeout(setup.timeout_s)
    check_least("retries", setup.retries, int, 0)
    for what, fn in (("initializer", setup.initializer), ("finalizer", setup.finalizer)):
        if fn is not None and not callable(fn):
            raise ConfigError(f"{what} must be a function, not {type(fn).__name__}")
    for what, arguments in (("initargs", setup.initargs), ("finalargs", setup.finalargs)):
        if isinstance(arguments, str) or not isinstance(arguments, Iterable):
            raise ConfigError(f"{what} must be a tuple of arguments, as ({arguments!r},), not {arguments!r}")
    if not isinstance(setup.name, str):
        raise ConfigError(f"name must be a str, not {setup.name!r}")
    check_least("seed", setup.seed, int, 0)
    seed = int.from_bytes(os.urandom(8), "little") if setup.seed is None else setup.seed
    setup = replace(
        setup,
        memory_limit=memory_limit,
        initargs=tuple(setup.initargs),
        finalargs=tuple(setup.finalargs),
        seed=seed,
        cores=share_cores(setup.workers),
    )
    if not setup.native:
        return setup
    initargs, finalargs, shared = as_native((setup.initargs, setup.finalargs, setup.shared))
    return replace(setup, initargs=initargs, finalargs=finalargs, shared=shared)


def check_writable(value: Any) -> bool:
    """Return the option. Raises `ConfigError` unless it is a bool."""
    if not isinstance(value, bool):
        raise ConfigError(f"writable must be True or False, not {value!r}")
    return value


def check_least(name: str, value: Any, kind: Any, least: float) -> None:
    """Raise `ConfigError` unless an option is None, or a number of that kind and at least that large."""
    if isinstance(value, np.number):
        value = value.item()
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool) or value < least):
        what = "an int" if kind is int else "a number"
        raise ConfigError(f"{name} must be at least {least} and {what}, not {value!r}")


def check_timeout(value: Any) -> None:
    """Raise `ConfigError` unless a time limit is None, or a positive number of seconds."""
    check_least("timeout_s", value, int | float, 0)
    if value is not None and not (value > 0 and isfinite(value)):
        raise ConfigError(f"timeout_s must be a number of seconds above 0, not {value!r}; None is no limit")
