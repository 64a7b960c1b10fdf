"""The iterators that runs have read as sources: no other run begins with what is left of them."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

from pardata.errors import ConfigError, MissingExtraError, PlatformError
from pardata.pipeline.plan.node import Node

_used_up: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # by `id`: some cannot be hashed


@contextlib.contextmanager
def using_up(sources: list[Node]) -> Iterator[None]:
    """Refuse a run over an iterator that an earlier one has read: it would be empty, or begin in the middle.

    If the block says that nothing was started, the iterators are as they were.
    """
    iterators = [node for node in sources if isinstance(node.fn, Iterator)]
    for node in iterators:
        if id(_lasting(node)) in _used_up:
            raise ConfigError(
                f"source {node.name!r} ({node.where}) is an iterator that an earlier run has read; a list, an array or "
                f"a generator function can be run again"
            )
    used = {id(lasting): lasting for lasting in map(_lasting, iterators)}
    _used_up.update(used)
    try:
        yield
    except (ConfigError, MissingExtraError, PlatformError):
        for key in used:
            _used_up.pop(key, None)
        raise


def _lasting(node: Node) -> Any:
    """Return the iterator of a source; where it cannot be remembered, as those of lists, the source itself."""
    return node.fn if type(node.fn).__weakrefoffset__ else node
