"""An error of the user's code crosses a process boundary and is raised at the caller."""

from __future__ import annotations

import itertools
import pickle
import traceback
from dataclasses import dataclass
from typing import Any, Final

import cloudpickle
import numpy as np

from pardata.errors import RemoteError, RemoteTraceback

_LONGEST_TEXT: Final = 20_000
_LONGEST_PICKLE: Final = 60_000


def describe_item(item: object) -> str:
    """Return `item` for a person, in at most 200 characters.

    The contents of arrays are left out, as they are not looked at: to read a page of a mapped file may be what has
    killed the workers.
    """
    try:
        text = _text(item, 4)
    except Exception:
        text = f"<{type(item).__name__} whose repr fails>"
    return text if len(text) <= 200 else text[:197] + "..."


def _text(item: Any, depth: int) -> str:
    if isinstance(item, np.ndarray):
        return f"array of shape {item.shape}, {item.dtype}"
    kind = type(item)
    if not depth or kind not in (tuple, list, dict):
        return repr(item)
    parts = [_text(part, depth - 1) for part in itertools.islice(item.values() if kind is dict else item, 100)]
    if kind is dict:
        return f"{{{', '.join(f'{key!r}: {part}' for key, part in zip(item, parts, strict=False))}}}"
    if kind is list:
        return f"[{', '.join(parts)}]"
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


NO_ITEM: Final = object()


@dataclass(frozen=True)
class Fault:
    """An exception on its way: all of it as text, and the object itself if it survives pickling."""

    stage: str
    number: int
    item: str
    kind: str
    text: str
    trace: str
    pickled: bytes | None

    @classmethod
    def of(
        cls,
        error: BaseException,
        stage: str,
        number: int = -1,
        item: object = NO_ITEM,
        most_bytes: int = _LONGEST_PICKLE,
    ) -> Fault:
        """Describe an exception that was just caught; one whose pickle is longer than `most_bytes` loses its type."""
        trace = "".join(traceback.format_exception(error))
        text = _text_of(error)
        return cls(
            stage,
            number,
            "" if item is NO_ITEM else describe_item(item),
            f"{type(error).__module__}.{type(error).__qualname__}",
            text[:_LONGEST_TEXT],
            trace[-_LONGEST_TEXT:],
            _round_trip(error, most_bytes),
        )

    def shortened(self, longest: int) -> Fault:
        """Return it with texts of so many characters at the most; it loses its type if that takes far more bytes."""
        keeps_type = self.pickled is not None and len(self.pickled) <= 8 * longest
        return Fault(
            self.stage[:longest],
            self.number,
            self.item[:longest],
            self.kind[:longest],
            self.text[:longest],
            self.trace[-longest:],
            self.pickled if keeps_type else None,
        )

    @property
    def error(self) -> str:
        """Type and text, in one line."""
        return f"{self.kind.removeprefix('builtins.')}: {self.text}"

    @property
    def note(self) -> str:
        """The place of the error: stage, item number and item, as far as they are known."""
        number = f", item {self.number}" if self.number >= 0 else ""
        return f"in stage {self.stage!r}{number}" + (f": {self.item}" if self.item else "")

    def exception(self) -> BaseException:
        """Return the exception to raise: of its own type, with a note and the remote traceback as its cause."""
        error: BaseException | None = None
        if self.pickled is not None:
            try:
                error = pickle.loads(self.pickled)
            except Exception:
                error = None
        if not isinstance(error, BaseException):
            error = RemoteError(self.error)
        if isinstance(error, StopIteration):  # it would end the caller's loop silently (PEP 479)
            error = RuntimeError("the function raised StopIteration")
        error.add_note(self.note)
        error.__cause__ = RemoteTraceback(self.trace)
        return error


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:
        return f"<its __str__ raised {type(failure).__name__}>"


def exit_as_error(error: BaseException) -> BaseException:
    """Return the error to tell for an exception that would end a worker, or the caller's program, without a word.

    Those are `SystemExit`, `KeyboardInterrupt` (not a Ctrl-C, which workers ignore) and `GeneratorExit`; all others are
    told as they are.
    """
    if isinstance(error, SystemExit):
        text = f"the function called sys.exit({error.code!r})"
    elif isinstance(error, KeyboardInterrupt | GeneratorExit):
        text = f"the function raised {type(error).__name__}"
    else:
        return error
    return RuntimeError(text).with_traceback(error.__traceback__)


def rebuild(kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    """Return an exception without calling its constructor, which may want other arguments than it passes on."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class _Rebuilt:
    """Pickles as an exception whose own pickle cannot be read back."""

    def __init__(self, error: BaseException) -> None:
        self._parts = (type(error), error.args, {k: v for k, v in error.__dict__.items() if k != "__notes__"})

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, self._parts


def _round_trip(error: BaseException, most_bytes: int) -> bytes | None:
    """Return the pickled exception if it can be unpickled again to the same type."""
    return _attempt(error, error, most_bytes) or _attempt(_Rebuilt(error), error, most_bytes)


def _attempt(pickled: object, error: BaseException, most_bytes: int) -> bytes | None:
    try:
        data: bytes = cloudpickle.dumps(pickled, protocol=5)
        again: Any = pickle.loads(data)
    except Exception:
        return None
    same = type(again).__qualname__ == type(error).__qualname__ and _text_of(again) == _text_of(error)
    return data if same and len(data) <= most_bytes else None
