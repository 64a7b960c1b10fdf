"""Writes the files of pictures."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterable

from pardata.errors import ConfigError
from pardata.memory.disk import create_new


def write_text(path: str | os.PathLike[str], ending: str, method: str, pieces: Iterable[str]) -> None:
    """Write a file of text in UTF-8, piece by piece. It is there as a whole, or as it was before.

    Letters that UTF-8 lacks, as of names of files that are no text, are written as Python's repr shows them.

    Raises
    ------
    ConfigError
        The name has another ending than that of the kind.
    OSError
        There is no such folder, or nothing can be written there, or the disk is full.
    """
    told = os.fsdecode(path)
    if not told.endswith(ending):
        raise ConfigError(f"{method}({told!r}): the path must end in {ending}")
    target = os.path.realpath(told)  # a link stays one
    # Of this thread alone: two may save at a time. Its name is short, as that of the file may have the longest length.
    part = os.path.join(os.path.dirname(target), f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(create_new(part), "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(pieces)
            with contextlib.suppress(FileNotFoundError):
                os.chmod(part, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(part, target)
    except OSError as error:  # it names the part, or nothing
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, told) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)
