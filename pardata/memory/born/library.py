"""The compiled allocator `born.c`: loaded by ctypes and made NumPy's in this thread, or a reason why it is not.

An installation without a compiler has no such library; then results are copied into blocks, as everywhere else where
this file says why not. All is asked once, when a worker starts.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from pardata.memory.segment import PAGE_BYTES, Segment

OFF_VARIABLE: Final = "PARDATA_BORN"
LEAST_BORN_BYTES: Final = 64 << 10  # of an array that is born in a block: a smaller one costs less to copy than to lend

_HERE: Final = Path(__file__).parent
SOURCES: Final = sorted(_HERE.glob("*.[ch]"))
LIBRARY: Final = _HERE / "_born.so"

# Entries of NumPy's table of functions, which other modules are compiled against: their places never change (NEP 49).
_ABI_VERSION, _API_VERSION, _SET_HANDLER, _GET_HANDLER = 0, 211, 304, 305
_ABIS: Final = (0x1000009, 0x2000000)  # NumPy 1 and 2
_FIRST_API: Final = 0xF  # NumPy 1.22: with handlers
_HANDLER: Final = b"mem_handler"  # the name of a capsule that has one
_HANDLER_VERSION: Final = 1
_NAME_BYTES: Final = 127  # of a handler; its version is the next byte


def source_checksum() -> int:
    """Return the number by which a library knows the sources that it was compiled from."""
    return zlib.crc32(b"".join(path.read_bytes() for path in SOURCES))


@cache
def why_not() -> str | None:
    """Return why arrays are not born in blocks in this process; None: they can be."""
    if os.environ.get(OFF_VARIABLE) == "0":
        return f"{OFF_VARIABLE}=0"
    if not sys.platform.startswith("linux") or not _has_glibc():
        return "that needs Linux with the GNU C library"
    if PAGE_BYTES != 4096:
        return f"memory pages of {PAGE_BYTES} bytes"
    return load_error() or _numpy_refusal()


def _has_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (OSError, ValueError):
        return False


@cache
def _load() -> ctypes.PyDLL:
    """Return the library; its functions are called with the interpreter's lock, as each takes no longer than a step."""
    made = ctypes.PyDLL(str(LIBRARY))
    word, size = ctypes.c_size_t, ctypes.c_size_t
    made.born_source.restype = ctypes.c_uint32
    made.born_open.restype = ctypes.c_void_p
    made.born_open.argtypes = [word, word, word, ctypes.c_int, size, size, ctypes.c_void_p]
    made.born_nursery.argtypes = [word, word]
    made.born_return.restype = None
    made.born_missed.argtypes, made.born_missed.restype = [word, size], None
    made.born_give_back.restype = None
    made.born_lend.argtypes = [word, size]
    made.born_take_back.argtypes = [ctypes.POINTER(size), size]
    for name in ("born_extent_for", "born_live", "born_hand_over", "born_has_free", "born_take", "born_return"):
        getattr(made, name).argtypes = [word]
    for name in ("extent_for", "nursery", "take", "take_back", "live", "wanted", "kept_bytes", "private_bytes"):
        getattr(made, f"born_{name}").restype = size
    return made


@cache
def load_error() -> str | None:
    """Return why there is no library that can be loaded; None: there is one. A worker knows it from the fork server."""
    try:
        if _load().born_source() != source_checksum():
            return "the compiled library is of another version than its source: install pardata again"
    except FileNotFoundError:
        return "pardata was installed without its source in C"
    except (OSError, AttributeError) as error:
        return f"pardata was installed without a C compiler ({error})"
    return None


def _capsule_pointer(capsule: object, name: bytes | None) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(get(capsule, name))


