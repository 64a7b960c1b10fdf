"""Lists that are removed at the end, the values that are tried, and exact comparison."""

import contextlib
import os
import struct

from pardata.memory.named import session
from pardata.memory.named.block import SharedMemory
from pardata.memory.named.shareable_list import ShareableList

VALUES = [0, -5, 2.5, True, False, None, "text", b"bytes", "", b"", "zwölf", -(2**63), 2**63 - 1, -0.0]
RARE = [
    "\0",
    "a\0\0",
    "ü\0",
    b"\0",
    b"a\0",
    b"\0" * 8,
    "\ud800",
    "\udfff\0",
    2**63,
    2**64 - 1,
    2**64,
    -(2**63) - 1,
    1 << 5000,
]
NAN = struct.unpack("d", struct.pack("Q", 0x7FF8_0000_DEAD_BEEF))[0]


class Lists:
    """Makes blocks and lists over them, and removes them all at the end."""

    def __init__(self):
        self.close_all = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close_all.close()

    def ours(self, values):
        made = ShareableList(values)
        self.close_all.callback(made.shm.unlink)
        self.close_all.callback(made.shm.close)
        return made

    def ours_over(self, other):
        made = ShareableList(name=other.shm.name)
        self.close_all.callback(made.shm.close)
        return made

    def block(self, content):
        """A block of exactly these bytes."""
        made = SharedMemory(create=True, size=len(content))
        made.buf[:] = content
        self.close_all.callback(made.unlink)
        self.close_all.callback(made.close)
        return made


def exactly(values):
    """What distinguishes values: type, sign of zero and the bits of a NaN as well."""
    return [(type(v), struct.pack("d", v) if type(v) is float else v) for v in values]


def content(made):
    """The bytes of a list's block."""
    return bytes(made.shm.buf[: made.shm.size])


def shm_names():
    """The names of all blocks that this process has made."""
    return sorted(name for name in os.listdir("/dev/shm") if name.startswith(f"pd_{session.tree()._token}"))
