"""Exceptions on their way to another process: each one by itself, with its notes, its cause and its context.

Pickle keeps type, arguments and attributes of an exception, and leaves out what it is linked with; and a group cannot
be pickled if one of its parts cannot. So all that belong together are numbered, and each is pickled alone, without its
links. One that does not survive that arrives as a `RemoteError` with its text, the others as themselves.
"""

from __future__ import annotations

import pickle
from typing import Any, Final, NamedTuple

from pardata.codec.by_value import dumps
from pardata.codec.exits import EXITS, may_be_ctrl_c, refuse_exit
from pardata.errors import RemoteError, RemoteTraceback

_LONGEST_TEXT: Final = 20_000
_NONE: Final = -1

# Bytes of all pickles of an exception: as many as a result may have, within reason.
MOST_PICKLED_BYTES: Final = 64 << 20


class _Part(NamedTuple):
    """One exception. Its links are numbers of others, `_NONE` where there is none.

    Attributes
    ----------
    pickled : bytes or None
        Of a group: its type, message, further arguments and attributes. None: these do not survive pickling.
    text : str
        Type and text, in one line; of a group its message.
    parts : tuple of int, or None
        Of a group.
    """

    pickled: bytes | None
    text: str
    notes: list[str] | None
    cause: int
    context: int
    suppresses: bool
    parts: tuple[int, ...] | None


def text_of(error: BaseException) -> str:
    """Return the text of an exception, also if its `__str__` raises."""
    try:
        return str(error)
    except (Exception, *EXITS) as failure:
        if may_be_ctrl_c(failure):
            raise
        return f"<its __str__ raised {type(failure).__name__}>"


