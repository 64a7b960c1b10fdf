"""A stage's function with more arguments than its item, or with an item that is its arguments."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from pardata.errors import ConfigError
from pardata.pipeline.plan.node import has_calls, name_of, no_function
from pardata.runtime.option_names import meant_by

_OPTIONS = (
    "workers", "ordered", "inplace", "writable", "chunksize", "errors", "max_errors", "retries", "timeout_s", "kind",
    "concurrency", "on", "name",
)  # fmt: skip


class Wrapped(ABC):
    """A function around `func`, which may be a stage with a state: each worker makes and opens its own."""

    func: Callable[..., Any]

    @abstractmethod
    def around(self, made: Callable[..., Any]) -> Callable[[Any], Any]:
        """Return the same around the object that a worker has made of `func`."""


class Following(Wrapped):
    """``func(item, *args, **keywords)``."""

    def __init__(self, func: Callable[..., Any], args: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        self.func = func
        self.args = args
        self.keywords = keywords

    def __call__(self, item: Any) -> Any:
        """Call the function."""
        return self.func(item, *self.args, **self.keywords)

    def around(self, made: Callable[..., Any]) -> Following:
        """Return the same around the object that a worker has made of `func`."""
        return Following(made, self.args, self.keywords)


class Unpacking(Wrapped):
    """``func(*item)``."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    def __call__(self, item: Any, *args: Any, **keywords: Any) -> Any:
        """Call the function."""
        return self.func(*item, *args, **keywords)

    def around(self, made: Callable[..., Any]) -> Unpacking:
        """Return the same around the object that a worker has made of `func`."""
        return Unpacking(made)


def with_arguments(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a function of one item. Raises `ConfigError` if `fn` does not take the arguments."""
    if not args and not kwargs:
        return fn
    if not callable(fn):
        raise ConfigError(f"map: {no_function(fn)}")
    _check(fn.func if isinstance(fn, Unpacking) else fn, args, kwargs, isinstance(fn, Unpacking))
    return Following(fn, args, kwargs)


def _check(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], unpacks: bool) -> None:
    if inspect.isgeneratorfunction(fn) or inspect.iscoroutinefunction(fn):
        return  # `new_stage` has more to say of these
    is_made = has_calls(fn)  # its objects are called
    try:
        signature = inspect.signature(fn.__call__ if is_made else fn)
    except (TypeError, ValueError):  # of some functions written in C
        return
    for name in kwargs:
        meant = meant_by(name, _OPTIONS)
        if meant is not None and name not in signature.parameters:
            raise ConfigError(f"map({name_of(fn)}): there is no option {name!r}; did you mean {meant!r}?")
    try:
        if unpacks:
            signature.bind_partial(**kwargs)
        else:
            signature.bind(*([None] * (1 + is_made)), *args, **kwargs)
    except TypeError as error:
        given = ", ".join(["item", *["..."] * len(args), *(f"{name}=..." for name in kwargs)])
        raise ConfigError(f"map({name_of(fn)}): it cannot be called with ({given}): {error}") from None
