"""The other forms of a queue's `put` and `get`: without waiting, and of several items with one call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from queue import Empty
from typing import Any


class EndOfQueueError(EOFError, Empty):
    """A queue is empty, and no process is left that could put. Also a `queue.Empty`, as code for the others expects."""


class OtherForms:
    """All are made of `put` and `get`."""

    @abstractmethod
    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an object."""

    @abstractmethod
    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next object."""

    def put_nowait(self, obj: Any) -> None:
        """Put an object as `put` does, at once: `queue.Full` if there is no room."""
        self.put(obj, False)

    def get_nowait(self) -> Any:
        """Return the next object as `get` does, at once: `queue.Empty` if there is none now, EOFError at the end."""
        return self.get(False)

    def put_many(self, objs: Iterable[Any]) -> None:
        """Put objects one after the other, as `put` does; waits for room. After an error those in front are in it.

        >>> import pardata
        >>> queue = pardata.Queue()
        >>> queue.put_many(range(5))
        >>> queue.qsize()
        5
        """
        for obj in objs:
            self.put(obj)

    def get_many(self, most: int, block: bool = True, timeout: float | None = None) -> list[Any]:
        """Wait for an object as `get` does, and return it with those that are there too, `most` in all.

        Raises
        ------
        EOFError, queue.Empty
            As `get`: there is none.
        StaleBlockError, SerializationError
            As `get`. The objects that were got before the lost one are its attribute `got`, a list; so are those before
            any other error.

        Examples
        --------
        >>> import pardata
        >>> queue = pardata.Queue()
        >>> queue.put_many("abc")
        >>> queue.get_many(2), queue.get_many(2)
        (['a', 'b'], ['c'])
        """
        if most < 1:
            raise ValueError(f"most must be at least 1, not {most}")
        found = []
        try:
            found.append(self.get(block, timeout))
            while len(found) < most:
                found.append(self.get(False))
        except (Empty, EOFError):
            if not found:
                raise
        except BaseException as error:  # as Ctrl-C: they are in no queue any more
            error.got = found  # type: ignore[attr-defined]
            raise
        return found
