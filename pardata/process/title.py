"""The name of a process in ``ps -e``, ``top`` and debuggers."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

from pardata.process.system import libc

_PR_SET_NAME: Final = 15
_LONGEST: Final = 15  # bytes


def set_title(name: str, index: int | None = None) -> None:
    """Call this process `name`, cut to 15 bytes, with the number of the worker behind it; on Linux."""
    if sys.platform != "linux":
        return
    tail = b"" if index is None else b":%d" % index
    with contextlib.suppress(OSError, AttributeError):
        libc().prctl(_PR_SET_NAME, name.encode()[: _LONGEST - len(tail)] + tail, 0, 0, 0)
