"""Arguments of a call's own, where the caller's objects themselves are at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pardata.modules.function_name import function_name
from pardata.runtime.call_items import for_writing


class OnCopies:
    """A function that is called with copies of its arguments, which it may change."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self.__name__ = function_name(fn)  # for messages

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function. An array that is two of its arguments is one in the copies as well."""
        args, kwargs = for_writing((args, kwargs))
        return self._fn(*args, **kwargs)
