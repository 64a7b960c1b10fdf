"""Where readers learn which file holds the current generation of a table.

      maker:   seal the new file -> slot[g % 2] = (g, its path) -> word = g -> let go of the old file
      reader:  word -> its slot -> open the path -> is the tag that of g?  no: the word has moved on, read again

The word is the publication: one store of 64 bits. Before it readers have the old generation, after it the new one; a
maker killed before it has published nothing, and the kernel frees the file that it was filling. What a slot says need
not be believed (it may be overwritten while it is read): the tag in the file decides.
"""

from __future__ import annotations

import mmap
import os
import struct
import weakref
from typing import Final

from pardata.errors import BrokenError, StaleBlockError
from pardata.memory.sealed import TAG_BYTES, SealedFile, open_shareable, shareable_file

_SLOT: Final = struct.Struct("<qq")  # generation, bytes of the path that follows
_SLOTS_AT: Final = (1024, 2560)
_ID_AT: Final = 64
ID_BYTES: Final = TAG_BYTES - 8


def tag_of(identity: bytes, generation: int) -> bytes:
    """Return what the file of a generation begins with."""
    return identity + generation.to_bytes(8, "little")


class GenerationPointer:
    """One page of shared memory.

    Attributes
    ----------
    words : memoryview of int64
        ``words[0]`` is the current generation.
    """

    def __init__(self, identity: bytes, path: str = "") -> None:
        """Make a pointer, or open that of another process at `path`."""
        self.identity = identity
        if path:
            fd, self.path = open_shareable(path), path
            try:
                found = os.pread(fd, ID_BYTES, _ID_AT)
            except OSError:
                found = b""
            if found != identity:
                os.close(fd)
                raise BrokenError("the table is gone: the process that made it has ended or let it go")
            self._memory = mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ)
            os.close(fd)
        else:
            fd, self.path = shareable_file("pardata-generation")
            weakref.finalize(self, os.close, fd)
            os.ftruncate(fd, mmap.PAGESIZE)
            self._memory = mmap.mmap(fd, mmap.PAGESIZE)
            self._memory[_ID_AT : _ID_AT + ID_BYTES] = identity
        self.words = memoryview(self._memory).cast("q")

    def publish(self, generation: int, path: str) -> None:
        """Make `generation` the current one."""
        place, data = _SLOTS_AT[generation % 2], os.fsencode(path)
        _SLOT.pack_into(self._memory, place, generation, len(data))
        self._memory[place + _SLOT.size : place + _SLOT.size + len(data)] = data
        self.words[0] = generation  # SYNC POINT: publication

    def open_current(self) -> tuple[int, SealedFile]:
        """Return the current generation and its file, open.

        Raises `BrokenError` if the maker has let it go.
        """
        while True:
            generation = self.words[0]  # SYNC POINT: publication
            try:
                return generation, SealedFile.open(self._path_of(generation), tag_of(self.identity, generation))
            except (BrokenError, StaleBlockError, ValueError) as error:  # ValueError: half a path, half another one
                if self.words[0] == generation:
                    raise BrokenError("the table is gone: the process that made it has ended or let it go") from error

    def _path_of(self, generation: int) -> str:
        place = _SLOTS_AT[generation % 2]
        _, length = _SLOT.unpack_from(self._memory, place)
        return os.fsdecode(self._memory[place + _SLOT.size : place + _SLOT.size + length])
