"""A message that may have cost its nodes, taken apart into its items and put together again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pardata.cluster import wire
from pardata.cluster.messages import Message, News, Result
from pardata.cluster.port import Frames


class BlamedItem(NamedTuple):
    """A message of one item that no node is to try again: the first stage fails for it, and `why` is the error."""

    message: Message
    why: str


def message_in(frames: Frames) -> Message | None:
    """Return the message of items in frames; None if it is none, or its items cannot be loaded and sent from here."""
    try:
        message = wire.decode(list(frames))
        wire.encode(message)  # what was loaded may be an open file
    except BaseException:  # of code of the user's
        return None
    return message if isinstance(message, Message) else None


def apart(message: Message) -> list[Message]:
    """Return a message for each number that has items."""
    size, places = message.size, message.positions
    found: dict[int, tuple[list[int], list[object]]] = {}
    for place, item in zip(range(len(message.items)) if places is None else places, message.items, strict=True):
        parts, items = found.setdefault(place % size, ([], []))
        parts.append(place // size)
        items.append(item)
    return [Message(message.number + at, 1, *found[at]) for at in sorted(found)]


def together(message: Message, answers: Sequence[tuple[Message, Result]]) -> Result:
    """Return the answer to a message by those to its parts; what they have said is told by whoever has taken them."""
    outlets: list[tuple[list[int], list[object]]] = [([], []) for _ in answers[0][1].outlets]
    failures, skipped = [], []
    for part, result in answers:
        for (places, items), (positions, made) in zip(outlets, result.outlets, strict=True):
            places += [_place(message, part, at) for at in (range(len(made)) if positions is None else positions)]
            items += made
        failures += [(_place(message, part, at), fault) for at, fault in result.failures]
        skipped += result.news.skipped
    return Result(outlets, failures, News(skipped, None, []))


def _place(message: Message, part: Message, at: int) -> int:
    """Return the place of an item of a part in the whole message."""
    return part.number - message.number + at * message.size