def _numpy_function(place: int, restype: Any, *argtypes: Any) -> Any:
    """Return one of the functions that NumPy offers to modules in C."""
    core = importlib.import_module("numpy._core._multiarray_umath")
    table = ctypes.cast(_capsule_pointer(core._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    return ctypes.PYFUNCTYPE(restype, *argtypes)(table[place])


def _numpys_handler() -> int:
    return _capsule_pointer(_numpy_function(_GET_HANDLER, ctypes.py_object)(), _HANDLER)


def _numpy_refusal() -> str | None:
    try:
        abi = _numpy_function(_ABI_VERSION, ctypes.c_uint)()
        api = _numpy_function(_API_VERSION, ctypes.c_uint)()
    except (ImportError, AttributeError) as error:
        return f"NumPy {np.__version__} does not offer its allocator ({error})"
    if abi not in _ABIS or api < _FIRST_API:
        return f"the interface of NumPy {np.__version__} is not known"
    at = _numpys_handler()
    if ctypes.string_at(at) != b"default_allocator":
        return "another allocator has been set"
    version = ctypes.string_at(at + _NAME_BYTES, 1)[0]
    return None if version == _HANDLER_VERSION else f"NumPy's allocators of version {version} are not known"


class Library:
    """The functions of `born.c` over one span of a segment; see there. Opened once in a process."""

    def __init__(self, segment: Segment, start: int, end: int, keep_bytes: int) -> None:
        """Open the allocator over the segment's bytes from `start` to `end`; `enter` makes it NumPy's.

        `keep_bytes`: see `kept.h`. Raises `OSError` if the system refuses to tell of forks.
        """
        # Arrays that are born in a block have no reference to the mapping, and some live until the process ends.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(segment.map))
        self._functions = functions = _load()
        self.address = base = int(np.frombuffer(segment.map, np.uint8, 1).ctypes.data)
        self.start, self.end = base + start, base + end
        at = functions.born_open(
            self.start, self.end, base, segment.fd, LEAST_BORN_BYTES, keep_bytes, _numpys_handler()
        )
        if not at:
            raise OSError("no memory to watch for forks")
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        self._handler: object = new(at, _HANDLER, None)
        self._set = _numpy_function(_SET_HANDLER, ctypes.py_object, ctypes.py_object)
        self.live, self.hand_over = functions.born_live, functions.born_hand_over  # of an address: extent; whether
        self.return_, self._nursery = functions.born_return, functions.born_nursery
        self.missed, self.give_back = functions.born_missed, functions.born_give_back
        self.has_free = functions.born_has_free
        self.kept_bytes = functions.born_kept_bytes
        self.private_bytes = functions.born_private_bytes

    def enter(self) -> object:
        """Make the allocator that of NumPy in this thread (and context); return that which was there before."""
        return self._set(self._handler)

    def leave(self, before: object) -> None:
        """Make the allocator that was there before `enter` NumPy's again."""
        self._set(before)

    def carve_in(self, offset: int, nbytes: int) -> int:
        """Have blocks made in a range of the segment as arrays need them; 0 bytes: no more.

        Return the offset at which what is left of the last range begins.
        """
        at = self.address + offset if nbytes else 0
        return int(self._nursery(at, at + nbytes)) - self.address

    @property
    def is_on(self) -> bool:
        """Whether arrays are born in blocks; not any more once user code has forked."""
        return bool(self._functions.born_is_on())

    def lend(self, offset: int, extent: int) -> bool:
        """Lend a block; return whether there was room for it."""
        return bool(self._functions.born_lend(self.address + offset, extent))

    def take(self, extent: int) -> int | None:
        """Take back the free block of this extent that was used last; return its offset, None: there is none."""
        at = self._functions.born_take(extent)
        return at - self.address if at else None

    def take_back(self, other_than: int = 0, age: int = 0) -> tuple[int, int] | None:
        """Take back the block that has been free for longest; return its offset and extent.

        None: there is none of another extent than `other_than` that was free for `age` requests of large arrays.
        """
        extent = ctypes.c_size_t(other_than)
        at = self._functions.born_take_back(ctypes.byref(extent), age)
        return (at - self.address, extent.value) if at else None

    def wanted(self) -> list[int]:
        """Return the extents of which there was no free block since the last call."""
        found = []
        while extent := self._functions.born_wanted():
            found.append(extent)
        return found
