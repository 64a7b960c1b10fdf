"""Numbers of bytes as a user writes them: 2_000_000, 2e6, "2MB". Pure."""

from __future__ import annotations

import math
import re
import sys
from typing import Any, Final

import numpy as np

from pardata.errors import ConfigError

UNITS: Final = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}  # fmt: skip
_SIZE: Final = re.compile(rf"\s*(\d+(?:\.\d+)?)\s*({'|'.join(UNITS)})\s*")


def parse_size(text: str) -> float | None:
    """Return the bytes of "4MB", "0.5 GiB" and their like; None if it is no size."""
    match = _SIZE.fullmatch(text)
    return None if match is None else float(match[1]) * UNITS[match[2]]


def count_bytes(name: str, value: Any, most: int = sys.maxsize) -> int:
    """Return a number of bytes. Raises `ConfigError`, which names the argument, unless it is from 1 to `most`."""
    count = value
    if isinstance(value, str):
        count = math.floor(parse_size(value) or 0)
    is_number = isinstance(count, int | float | np.integer | np.floating) and not isinstance(count, bool)
    if not is_number or not 1 <= count <= most or count != int(count):
        limit = "at least 1" if most == sys.maxsize else f"1 to {most}"
        raise ConfigError(
            f'{name} must be an int of {limit} (bytes), or a size such as "500MB", not {value!r}; the units are '
            f"{', '.join(UNITS)}"
        )
    return int(count)
