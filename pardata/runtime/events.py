"""Events: a worker sends them to its parent over its control socket, one message for each.

What it prints, warns of and logs goes over a socket of its own (`output.console`), in the same form.

A message is a pickled tuple: the name of the kind, then the fields. An event that is too long for one message arrives
with shorter texts; the pickles of a large exception lie in a memory file, whose descriptor goes along. (In parts, those
of a worker that is killed between two would have to be told from those of its successor, which has the same socket.)
"""

from __future__ import annotations

import errno
import os
import pickle
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from pardata.channel.channel import RunGone
from pardata.memory.disk import write_all
from pardata.runtime.faults import Fault

# The parent reads no longer ones. A socket takes 208 KiB by default, and less where `net.core.wmem_default` is less.
MOST_EVENT_BYTES: Final = 200_000
_LONGEST: Final = 16_000  # characters of a text in an event that is too long; of bytes eight times as many
_SHORTEST: Final = 8
_IN_MESSAGE: Final = 60_000  # bytes of an exception's pickles


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing more will come out of the worker."""


@dataclass(frozen=True, slots=True)
class Done:
    """The work is over."""


@dataclass(frozen=True, slots=True)
class Departing:
    """The process makes room for a fresh one: the last that is heard of it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker cannot go on."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class ItemSkipped:
    """An item of `sequence` has failed and the stage goes on.

    Attributes
    ----------
    is_listed : bool
        The item is left out and the report names it; else it went on as a letter.
    """

    fault: Fault
    sequence: int
    is_listed: bool


@dataclass(frozen=True, slots=True)
class CutPassed:
    """A stage with a state, or a sink, has stored where it is, between two items.

    Attributes
    ----------
    stage : int
        Its index in the plan.
    taken : tuple of int
        For each numbering that it takes (`pipeline.plan.plan: Plan.origins`) the last cut that it has passed: with all
        items below that number it is done.
    made : int
        It has made the items below that number of its output.
    """

    stage: int
    taken: tuple[int, ...]
    made: int


@dataclass(frozen=True, slots=True)
class Said:
    """Lines that the worker `tag` has written to `stream`: "stdout" or "stderr".

    Attributes
    ----------
    goes_on : bool
        The last line is a long one, and the next text of that worker and stream is more of it.
    """

    tag: str
    stream: str
    text: str
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Logged:
    """A log record (`output.records`).

    Attributes
    ----------
    is_sure : bool
        The main process's levels let it through at the time.
    was_handled : bool
        A handler of the worker's own has had it.
    """

    tag: str
    record: dict[str, Any]
    is_sure: bool
    was_handled: bool


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning (`output.records`) at a line of a file."""

    tag: str
    message: Any
    category: str
    filename: str
    lineno: int


@dataclass(frozen=True, slots=True)
class BarChanged:
    """Bar number `key` of the worker `tag` shows `state` (a `runtime.bars.BarState`); None: it was closed.

    Without a key: all bars of that worker were.
    """

    tag: str
    key: int | None
    state: Any


@dataclass(frozen=True, slots=True)
class Hurried:
    """From the parent to itself: the worker is to be killed."""


@dataclass(frozen=True, slots=True)
class Marked:
    """Everything that was said before was read; the main process sends it to itself."""


WorkerEvent = Closed | Done | Departing | Failed | ItemSkipped | CutPassed | Hurried
Spoken = Said | Logged | Warned | BarChanged
OutputEvent = Spoken | Marked
AnyEvent = WorkerEvent | OutputEvent

_KINDS: Final[dict[str, Callable[..., Any]]] = {kind.__name__: kind for kind in get_args(AnyEvent)}


def encode(event: AnyEvent, longest: int | None = None) -> bytes:
    """Return an event as a message, with no text longer than `longest` characters; None: as it is."""
    fields = [getattr(event, name) for name in event.__match_args__]
    if longest is not None:
        fields = [_shorter(value, longest) for value in fields]
    return pickle.dumps((type(event).__name__, *fields))


def decode(data: bytes) -> Any:
    """Return the event of a message."""
    kind, *fields = pickle.loads(data)
    return _KINDS[kind](*fields)


def shortened(text: str, longest: int) -> str:
    """Return a text of about `longest` characters at the most, which says how long it was."""
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def send_event(sock: socket.socket, event: AnyEvent) -> None:
    """Send an event, waiting if the socket is full. An event too long for one message arrives with shorter texts.

    Raises `RunGone` if the parent has closed its end.
    """
    file = None
    if isinstance(event, Failed | ItemSkipped) and len(event.fault.pickled or b"") > _IN_MESSAGE:
        file = _memory_file(event.fault.pickled)
        if file is not None:
            event = replace(event, fault=event.fault.with_pickled(None))
    try:
        data, longest = encode(event), _LONGEST
        while len(data) > MOST_EVENT_BYTES or not _fits(sock, data, file):
            if longest < _SHORTEST:
                raise ValueError(f"the event {type(event).__name__!r} does not fit a message of the control socket")
            data, longest = encode(event, longest), longest // 2
    finally:
        if file is not None:
            os.close(file)


def _memory_file(data: Any) -> int | None:
    """Return the descriptor of a file in memory with these bytes; None if the system refuses it."""
    file = None
    try:
        file = os.memfd_create("pardata-error")
        write_all(file, data, 0, "the memory file of an exception")
    except OSError:  # the limit of descriptors, of the size of files, or of memory
        if file is not None:
            os.close(file)
        return None
    return file


def _fits(sock: socket.socket, data: bytes, file: int | None) -> bool:
    """Send a message; return False if it is longer than the socket takes."""
    try:
        while True:
            try:
                if file is None:
                    sock.send(data)
                else:
                    socket.send_fds(sock, [data], [file])
                return True
            except BlockingIOError:  # whether it blocks is not this process's alone: a forked child shares it
                poll = select.poll()
                poll.register(sock, select.POLLOUT)
                poll.poll()
    except OSError as error:
        if error.errno == errno.EMSGSIZE:
            return False
        raise RunGone("the run is gone") from None


def receive_event(sock: socket.socket) -> WorkerEvent | None:
    """Return the next event; None if the worker's end is closed. Raises BlockingIOError if there is none now."""
    data, files, _, _ = socket.recv_fds(sock, 1 << 18, 1)
    if not data:
        return None
    event: WorkerEvent = decode(data)
    for file in files:  # none also if this process may have no more descriptors: the error arrives as text
        with open(file, "rb") as opened:
            opened.seek(0)
            assert isinstance(event, Failed | ItemSkipped)
            event = replace(event, fault=event.fault.with_pickled(opened.read()))
    return event


def _shorter(value: Any, longest: int) -> Any:
    """Return a field of an event, or a part of one, with no text longer than `longest`."""
    if isinstance(value, str):
        return shortened(value, longest)
    if isinstance(value, int):
        return value if value.bit_length() <= 8 * longest else f"an int of {value.bit_length()} bits"
    if isinstance(value, tuple):
        parts = [_shorter(part, longest) for part in value]
        return value._make(parts) if hasattr(value, "_make") else tuple(parts)
    if isinstance(value, dict):
        return {key: _shorter(part, longest) for key, part in list(value.items())[:longest]}
    return value.shortened(longest) if hasattr(value, "shortened") else value
