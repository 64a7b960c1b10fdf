"""SharedMemory: a named block, in place of multiprocessing.shared_memory.SharedMemory.

The interface is the standard library's, and so are the names: each attaches to what the other has created. What is
different is what hurts there: to attach never takes ownership, no view ever dangles, `close` never raises.
"""

from __future__ import annotations

import os
import weakref
from types import TracebackType
from typing import Any, Self

from pardata.memory import named, session
from pardata.memory.guardian import unlink_name

_room = named.Room()


class SharedMemory:
    """A named block of shared memory, created or attached to.

    A block that was created is removed by `unlink`, or else when the process tree that it was created in is gone,
    whatever ended that. One that was attached to is never removed by that alone.

    Parameters
    ----------
    name : str, optional
        A file name without a slash. None, with `create`, for a new one of its own.
    create : bool
        Whether to create it or to attach to an existing one.
    size : int, bytes, >= 0
        Of a new block, exactly; ignored for an existing one.
    track : bool
        False to leave a new block where it is when this process tree is gone, until somebody unlinks it.

    Attributes
    ----------
    name : str
    size : int, bytes
    buf : memoryview of unsigned bytes, writable
        It and all arrays made over it, also by `np.ndarray(buffer=...)`, keep the memory mapped, also after `close`.

    Raises
    ------
    FileNotFoundError   there is no block of this name to attach to
    FileExistsError     there is one already
    ValueError          negative size, a name with a slash or a NUL, or no name without `create`
    CapacityError       there is no room for it on the mount of named blocks, or in memory; nothing was created

    Source: the interface of multiprocessing.shared_memory, Python 3.13
    """

    def __init__(self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = True) -> None:
        if size < 0:
            raise ValueError(f"'size' must be zero or a positive number of bytes, not {size}")
        if name is not None:
            named.check_name(name)
        elif not create:
            raise ValueError("'name' can only be None if create=True")
        self._track = track
        if not create:
            assert name is not None
            fd = named.open_block(name)
            found = os.fstat(fd)
            self._open(name, fd, False, found.st_size, found.st_ino)
            return
        owner = session.tree() if track else session.NOBODY
        owner.watch()
        if name is None:
            self._open(*_create_new(size, owner, 0), size, 0)
        else:
            fd, is_lazy, inode = _create_given(name, size, owner)
            self._open(name, fd, is_lazy, size, inode)

    @classmethod
    def create_in(cls, owner: session.Owner, group: int, size: int) -> Self:
        """Create a block that belongs to a group of the session `owner`."""
        made = cls.__new__(cls)
        made._track = True
        made._open(*_create_new(size, owner, group), size, 0)
        return made

    def _open(self, name: str, fd: int, is_lazy: bool, size: int, inode: int) -> None:
        self._name = name
        self._size = size
        self._inode = inode  # 0: nobody else's block can have this name
        self._lazy_bytes = size if is_lazy else 0
        try:
            # A view of the mapping, never the mapping itself: it goes with the last view of it.
            self._buf: memoryview | None = memoryview(named.map_block(fd, size) if size else bytearray())
        finally:
            os.close(fd)
        self._close_fd: weakref.finalize[[int], SharedMemory] | None = None

    @property
    def name(self) -> str:
        """The block's name, by which other processes attach to it."""
        return self._name

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._size

    @property
    def buf(self) -> memoryview:
        """The contents. After `close` it is None, as in the standard library."""
        return self._buf  # type: ignore[return-value]

    def fileno(self) -> int:
        """Return a descriptor of the block, open until `close`. Raises `FileNotFoundError` if its name is gone."""
        if self._close_fd is None:
            fd = named.open_block(self._name)
            self._close_fd = weakref.finalize(self, os.close, fd)
            self._close_fd.atexit = False
            if self._inode and os.fstat(fd).st_ino != self._inode:
                self.close()
                raise FileNotFoundError(f"the block {self._name!r} has been unlinked; another one has its name")
        alive = self._close_fd.peek()
        assert alive is not None
        return int(alive[2][0])

    def close(self) -> None:
        """Let go of the block. Views of it stay valid, and keep it mapped until they are gone. Never raises."""
        self._buf = None
        if self._close_fd is not None:
            self._close_fd()
            self._close_fd = None

    def unlink(self) -> None:
        """Remove the block's name. The memory returns when no process has it mapped any more.

        Raises
        ------
        FileNotFoundError
            It has been unlinked already.
        """
        if self._inode and not named.is_linked(named.check_name(self._name), self._inode):
            raise FileNotFoundError(f"the block {self._name!r} has been unlinked; another one may have its name")
        unlink_name(self._name)
        session.forget_name(self._name)
        _room.give_back(self._lazy_bytes)
        self._lazy_bytes = 0

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


def _create_new(size: int, owner: session.Owner, group: int) -> tuple[str, int, bool]:
    """Create a block whose name is nobody else's; return name, descriptor, and whether its pages are still to come."""
    name = owner.new_name()
    slot = owner.note(name, 0, size, group)
    try:
        fd = named.create(name)
        try:
            is_lazy = _room.take(fd, size)
        except BaseException:
            os.close(fd)
            unlink_name(name)
            raise
    except BaseException:
        owner.drop(slot)
        raise
    owner.keep(name, slot)
    return name, fd, is_lazy


def _create_given(name: str, size: int, owner: session.Owner) -> tuple[int, bool, int]:
    """Create a block whose name was given: it is recorded by its inode, and is whole when it appears.

    Returns its descriptor, whether its pages are still to come, and its inode.
    """
    fd = named.create_nameless()
    is_linked = fd < 0
    if is_linked:  # to be killed here leaves a block; if it were recorded before, somebody else's could be removed
        fd = named.create(name)
    try:
        is_lazy = _room.take(fd, size)
        inode = os.fstat(fd).st_ino
        slot = owner.note(name, inode, size, 0)
        try:
            if not is_linked:
                named.publish(fd, name)
        except BaseException:
            owner.drop(slot)
            raise
    except BaseException:
        os.close(fd)
        raise
    owner.keep(name, slot)
    return fd, is_lazy, inode
