"""Only the fork server loads this module, before it forks: then a worker notes what it loads, opens and compiles."""

import os
import sys
from typing import Any

LOADS = ("import", "open", "compile", "ctypes.dlopen", "os.listdir", "os.scandir")
server = os.getpid()
noted: list[tuple[str, str]] = []


def note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in LOADS and arguments[0] is not None and os.getpid() != server:  # None: the C library, loaded already
        noted.append((event, str(arguments[0])))


sys.pardata_noted = noted  # type: ignore[attr-defined]  # where a function finds it without loading anything
sys.addaudithook(note)
