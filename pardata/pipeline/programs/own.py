"""A stage whose function brings its program with it: the ends of islands, which are on other machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pardata.errors import InternalError
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage


class OwnProgram(ABC):
    """Stands as the function of a stage, and is never called as one."""

    @abstractmethod
    def program(self, stage: Stage, plan: Plan, seed: int) -> Any:
        """Return the program that the worker of the stage runs, a thread; `seed`: of the run's random numbers."""

    def __call__(self, item: Any) -> Any:
        """Raise InternalError."""
        raise InternalError(f"{self!r} was called as a function")
