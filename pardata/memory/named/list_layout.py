"""The layout of a `ShareableList` in memory: values to bytes and back. Pure: opens nothing.

    words (8 bytes)   contents
    1                 q n, the number of items
    n + 1             q offsets in the data area: the beginning of each item, then the end of the area; bytes
    data area         8 bytes per number; strings have a room of whole words
    n                 8s the `struct` format of each item, padded with NULs
    n bytes           b the code of each item: 0 number, 1 str, 2 bytes, 3 None

The creator writes all of it before other processes know the block's name. Afterwards the number and the offsets stay,
and any process writes data, then format, then code of an item: no store orders them for a reader, so writers that
change more than a number need a lock of their users.

This is the layout of the standard library: each side reads and writes the lists of the other. A string is padded
with NULs to its room there ("16s") and read back without any. A value that would not survive that has a format of its
exact length with a blank behind ("3s "):

    code 0          bytes that end in NUL; the standard library reads them exactly
    code 1          str that ends in NUL; the standard library reads it without
    code 2          int beyond 64 bits, little-endian; the standard library reads it as bytes

`struct` skips the blank, and a writer of the standard library, which keeps a format that ends in "s", replaces this one
by that of the whole room. So such a writer leaves nothing out of date. From a million bytes on the digits leave no
place for the blank; the format is then "1000000c", which the standard library refuses to read.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np

WORD_BYTES: Final = 8
LEAST_INT: Final = -(1 << 63)
MOST_INT: Final = (1 << 63) - 1  # above it, up to 64 bits, an int is stored unsigned
MOST_ITEM_BYTES: Final = 9_999_991  # a format has 8 characters, and a room is at least a byte larger than its string
NUMBER, STR, BYTES, NONE_CODE = range(4)

_STRING = re.compile(rb"([0-9]{1,7})(s|s |c)")


def word_of(text: bytes) -> int:
    """Return 8 bytes, or fewer and NULs, as the integer that a memoryview shows for them."""
    return int.from_bytes(text.ljust(WORD_BYTES, b"\0"), sys.byteorder)


def word_bytes(word: int) -> bytes:
    """Return the bytes that an integer of a memoryview shows, without the NULs behind."""
    return word.to_bytes(WORD_BYTES, sys.byteorder).rstrip(b"\0")


INT: Final = word_of(b"q")
UNSIGNED: Final = word_of(b"Q")
FLOAT: Final = word_of(b"d")
BOOL: Final = word_of(b"xxxxxxx?")
NONE: Final = word_of(b"xxxxxx?x")
ONE_WORD: Final = frozenset([INT, UNSIGNED, FLOAT, BOOL, NONE])
PADDED: Final = 0  # stands for the format of a string that fills its room


# -- one value ---------------------------------------------------------------------------------------------------------


Packed: TypeAlias = tuple[int, int, bytes]  # format, code, bytes
Room: TypeAlias = tuple[int, struct.Struct]  # a plain tuple: a NamedTuple made iteration half as fast again


@lru_cache(4096)
def room_of(nbytes: int) -> Room:
    """Return the format of a string that fills `nbytes`: as a word, and compiled."""
    form = b"%ds" % nbytes
    return word_of(form), struct.Struct(form)


def pack(value: object, position: object) -> Packed:
    """Return format, code and bytes of a value; `PADDED` stands for the format of its room.

    Raises
    ------
    TypeError       the list cannot hold values of this type; names `position`.
    """
    packer = _PACKERS.get(type(value))
    if packer is None:
        value = _plain(value, position)
        packer = _PACKERS[type(value)]
    return packer(value)


def _plain(value: object, position: object) -> Any:
    """Return an instance of a subclass, or NumPy's scalar, as the value of Python's own type that it equals."""
    for kind, exactly in _EXACTLY.items():
        if isinstance(value, kind):
            return exactly(value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer) and not isinstance(value, np.timedelta64):
        return int(value)
    if isinstance(value, np.float16 | np.float32):  # np.float64 is a float; np.longdouble would lose digits
        return float(value)
    raise TypeError(
        f"item {position} is of type {type(value).__name__}: a ShareableList holds int, float, bool, "
        f"str, bytes and None"
    )


# These also return the value where a subclass has changed the conversion, as StrEnum changes __str__.
_EXACTLY: Final[dict[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: bytes.__bytes__,
}


def _pack_int(value: int) -> Packed:
    if LEAST_INT <= value <= MOST_INT:
        return INT, NUMBER, _pack_signed(value)
    if 0 <= value < 1 << 64:
        return UNSIGNED, NUMBER, struct.pack("Q", value)
    nbytes = value.bit_length() // 8 + 1
    return _exact_format(nbytes), BYTES, value.to_bytes(nbytes, "little", signed=True)


def _pack_str(value: str) -> Packed:
    raw = value.encode("utf-8", "surrogatepass")
    return _exact_format(len(raw)) if raw[-1:] == b"\0" else PADDED, STR, raw


def _pack_bytes(value: bytes) -> Packed:
    if value[-1:] == b"\0":
        return _exact_format(len(value)), NUMBER, value
    return PADDED, BYTES, value


_pack_signed = struct.Struct("q").pack
_pack_double = struct.Struct("d").pack

_PACKERS: Final[dict[type, Callable[[Any], Packed]]] = {
    int: _pack_int,
    float: lambda value: (FLOAT, NUMBER, _pack_double(value)),
    bool: lambda value: (BOOL, NUMBER, b"\0\0\0\0\0\0\0\1" if value else bytes(8)),
    str: _pack_str,
    bytes: _pack_bytes,
    type(None): lambda _: (NONE, NONE_CODE, bytes(8)),
}


def _exact_format(nbytes: int) -> int:
    return word_of(b"%ds " % nbytes if nbytes < 1_000_000 else b"%dc" % nbytes)


def unpack_padded(room: bytes, code: int) -> str | bytes:
    """Return the string that fills its room; ValueError if its code or its UTF-8 is wrong."""
    if code == STR:
        return room.rstrip(b"\0").decode("utf-8", "surrogatepass")
    if code == BYTES:
        return room.rstrip(b"\0")
    raise ValueError(f"it has the code {code} and the format of a string")


def unpack_string(room: bytes, form: int, code: int) -> str | bytes | int:
    """Return the value of any item with the format of a string; ValueError if format, code and bytes disagree."""
    nbytes, is_exact = _string_format(form)
    if nbytes > len(room):
        raise ValueError(f"its format says {nbytes} bytes, its room has {len(room)}")
    raw = room[:nbytes]
    if not is_exact:
        return unpack_padded(raw, code)
    if code == STR:
        return raw.decode("utf-8", "surrogatepass")
    if code == BYTES:
        return int.from_bytes(raw, "little", signed=True)
    if code == NUMBER:
        return raw
    raise ValueError(f"it has the code {code} and the format of a string")


@lru_cache(4096)
def _string_format(form: int) -> tuple[int, bool]:
    """Return the number of bytes of a string, and whether NULs at its end count."""
    text = word_bytes(form)
    found = _STRING.fullmatch(text)
    if found is None:
        raise ValueError(f"it has the format {text!r}")
    return int(found[1]), found[2] != b"s"


# -- all of them -------------------------------------------------------------------------------------------------------


def image(values: Iterable[Any]) -> bytes:
    """Return the bytes of a whole list.

    Raises
    ------
    TypeError       as `pack`.
    ValueError      an item is larger than a format can say.
    """
    end = 0
    ends, data, formats, codes = [end], [], [], bytearray()
    for position, value in enumerate(values):
        form, code, raw = pack(value, position)
        if len(raw) > MOST_ITEM_BYTES:
            raise ValueError(
                f"item {position} takes {len(raw)} bytes; the layout of a ShareableList has room for "
                f"{MOST_ITEM_BYTES}. A SharedMemory block holds more"
            )
        room = WORD_BYTES if form in ONE_WORD else _room_bytes(value, raw)
        end += room
        ends.append(end)
        data.append(raw.ljust(room, b"\0"))
        formats.append(form or room_of(room)[0])
        codes.append(code)
    n = len(codes)
    head = struct.pack(f"{n + 2}q", n, *ends)
    return b"".join([head, *data, struct.pack(f"{n}Q", *formats), codes])


def _room_bytes(value: object, raw: bytes) -> int:
    """Return the room of a new string: the standard library's, which counts characters, unless bytes need more."""
    length = str.__len__(value) if isinstance(value, str) else len(raw)
    return max(WORD_BYTES * (length // WORD_BYTES + 1), -(-len(raw) // WORD_BYTES) * WORD_BYTES)


def places(block: memoryview, name: str) -> list[int]:
    """Return the word at which each item begins and, as the last, the word at which the formats begin.

    Raises
    ------
    ValueError      the block is no list, or only the beginning of one; names what does not fit.
    """

    def refuse(reason: str) -> ValueError:
        return ValueError(f"block {name!r} of {block.nbytes} bytes holds no ShareableList: {reason}")

    if block.nbytes < 2 * WORD_BYTES:
        raise refuse(f"even an empty one takes {2 * WORD_BYTES} bytes")
    n = int.from_bytes(block[:WORD_BYTES], sys.byteorder, signed=True)
    least = n * (3 * WORD_BYTES + 1) + 2 * WORD_BYTES
    if n < 0 or least > block.nbytes:
        raise refuse(f"it begins with {n} as the number of items" + (f", which take at least {least} bytes" * (n > 0)))
    offsets = np.frombuffer(block, np.int64, n + 1, WORD_BYTES)
    if offsets[0] != 0 or (offsets % WORD_BYTES).any() or (offsets[1:] <= offsets[:-1]).any():
        raise refuse("where its items begin does not ascend from 0 in steps of whole words")
    needed = 2 * WORD_BYTES + n * (2 * WORD_BYTES + 1) + int(offsets[-1])
    if needed > block.nbytes:
        raise refuse(f"its {n} items take {needed} bytes")
    found: list[int] = (offsets // WORD_BYTES + (n + 2)).tolist()
    return found
