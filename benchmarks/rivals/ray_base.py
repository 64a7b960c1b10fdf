"""The start of Ray for its rivals: on this machine alone, without a dashboard, one logical CPU per worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray


@contextmanager
def running(cpus: int) -> Iterator[None]:
    """A local cluster; its object store is as large as it likes."""
    ray.init(
        num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR", configure_logging=False
    )
    try:
        yield
    finally:
        ray.shutdown()


@ray.remote
class Stage:
    """An actor for one function."""

    def __init__(self, fn: Any) -> None:
        self.fn = fn

    def call(self, *arguments: Any) -> Any:
        return self.fn(*arguments)

    def is_up(self) -> bool:
        return True


def stages(*functions: Any) -> list[Any]:
    """Actors for functions, up."""
    actors = [Stage.remote(fn) for fn in functions]
    ray.get([actor.is_up.remote() for actor in actors])
    return actors


def same(x: Any) -> Any:
    return x