def type_name(error: BaseException) -> str:
    """Return the full name of an exception's type."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


def add_note(error: BaseException, note: str) -> None:
    """Add a note; `add_note` of an exception fails where its class allows no changes, as a frozen dataclass."""
    _set(error, "__notes__", [*getattr(error, "__notes__", ()), note])


def _set(error: BaseException, name: str, value: object) -> None:
    object.__setattr__(error, name, value)


# -- to bytes ----------------------------------------------------------------------------------------------------------


def pack_error(error: BaseException, most_bytes: int = MOST_PICKLED_BYTES) -> bytes:
    """Return an exception, and those that it is linked with, as bytes. What would pass `most_bytes` loses its type."""
    try:
        packed = _packed(error, most_bytes)
    except Exception:  # its class does not let us look at it
        packed = [tuple(_Part(None, line_of(error)[:_LONGEST_TEXT], None, _NONE, _NONE, False, None))]
    return pickle.dumps(packed, 5)


def _packed(error: BaseException, most_bytes: int) -> list[tuple[Any, ...]]:
    errors = [error]
    numbers = {id(error): 0}
    for known in errors:  # grows
        for linked in (*_parts_of(known), known.__cause__, known.__context__):
            if linked is not None and id(linked) not in numbers and not isinstance(linked, RemoteTraceback):
                numbers[id(linked)] = len(errors)
                errors.append(linked)
    packed = []
    for known in errors:
        pickled = _pickled_group(known) if isinstance(known, BaseExceptionGroup) else _round_trip(known)
        if pickled is not None and len(pickled) > most_bytes:
            pickled = None
        most_bytes -= len(pickled or b"")
        packed.append(tuple(_part(known, pickled, numbers)))
    return packed


def _parts_of(error: BaseException) -> tuple[BaseException, ...]:
    return error.exceptions if isinstance(error, BaseExceptionGroup) else ()


def _part(error: BaseException, pickled: bytes | None, numbers: dict[int, int]) -> _Part:
    notes = getattr(error, "__notes__", None)
    return _Part(
        pickled,
        (error.message if isinstance(error, BaseExceptionGroup) else line_of(error))[:_LONGEST_TEXT],
        list(map(str, notes)) if isinstance(notes, list | tuple) else None,
        numbers.get(id(error.__cause__), _NONE),
        numbers.get(id(error.__context__), _NONE),
        error.__suppress_context__,
        tuple(numbers[id(part)] for part in error.exceptions) if isinstance(error, BaseExceptionGroup) else None,
    )


def line_of(error: BaseException) -> str:
    """Return type and text of an exception."""
    return f"{type_name(error).removeprefix('builtins.')}: {text_of(error)}"


def _state_of(error: BaseException) -> dict[str, Any]:
    return {name: value for name, value in error.__dict__.items() if name != "__notes__"}


def _pickled_group(group: BaseExceptionGroup[Any]) -> bytes | None:
    try:
        data = dumps((type(group), group.message, group.args[2:], _state_of(group)))
        again = _regroup(data, list(group.exceptions))
    except Exception:
        return None
    return data if _is_same(again, group) else None


def _regroup(data: bytes, parts: list[BaseException]) -> BaseExceptionGroup[Any]:
    kind, message, rest, state = _loads(data)
    made: BaseExceptionGroup[Any] = BaseExceptionGroup.__new__(kind, message, parts)
    _set(made, "args", (message, parts, *rest))
    made.__dict__.update(state)
    return made


def rebuild(kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    """Return an exception without calling its constructor, which may want other arguments than it passes on."""
    try:
        error = kind.__new__(kind, *args)
    except TypeError:  # of a class and MemoryError, as CapacityError: CPython refuses the __new__ that it finds there
        error = Exception.__new__(kind, *args)
    _set(error, "args", args)
    error.__dict__.update(state)
    return error


class _Rebuilt:
    """Pickles as an exception whose own pickle cannot be read back."""

    def __init__(self, error: BaseException) -> None:
        self._parts = (type(error), error.args, _state_of(error))

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, self._parts


def _round_trip(error: BaseException) -> bytes | None:
    """Return the pickled exception if it can be unpickled again to the same type."""
    return _attempt(error, error) or _attempt(_Rebuilt(error), error)


def _attempt(pickled: object, error: BaseException) -> bytes | None:
    try:
        data = dumps(pickled)
        again = _loads(data)
    except Exception:
        return None
    return data if _is_same(again, error) else None


def _loads(data: bytes) -> Any:
    try:
        return pickle.loads(data)
    except EXITS as error:
        refuse_exit(error, "unpickling")
        raise


def _is_same(again: BaseException, error: BaseException) -> bool:
    return type(again).__qualname__ == type(error).__qualname__ and text_of(again) == text_of(error)


# -- and back ----------------------------------------------------------------------------------------------------------


def unpack_error(data: bytes) -> BaseException:
    """Return the exception; what cannot be unpickled here is a `RemoteError`."""
    parts = [_Part(*part) for part in pickle.loads(data)]
    try:
        return _linked(parts)
    except Exception:  # a class of the user's does not take what it had
        return RemoteError(parts[0].text)


def _linked(parts: list[_Part]) -> BaseException:
    made = _made(parts)
    for number, part in enumerate(parts):
        error = made[number]
        if part.notes is not None:
            _set(error, "__notes__", part.notes)
        _set(error, "__cause__", made.get(part.cause))
        _set(error, "__context__", made.get(part.context))
        _set(error, "__suppress_context__", part.suppresses)
    return made[0]


def _made(parts: list[_Part]) -> dict[int, BaseException]:
    """Return the exceptions by their numbers, without links. Groups may be nested deeper than calls may be."""
    made: dict[int, BaseException] = {}
    opened: set[int] = set()
    waiting = [*range(len(parts))]
    while waiting:
        number = waiting[-1]
        part = parts[number]
        if number not in opened and part.parts is not None:
            opened.add(number)  # it is made when it is met again, behind its parts
            waiting += [inner for inner in part.parts if inner not in opened]
            continue
        waiting.pop()
        if number in made:
            continue
        if part.parts is None:
            made[number] = _unpickled(part)
        else:  # a part that is not made is a group around this one, by a class that gives other parts than it has
            inner_parts = [made[one] if one in made else RemoteError(parts[one].text) for one in part.parts]
            made[number] = _unpickled_group(part, inner_parts)
    return made


def _unpickled(part: _Part) -> BaseException:
    error: object = None
    if part.pickled is not None:
        try:
            error = _loads(part.pickled)
        except Exception:
            error = None
    return error if isinstance(error, BaseException) else RemoteError(part.text)


def _unpickled_group(part: _Part, parts: list[BaseException]) -> BaseException:
    if part.pickled is not None:
        try:
            return _regroup(part.pickled, parts)
        except Exception:  # its class is not here, or does not take a part that has lost its type
            pass
    return BaseExceptionGroup(part.text, parts)


def set_last_cause(error: BaseException, cause: BaseException) -> None:
    """Put a cause at the end of a chain of causes."""
    seen = {id(error)}
    while error.__cause__ is not None and id(error.__cause__) not in seen:
        error = error.__cause__
        seen.add(id(error))
    if error.__cause__ is None:
        _set(error, "__cause__", cause)
