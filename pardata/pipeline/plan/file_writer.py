"""The interface of a sink that writes a file, as plans and checkpoints know it."""

from __future__ import annotations

from abc import ABC, abstractmethod


class FileWriter(ABC):
    """A generator filter that writes its items to a file, and can go on in a run with a checkpoint.

    Attributes
    ----------
    path : str
        The name of a new file; "" of an array that is there.
    part : str, optional
        The name of a new file until it is whole. In a run with a checkpoint that gives it its own; None: it is chosen
        when the run begins, or nothing is made.
    """

    path: str
    part: str | None

    @abstractmethod
    def check_free(self) -> None:
        """Raise `ConfigError` if a new file cannot be made, or cannot get its name: nothing is started then."""

    @abstractmethod
    def why_not(self) -> str:
        """Return the reason why a run with a checkpoint cannot write to it; "": it can."""

    @abstractmethod
    def going_on(self, part: str) -> FileWriter:
        """Return the writer of a run with a checkpoint; `part`: the name of a new file until the run is done."""
