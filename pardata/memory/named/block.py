"""SharedMemory: a named block, in place of multiprocessing.shared_memory.SharedMemory.

The interface is the standard library's, and so are the names: each side attaches to the other's blocks. Three things
differ: to attach never takes ownership, no view ever dangles, and `close` never raises.
"""

from __future__ import annotations

import contextlib
import operator
import os
import sys
import weakref
from types import TracebackType
from typing import Any, Self

from pardata.memory.named import os_objects, session
from pardata.memory.named.guardian import ANY_FILE, FileId, id_of, unlink_name
from pardata.memory.named.owner import NOBODY, Owner

_overcommit = os_objects.Overcommit()


class SharedMemory:
    """A named block of shared memory, created or attached to.

    A created block is removed by `unlink`, or else when the process tree in which it was created is gone, whatever
    ended that. To attach to a block never removes it.

    Parameters
    ----------
    name : str, optional
        A file name without a slash. None, with `create`: a new, unique one.
    create : bool
        True to create a block, False to attach to an existing one.
    size : int, bytes, >= 0
        Exact size of a new block; ignored for an existing one.
    track : bool
        False to keep a new block until it is unlinked, also when this process tree is gone.

    Attributes
    ----------
    name : str
        The name by which other processes attach.
    size : int, bytes
        The size of the block.
    buf : memoryview, `size` unsigned bytes, writable
        The contents. It and all arrays made over it, also by ``np.ndarray(buffer=...)``, keep the memory mapped, also
        after `close`, which sets this attribute to None.

    Raises
    ------
    FileNotFoundError
        There is no block of this name to attach to.
    FileExistsError
        There is a block of this name already.
    ValueError
        `size` is negative, `name` has a slash or a NUL, or there is no name without `create`.
    OverflowError
        `size` exceeds ``sys.maxsize``.
    CapacityError
        The block does not fit on the mount of named blocks, into memory, or among this process's mappings (the text
        names the limit); nothing was created.
    PlatformError
        This system has no named blocks: they need Linux with ``/dev/shm``.

    Examples
    --------
    >>> with pardata.SharedMemory(create=True, size=4) as block:
    ...     block.buf[:] = b"data"
    ...     with pardata.SharedMemory(block.name) as attached:  # any process can
    ...         print(bytes(attached.buf))
    ...     block.unlink()
    b'data'

    Source: the interface of multiprocessing.shared_memory, Python 3.13
    """

    def __init__(self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = True) -> None:
        size = operator.index(size)
        if size < 0:
            raise ValueError(f"'size' must be zero or a positive number of bytes, not {size}")
        if size > sys.maxsize:
            raise OverflowError(f"a block of {size} bytes: there are no so large addresses")
        if name is not None:
            os_objects.check_name(name)
        elif not create:
            raise ValueError("'name' can only be None if create=True")
        self._track = track
        if not create:
            assert name is not None
            fd = os_objects.open_block(name)
            found = os.fstat(fd)
            self._open(name, fd, id_of(found), found.st_size)
            return
        owner = session.tree() if track else NOBODY
        owner.watch()
        self._open_new(*_create(name, size, owner, 0), size)

    @classmethod
    def _create_in(cls, owner: Owner, group: int, size: int) -> Self:
        """Create a block that belongs to a group of the session `owner`."""
        made = cls.__new__(cls)
        made._track = True
        made._open_new(*_create(None, size, owner, group), size)
        return made

    def _open_new(self, name: str, fd: int, file: FileId, size: int) -> None:
        try:
            self._open(name, fd, file, size)
        except BaseException:  # it cannot be mapped
            with contextlib.suppress(FileNotFoundError):
                self.unlink()
            raise

    def _open(self, name: str, fd: int, file: FileId, size: int) -> None:
        self._name = name
        self._size = size
        self._file = file  # ANY_FILE: no other block can have this name
        try:
            # A view of the mapping, never the mapping itself: it goes with the last view of it.
            self._buf: memoryview | None = memoryview(os_objects.map_block(fd, size) if size else bytearray())
        finally:
            os.close(fd)
        self._close_fd: weakref.finalize[[int], SharedMemory] | None = None

    @property
    def name(self) -> str:
        """The name by which other processes attach."""
        return self._name

    @property
    def size(self) -> int:
        """The size of the block in bytes."""
        return self._size

    @property
    def buf(self) -> memoryview:
        """The contents, a writable memoryview of bytes; None after `close`, as in the standard library."""
        return self._buf  # type: ignore[return-value]

    def fileno(self) -> int:
        """Return a descriptor of the block, open until `close`.

        Raises
        ------
        FileNotFoundError
            The block's name is gone, or another block has it.
        """
        if self._close_fd is None:
            fd = os_objects.open_block(self._name)
            self._close_fd = weakref.finalize(self, os.close, fd)
            self._close_fd.atexit = False
            if self._file not in (ANY_FILE, id_of(os.fstat(fd))):
                self.close()
                raise FileNotFoundError(f"the block {self._name!r} has been unlinked; another one has its name")
        alive = self._close_fd.peek()
        assert alive is not None
        return int(alive[2][0])

    def close(self) -> None:
        """Let go of the block. Views of it stay valid, and keep it mapped until they are gone. Raises nothing."""
        self._buf = None
        if self._close_fd is not None:
            self._close_fd()
            self._close_fd = None

    def unlink(self) -> None:
        """Remove the block's name. The system frees the memory when no process has it mapped any more.

        Raises
        ------
        FileNotFoundError
            The block has been unlinked already.
        """
        if self._file != ANY_FILE and not os_objects.is_linked(os_objects.check_name(self._name), self._file):
            raise FileNotFoundError(f"the block {self._name!r} has been unlinked; another one may have its name")
        unlink_name(self._name)
        session.forget_name(self._name)
        _overcommit.forget(self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _attach, (type(self), self._name, self._track)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, size={self._size})"


def _attach(kind: type[SharedMemory], name: str, track: bool) -> SharedMemory:
    return kind(name, track=track)


def _create(given: str | None, size: int, owner: Owner, group: int) -> tuple[str, int, FileId]:
    """Create a block; return its name, a descriptor, and its file's identity (ANY_FILE: no other block has its name).

    A block whose name was given is recorded by its device and inode, and has its full size when it appears.

    SYNC POINT: record (`guardian`). The record comes before the name, so that a block of a killed creator is found.
    """
    slot = fd = -1
    promised, file = 0, ANY_FILE
    name = owner.new_name() if given is None else given
    is_named = given is None
    try:
        if is_named:
            slot = owner.note(name, ANY_FILE, size, group)
            fd = os_objects.create(name)
            promised = _overcommit.take(fd, size)
        else:
            fd = os_objects.create_nameless()
            if is_named := fd < 0:  # killed here, a block is left: recorded first, it could be another's
                fd = os_objects.create(name)
            promised = _overcommit.take(fd, size)
            file = id_of(os.fstat(fd))
            slot = owner.note(name, file, size, group)
            if not is_named:
                os_objects.publish(fd, name)
    except BaseException:
        if fd >= 0:
            if is_named:
                unlink_name(name)
            os.close(fd)
        _overcommit.give_back(promised)
        if slot >= 0:
            owner.drop(slot)
        raise
    _overcommit.keep(name, promised)
    owner.keep(name, slot)
    return name, fd, file
