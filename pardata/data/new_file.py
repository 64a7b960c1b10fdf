"""A new file or folder for output: it is filled under a temporary name beside, and renamed when it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from pardata.data.file_array import FileArray, Writers
from pardata.errors import ConfigError
from pardata.memory.disk import home_hint, rename_new


def check_folder(path: str, part: str) -> None:
    """Raise `ConfigError` if a file or folder cannot be made: there is no folder for it, or it cannot have this name.

    `part`: its name until it is whole.
    """
    if "\0" in path:
        raise ConfigError(f"{path!r}: the name of a file holds no NUL character")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ConfigError(f"{path}: there is no such directory{home_hint(folder)}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{path}: no files may be made in that directory")
    try:
        os.lstat(part)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            told = "too long, at least with what it has at its end until the file is whole"
            raise ConfigError(f"{path}: the name is {told}") from None


def check_replaceable(path: str, part: str) -> None:
    """Raise `ConfigError` if a file of this name cannot be made, or cannot take the place of what is there."""
    check_folder(path, part)
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a directory: give the name of a file")


class NewPath(ABC):
    """A file or folder that gets its name when it is whole.

    Parameters
    ----------
    path : str
        Absolute.

    Raises
    ------
    ConfigError
        There is no such directory, or no file may be made in it.
    """

    survives_kills: bool = False  # as that of a `FileArray`; the part of a killed process can be opened again then

    def __init__(self, path: str) -> None:
        folder, name = os.path.split(path.rstrip("/"))
        self.path = os.path.join(folder, name)
        ending = os.path.splitext(name)[1]
        self.part = os.path.join(folder, f".{name}{secrets.token_hex(4)}{ending}")
        check_folder(path, self.part)

    def check_free(self) -> None:
        """Raise `ConfigError` if there is something under the name: a file of these formats may hold other arrays."""
        if os.path.lexists(self.path):
            raise self._is_taken()
        check_folder(self.path, self.part)  # of a run with a checkpoint it is another one

    def _is_taken(self) -> ConfigError:
        return ConfigError(
            f"{self.path} is there already, and may hold more than one array: remove it first, or open it and give "
            f"the array in it"
        )

    @abstractmethod
    def close(self) -> None:
        """Have everything written to the file."""

    def commit(self) -> None:
        """Give the file its name."""
        self.close()
        try:
            rename_new(self.part, self.path)
        except FileExistsError as error:  # it has come meanwhile
            raise self._is_taken() from error

    def discard(self) -> None:
        """Remove what was begun; nothing if it has its name."""
        with contextlib.suppress(Exception):  # each library has its own; the first error is the one to tell
            self.close()
        if os.path.isdir(self.part):
            shutil.rmtree(self.part, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                os.unlink(self.part)


class NewFile(NewPath):
    """A new file with one array; nothing is made before `create`. `key` is the name of the array in the file."""

    writers: Writers = "many"  # of the array, as those of a `FileArray`

    def __init__(self, path: str, key: str) -> None:
        super().__init__(path)
        self.key = key

    @abstractmethod
    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]) -> FileArray:
        """Make the file under its temporary name."""

    @abstractmethod
    def grow(self, rows: int) -> None:
        """Make an array that was created without rows longer; its `FileArray` has the new shape."""

    def description(self) -> bytes:
        """Return what tells of the array as it is, for `reopen`."""
        raise NotImplementedError(f"{self.path}: a part of it cannot be opened again")

    def reopen(self, description: bytes, rows: int) -> FileArray:
        """Return the array of a part that a killed process has left, with its first rows."""
        raise NotImplementedError(f"{self.path}: a part of it cannot be opened again")

    @abstractmethod
    def open(self) -> Any:
        """Return the library's own array, opened for reading, of the file that is whole."""


class NewTable(NewPath):
    """A new file with one table, written by the process that has made it; nothing is made before the first rows."""

    def _is_taken(self) -> ConfigError:
        return ConfigError(f"{self.path} is there already, and no rows are added to it: remove it first")

    @abstractmethod
    def add(self, rows: Any) -> None:
        """Take in rows, as a table of any library that the format's own one understands.

        Raises
        ------
        ValueError
            It is no table, or its columns are not those of the first rows.
        """
