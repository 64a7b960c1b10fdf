"""A log record, or a warning, crosses from a worker to the main process. No I/O.

Numbers, texts and plain containers of them arrive as they are, other objects as pickles with their text beside them: if
the main process cannot load the pickle, it takes the text.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import logging
import pickle
import sys
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Final

import cloudpickle

from pardata.errors import RemoteTraceback
from pardata.runtime.events import shortened

_LONGEST: Final = 150_000  # characters of a text, and bytes of a pickle: they are to fit a message
_SHORT: Final = 16_000  # characters of a text that is cut
_PLAIN: Final = (str, int, float, bool, type(None))
_MADE_UP: Final = {"msg", "args", "message", "exc_info", "exc_text", "processName"}


@dataclass(frozen=True)
class _PickledValue:
    data: bytes
    text: str

    def shortened(self, longest: int) -> _PickledValue | str:
        """Return it, or its text, in about so many bytes at the most."""
        return self if len(self.data) <= longest else shortened(self.text, longest)


def _fitting(text: str) -> str:
    return text if len(text) <= _LONGEST else shortened(text, _SHORT)


def pack_value(value: object) -> Any:
    """Return a value as it travels."""
    if isinstance(value, str):
        return _fitting(str(value))
    if value is None or isinstance(value, bool):
        return value
    try:
        if isinstance(value, Integral):
            return int(value)
        if isinstance(value, Real):
            return float(value)
        text = _fitting(str(value))
    except Exception as error:
        return f"<its __str__ raised {type(error).__name__}>"
    return value if _is_plain(value) and len(text) < _LONGEST else _pickled(value, text)


def unpack_value(value: Any) -> Any:
    """Return a value that has travelled, or its text."""
    if not isinstance(value, _PickledValue):
        return value
    try:
        return _WithoutImports(io.BytesIO(value.data)).load()
    except Exception:  # its class is the worker's only
        return value.text


class _WithoutImports(pickle.Unpickler):
    """Imports no module that is here: its import may wait for the run at whose end this has to come."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        found: Any = sys.modules.get(module_name)
        if found is None:
            return super().find_class(module_name, global_name)
        for name in global_name.split("."):
            found = getattr(found, name)
        return found


def _pickled(value: object, text: str) -> Any:
    try:
        data = cloudpickle.dumps(value, protocol=5)
        pickle.loads(data)
    except Exception:
        return text
    return _PickledValue(data, text) if len(data) <= _LONGEST else text


def _is_plain(value: object, depth: int = 4) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if not depth:
        return False
    if kind is dict:
        return all(type(key) in _PLAIN and _is_plain(part, depth - 1) for key, part in value.items())  # type: ignore[attr-defined]
    return kind in (list, tuple) and all(_is_plain(part, depth - 1) for part in value)  # type: ignore[attr-defined]


def pack_record(record: logging.LogRecord) -> dict[str, Any]:
    """Return the attributes of a record as they travel; the record is left as it is.

    The text is made here where it depends on objects: they may be others in the main process.
    """
    kept = {key: pack_value(value) for key, value in record.__dict__.items() if key not in _MADE_UP}
    args: Any = record.args
    is_whole = _is_plain(record.msg) and _is_plain(args) and len(f"{record.msg}{args}") < _LONGEST
    if is_whole or (_is_plain(record.msg) and not args):
        kept["msg"], kept["args"] = pack_value(record.msg), args
    else:
        kept["msg"], kept["args"] = _fitting(_message_of(record)), None
    kept["exc_info"], kept["exc_text"] = None, record.exc_text
    if record.exc_info and record.exc_info[0] is not None:
        text = record.exc_text or logging.Formatter().formatException(record.exc_info)
        kept["exc_text"] = _fitting(text)
        kept["exc_info"] = pack_value(record.exc_info[1])
    return kept


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit the text: not an error of the user's function
        return f"{_text_of(record.msg)} {_text_of(record.args)}"


def _text_of(value: object) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"<its __str__ raised {type(error).__name__}>"


def unpack_record(packed: dict[str, Any], process: str) -> logging.LogRecord:
    """Return the record in the main process: as if it had been made here, by the process of that name."""
    attributes = {key: unpack_value(value) for key, value in packed.items()}
    error = attributes.pop("exc_info")
    record = logging.makeLogRecord({})
    offset_ms = record.relativeCreated - record.created * 1000
    record.__dict__.update(attributes)
    record.processName = process
    record.relativeCreated = record.created * 1000 + offset_ms
    name = logging.getLevelName(record.levelno)
    if name != f"Level {record.levelno}":
        record.levelname = name
    if isinstance(error, BaseException):
        error.__cause__ = RemoteTraceback(str(record.exc_text))
        record.exc_info = (type(error), error, None)
    return record


def pack_warning(message: Warning | str, category: type[Warning]) -> tuple[Any, str]:
    """Return a warning as it travels, and the name of the category of Python's own that it is of."""
    made = message if isinstance(message, Warning) else category(message)
    with contextlib.suppress(Exception):
        text = str(made)
        own = next(kind.__name__ for kind in type(made).__mro__ if kind.__module__ == "builtins")
        return _pickled(made, _fitting(text)), own
    return str(category), "UserWarning"


def unpack_warning(packed: Any, own: str) -> Warning:
    """Return the warning that has travelled, or one of Python's own category with its text."""
    made = unpack_value(packed)
    return made if isinstance(made, Warning) else getattr(builtins, own)(made)
