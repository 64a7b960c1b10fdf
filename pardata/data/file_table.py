"""The interface of a table in files: groups of its rows are read where they are needed, by any process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pardata.errors import ConfigError


class FileTable(ABC):
    """A table in files. Pickles as how to open it again, never as its contents.

    Parameters
    ----------
    location : str
        The files: named in errors.
    group_rows : tuple of int
        The rows of each group that the format reads as a whole.
    obstacle : str
        The reason why other processes cannot open it; "" if they can.
    """

    def __init__(self, location: str, group_rows: tuple[int, ...], obstacle: str = "") -> None:
        self.location = location
        self.group_rows = group_rows
        self.obstacle = obstacle

    @property
    def no_array(self) -> str:
        """The reason why it is refused where an array is needed."""
        return (
            f"{self.location} is a table and no array: pardata.source(...) gives its groups of rows, and a column of a "
            f"table is an array, table[name].to_numpy()"
        )

    @abstractmethod
    def read(self, group: int) -> Any:
        """Return the rows of a group, as a table of the library with a method ``slice(begin, rows)``."""

    def __getstate__(self) -> dict[str, Any]:
        if self.obstacle:
            raise ConfigError(f"{self.location} cannot be opened by worker processes: {self.obstacle}")
        return self.__dict__

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.location}: {sum(self.group_rows)} rows>"
