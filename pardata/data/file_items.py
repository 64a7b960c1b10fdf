"""The interface of what can only be read from its beginning, in order: by one process, which is the source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any


class FileItems(ABC):
    """A generator function over the items of a file. Pickles as how to open it again.

    Parameters
    ----------
    location : str
        The file, and the place in it: named in errors.
    name : str
        Of the stage that reads it, and says that it does so in order.
    reason : str
        Why no process can begin elsewhere.
    """

    def __init__(self, location: str, name: str, reason: str) -> None:
        self.location = location
        self.name = name
        self.reason = reason

    @property
    def no_array(self) -> str:
        """The reason why it is refused where an array is needed."""
        return f"{self.location} can only be read in order, as {self.reason}: pardata.source(...) does, in one process"

    @abstractmethod
    def __call__(self) -> Iterator[Any]:
        """Yield the items, the same ones each time."""
