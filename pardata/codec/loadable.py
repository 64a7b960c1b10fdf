"""Loads the other items of a message in which some cannot be loaded, and notes the errors of those."""

from __future__ import annotations

import contextlib
import gc
import io
import marshal
import pickle
import types
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from pardata.codec.access import Access
from pardata.codec.batch_codec import APART
from pardata.codec.exits import EXITS, may_be_ctrl_c
from pardata.codec.object_codec import PICKLE, arrays_of
from pardata.codec.picklers import BringArrays
from pardata.memory.array import Anchor

_MOST_LOOKED_AT: Final = 100_000
_SHARED: Final = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, str, bytes, int, float)


class Unloadable:
    """Stands in the place of an object that could not be loaded."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def _ignore(self, *_: Any) -> None:
        """Take no contents."""

    append = extend = add = __setitem__ = _ignore


# The unpickler in Python: steps of the one in C cannot be replaced.
class _LenientUnpickler(BringArrays, pickle._Unpickler):
    stack: list[Any]
    memo: dict[int, Any]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def persistent_load(self, pid: Any) -> Any:
        try:
            return super().persistent_load(pid)
        except Exception as error:
            self._others.append(Unloadable(error))  # type: ignore[arg-type]
            return self._others[-1]

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return super().find_class(module, name)
        except Exception as error:
            return Unloadable(error)

    def _call(self, make: Any, *args: Any, **kwargs: Any) -> None:
        """Replace the callable on the stack by the object that it makes; if a part is lost, by the first lost one."""
        lost = next((part for part in (make, *args, *kwargs.values()) if isinstance(part, Unloadable)), None)
        try:
            self.stack[-1] = make(*args, **kwargs) if lost is None else lost
        except (Exception, *EXITS) as error:
            if may_be_ctrl_c(error):
                raise
            self.stack[-1] = Unloadable(error)

    def _reduce(self) -> None:
        args = self.stack.pop()
        self._call(self.stack[-1], *args)

    def _newobj(self) -> None:
        args = self.stack.pop()
        kind = self.stack[-1]
        self._call(kind if isinstance(kind, Unloadable) else kind.__new__, kind, *args)

    def _newobj_ex(self) -> None:
        kwargs, args = self.stack.pop(), self.stack.pop()
        kind = self.stack[-1]
        self._call(kind if isinstance(kind, Unloadable) else kind.__new__, kind, *args, **kwargs)

    def _build(self) -> None:
        made = self.stack[-2]
        try:
            if isinstance(made, Unloadable):
                self.stack.pop()
            else:
                pickle._Unpickler.load_build(self)  # type: ignore[attr-defined]
        except (Exception, *EXITS) as error:
            if may_be_ctrl_c(error):
                raise
            lost = Unloadable(error)
            self.stack[:] = [lost if part is made else part for part in self.stack]
            for key in [key for key, part in self.memo.items() if part is made]:
                self.memo[key] = lost

    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.NEWOBJ[0]] = _newobj
    dispatch[pickle.NEWOBJ_EX[0]] = _newobj_ex
    dispatch[pickle.BUILD[0]] = _build


def decode_loadable(
    kind: int, payload: Any, anchors: Sequence[Anchor], access: Access, count: int, error: Exception
) -> list[Any]:
    """Return the `count` items of a message for which `decode` has raised `error`; `Unloadable` for those that fail.

    Parameters
    ----------
    error : Exception
        Stands for all items if it cannot be told which one it is.
    """
    try:
        if kind == PICKLE:
            items = _loaded(payload, anchors, access)
        elif kind == APART:
            parts = [(part, [anchors[index] for index in indices]) for part, indices in marshal.loads(payload)]
            items = [_loaded(part, own, access)[0] for part, own in parts]
        else:
            items = []
        found = [_first_unloadable(item) or item for item in items]
    except Exception:
        found = []
    is_told = len(found) == count and any(isinstance(item, Unloadable) for item in found)
    return found if is_told else [Unloadable(error)] * count


def load_parts(stream: Any) -> None:
    """Load what can be loaded of a pickle that cannot be as a whole, and drop it: arrays in it count as received."""
    with contextlib.suppress(Exception):
        _LenientUnpickler(io.BytesIO(stream), [], Access.READ).load()


def _loaded(payload: Any, anchors: Sequence[Anchor], access: Access) -> list[Any]:
    file = io.BytesIO(payload)
    items: list[Any] = _LenientUnpickler(file, arrays_of(file, anchors, access), access).load()
    return items


def _first_unloadable(item: Any) -> Unloadable | None:
    """Return an `Unloadable` that is somewhere in an item; None if there is none."""
    seen, waiting = {id(item)}, [item]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Unloadable):
            return part
        for inner in gc.get_referents(part):
            if id(inner) not in seen and not isinstance(inner, _SHARED):
                seen.add(id(inner))
                waiting.append(inner)
        if len(seen) > _MOST_LOOKED_AT:
            raise ValueError("too many parts to look at")
    return None
