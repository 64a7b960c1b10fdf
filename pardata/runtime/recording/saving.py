"""Writes the files of pictures."""

from __future__ import annotations

import os

from pardata.errors import ConfigError


def write_text(path: str | os.PathLike[str], ending: str, method: str, text: str) -> None:
    """Write a file. Raises `ConfigError` if its name has another ending than that of the kind."""
    if not os.fspath(path).endswith(ending):
        raise ConfigError(f"{method}({os.fspath(path)!r}): the path must end in {ending}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
