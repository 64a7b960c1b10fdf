"""A page of shared memory that tells readers which file holds the current generation of a table.

      byte 0      word: the number of the current generation (int64)
      byte 64     identity of the table, a random number (`ID_BYTES` bytes)
      byte 1024   slot 0: generation (int64), bytes of the path (int64), the path
      byte 2560   slot 1: the same, for odd generations

      maker:   seal the new file -> slot[g % 2] = (g, its path) -> word = g -> close the old file
      reader:  word -> its slot -> open the path -> has the file the tag of g?  no: the word has changed, read again

The maker is the only writer of the page. Its one store of 64 bits to the word publishes a generation: readers find the
old one before the store and the new one after it. If the maker is killed before the store, nothing is published, and
the kernel frees the unfinished file. A slot may be overwritten while it is read, so a reader trusts only the tag in the
file that it has opened.
"""

from __future__ import annotations

import mmap
import os
import struct
import weakref
from typing import Final

from pardata.errors import BrokenError, StaleBlockError
from pardata.memory.mapping import mapping_error
from pardata.memory.sealed import TAG_BYTES, SealedFile, open_shareable, shareable_file

_SLOT: Final = struct.Struct("<qq")  # generation, bytes of the path that follows
_SLOTS_AT: Final = (1024, 2560)
_ID_AT: Final = 64
ID_BYTES: Final = TAG_BYTES - 8


def tag_of(identity: bytes, generation: int) -> bytes:
    """Return the bytes with which the file of a generation begins."""
    return identity + generation.to_bytes(8, "little")


class GenerationPointer:
    """The page of a table, mapped in this process.

    Attributes
    ----------
    words : memoryview of int64
        ``words[0]`` is the number of the current generation. Only the maker of the table writes it.
    identity : bytes
        Random; part of the tag of each file of the table.
    path : str
        Other processes open the page by it.
    """

    def __init__(self, identity: bytes, path: str = "") -> None:
        """Make a page, or open the one that another process has made at `path`.

        Raises `BrokenError` if that is gone.
        """
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
            try:
                os.ftruncate(fd, mmap.PAGESIZE)
                self._memory = mmap.mmap(fd, mmap.PAGESIZE)
            except OSError as error:
                raise mapping_error(error, mmap.PAGESIZE) from error
            self._memory[_ID_AT : _ID_AT + ID_BYTES] = identity
        self.words = memoryview(self._memory).cast("q")

    def publish(self, generation: int, path: str) -> None:
        """Make `generation` the current one; its file lies at `path`."""
        place, data = _SLOTS_AT[generation % 2], os.fsencode(path)
        _SLOT.pack_into(self._memory, place, generation, len(data))
        # In the slot that the current generation does not have: its readers find theirs whole.
        self._memory[place + _SLOT.size : place + _SLOT.size + len(data)] = data
        self.words[0] = generation  # SYNC POINT: publication

    def open_current(self) -> tuple[int, SealedFile]:
        """Return the current generation and its file, open.

        Raises `BrokenError` if the maker has closed the file or has ended.
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
