"""The owner of a new named block: a session, or nobody. An owner names blocks, records them and has them removed."""

from __future__ import annotations

import os
import secrets
import sys
from typing import Final, Protocol

from pardata.memory.named.guardian import FileId

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep


class Owner(Protocol):
    """The owner of a new block: `note` comes before the block has its name, then `keep` or `drop`."""

    def new_name(self) -> str:
        """Return a name that no other block of this machine has or will have."""

    def watch(self) -> None:
        """Have a guardian that will remove the blocks."""

    def note(self, name: str, file: FileId, nbytes: int, group: int) -> int:
        """Record a block before it has its name; return the slot, which is then kept or dropped."""

    def keep(self, name: str, slot: int) -> None:
        """Keep the record: the block has its name now."""

    def drop(self, slot: int) -> None:
        """Drop the record: the block did not get its name."""


class Nobody:
    """The owner of blocks that stay until they are unlinked: nothing is recorded, and nothing is removed."""

    def new_name(self) -> str:
        """Return a name that no other block of this machine has or will have."""
        return f"pd_{secrets.token_hex(8)}"

    def watch(self) -> None:
        """Do nothing."""

    def note(self, name: str, file: FileId, nbytes: int, group: int) -> int:
        """Record nothing; return a slot that means nothing."""
        return 0

    def keep(self, name: str, slot: int) -> None:
        """Do nothing."""

    def drop(self, slot: int) -> None:
        """Do nothing."""


NOBODY: Final = Nobody()


def caller() -> str:
    """Return file and line of the code that called into the package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
