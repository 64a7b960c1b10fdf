"""An error of the user's code crosses a process boundary and is raised at the caller."""

from __future__ import annotations

import itertools
import os
import sys
import traceback
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from pardata.codec.exits import EXITS, may_be_ctrl_c
from pardata.codec.main_globals import script
from pardata.errors import RemoteError, RemoteTraceback
from pardata.runtime.carried_errors import (
    add_note,
    line_of,
    pack_error,
    set_last_cause,
    text_of,
    type_name,
    unpack_error,
)

_NO_TERMINAL: Final = (
    'a worker process has no terminal for breakpoint() and pdb.set_trace(): debug with engine="serial", as '
    'stream.run(engine="serial"); call the function of a pool yourself'
)
_LONGEST_TEXT: Final = 20_000


def describe_item(item: object) -> str:
    """Return `item` for a person, in at most 200 characters.

    The contents of arrays are left out, as they are not looked at: to read a page of a mapped file may be what has
    killed the workers.
    """
    try:
        text = _text(item, 4)
    except (Exception, *EXITS) as failure:
        if may_be_ctrl_c(failure):
            raise
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


def _trace_of(error: BaseException) -> str:
    """Return the traceback as Python prints it; of groups nested deeper than it can print, that of the outermost."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception:
        lines = traceback.format_tb(error.__traceback__)
        return f"Traceback (most recent call last):\n{''.join(lines)}{line_of(error)}\n"


@dataclass(frozen=True)
class Fault:
    """An exception on its way: all of it as text, and the object itself as `carried_errors` packs it.

    Attributes
    ----------
    place : str
        The place in words, if it is not a stage: "the call of 'denoise'".
    """

    stage: str
    number: int
    item: str
    kind: str
    text: str
    trace: str
    pickled: bytes | None
    place: str = ""

    @classmethod
    def of(
        cls, error: BaseException, stage: str, number: int = -1, item: object = NO_ITEM, *, place: str = ""
    ) -> Fault:
        """Describe an exception that was just caught."""
        trace = _trace_of(error)
        return cls(
            stage,
            number,
            "" if item is NO_ITEM else describe_item(item),
            type_name(error),
            text_of(error)[:_LONGEST_TEXT],
            trace[-_LONGEST_TEXT:],
            pack_error(error),
            place,
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
            self.place[:longest],
        )

    def with_pickled(self, pickled: bytes | None) -> Fault:
        """Return it with other pickles of the exception, or with none."""
        return replace(self, pickled=pickled)

    @property
    def error(self) -> str:
        """Type and text, in one line."""
        return f"{self.kind.removeprefix('builtins.')}: {self.text}"

    @property
    def note(self) -> str:
        """The place of the error: stage, item number and item, as far as they are known."""
        number = f", item {self.number}" if self.number >= 0 else ""
        place = self.place or f"stage {self.stage!r}"
        return f"in {place}{number}" + (f": {self.item}" if self.item else "")

    def exception(self) -> BaseException:
        """Return the exception to raise: of its own type, with a note, and the remote traceback as its last cause."""
        try:
            error = self.carried()
            set_last_cause(error, RemoteTraceback(self.trace))
        except Exception:  # its class does not let us look at it: whoever waits for it has to get an error
            error = RemoteError(self.error)
            add_note(error, self.note)
            error.__cause__ = RemoteTraceback(self.trace)
        return error

    def carried(self) -> BaseException:
        """Return the exception with a note, as it was when it was caught but for its traceback."""
        error = RemoteError(self.error) if self.pickled is None else unpack_error(self.pickled)
        if isinstance(error, StopIteration):  # it would end the caller's loop silently (PEP 479)
            told = RuntimeError("the function raised StopIteration")
            told.__cause__, error = error, told
        add_note(error, self.note)
        return error


def refuse_breakpoint(*args: Any, **kwargs: Any) -> Any:
    """Be `sys.breakpointhook` in a worker process: say what to do, unless a debugger of the user's choice is set."""
    if os.environ.get("PYTHONBREAKPOINT"):
        return sys.__breakpointhook__(*args, **kwargs)
    raise RuntimeError(_NO_TERMINAL)


def _is_of_debugger(error: BaseException) -> bool:
    """Return whether the prompt of pdb has come to the end of its input: `BdbQuit`, from Python 3.14 on SystemExit."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") in ("pdb", "bdb")


def _is_cancellation(error: BaseException) -> bool:
    """Return whether it is asyncio's `CancelledError`, which a caller's event loop would take for its own."""
    exceptions = sys.modules.get("asyncio.exceptions")
    return exceptions is not None and isinstance(error, exceptions.CancelledError)


def exit_as_error(error: BaseException) -> BaseException:
    """Return the error to tell for an exception that would end a worker, or the caller's program, without a word.

    Those are `SystemExit`, `KeyboardInterrupt` (not a Ctrl-C, which workers ignore), `GeneratorExit` and asyncio's
    `CancelledError`, and that of a debugger in a worker process; all others are told as they are.
    """
    if script() is not None and _is_of_debugger(error):
        text = _NO_TERMINAL
    elif isinstance(error, SystemExit):
        text = f"the function called sys.exit({error.code!r})"
    elif isinstance(error, KeyboardInterrupt | GeneratorExit) or _is_cancellation(error):
        text = f"the function raised {type(error).__name__}"
    else:
        return error
    return RuntimeError(text).with_traceback(error.__traceback__)
