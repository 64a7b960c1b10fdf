"""SharedMemoryManager: named blocks that are removed together, in place of the standard library's.

There is no server process. A manager is a number, the group, in the registers of its owner's session (`session.py`).
Connected processes create blocks with that number; the end of the manager, or the session's guardian, removes them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import multiprocessing
import os
import secrets
import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pardata.errors import ClosedError, ConfigError
from pardata.memory.exchange.addresses import name_anchor
from pardata.memory.named import guardian, inspector, session
from pardata.memory.named.block import SharedMemory as Block
from pardata.memory.named.inspector import BlockInfo
from pardata.memory.named.lifecycle import ManagerEvent, ManagerState, after
from pardata.memory.named.manager_links import link_path, link_target, take_address
from pardata.memory.named.register import records
from pardata.memory.named.shareable_list import ShareableList as List
from pardata.memory.plain import plain_array
from pardata.memory.shared_array import shared_view
from pardata.memory.shared_heap import check_shape
from pardata.process.capacity import descriptors_for
from pardata.process.interrupts import aside


class SharedMemoryManager:
    """Creates named blocks, and removes them all when it is shut down or its process ends, whatever ended that.

    Parameters
    ----------
    address : str or tuple of (str, int), optional
        The address by which other processes of this user on this machine connect. None: a new, unique one.
    authkey : bytes, optional
        A key that connecting processes must give as well.

    Raises
    ------
    ConfigError
        It is used before `start` or `connect`, or started twice.
    ClosedError
        It is used after the manager was shut down.

    Examples
    --------
    >>> with pardata.SharedMemoryManager() as manager:
    ...     block, items = manager.SharedMemory(100), manager.ShareableList([1, "two"])
    ...     print(manager.zeros((2, 3)).sum(), list(items))
    0.0 [1, 'two']

    Source: the interface of multiprocessing.managers.SharedMemoryManager, Python 3.13
    """

    def __init__(self, address: str | tuple[str, int] | None = None, authkey: bytes | None = None) -> None:
        self._address = address if address is not None else f"pardata-{secrets.token_hex(8)}"
        self._digest = hashlib.sha256(bytes(authkey or b"")).hexdigest()[:32]
        self._state = ManagerState.INITIAL
        self._owner: session.Session | None = None
        self._group = 0
        self._finalizer: weakref.finalize[..., SharedMemoryManager] | None = None

    @property
    def address(self) -> str | tuple[str, int]:
        """The address that another process gives to connect."""
        return self._address

    def start(self) -> None:
        """Begin to manage.

        Raises
        ------
        ConfigError
            It was started, connected or shut down before.
        OSError
            A living manager has the address (EADDRINUSE).
        TimeoutError
            A process that is stopped has had the addresses locked for ten seconds.
        """
        aside(self._start)  # interrupted or not, it ends with the manager

    def _start(self) -> None:
        state = after(self._state, ManagerEvent.START)
        owner = session.own()
        group = secrets.randbits(62)
        owner.watch()
        path, target = link_path(self._address), link_target(owner.path, group, self._digest)
        with descriptors_for("a manager of shared memory", 2):
            if not take_address(path, target):
                raise OSError(errno.EADDRINUSE, f"a manager with the address {self._address!r} is running")
        self._owner, self._group, self._state = owner, group, state
        self._finalizer = weakref.finalize(self, _shut_down, path, target, owner, group, os.getpid())

    def connect(self) -> None:
        """Create blocks in the manager at `address` from now on; they are removed with it.

        Raises
        ------
        ConfigError
            It was started, connected or shut down before.
        ConnectionRefusedError
            There is no such manager.
        multiprocessing.AuthenticationError
            That manager was started with another `authkey`.
        """
        state = after(self._state, ManagerEvent.CONNECT)
        try:
            path, _, parts = os.readlink(link_path(self._address)).rpartition("/")
            owner = session.joined(path)
        except FileNotFoundError:
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"there is no manager with the address {self._address!r}"
            ) from None
        group, _, digest = parts.partition("-")
        if digest != self._digest:
            raise multiprocessing.AuthenticationError(f"the manager {self._address!r} has another authkey")
        self._owner, self._group, self._state = owner, int(group), state

    def shutdown(self) -> None:
        """Remove all blocks. A process that still has one mapped can go on reading and writing it.

        Raises `ConfigError` if it was not started; also if it was connected: the blocks are another manager's.
        """
        self._state = after(self._state, ManagerEvent.SHUTDOWN)
        if self._finalizer is not None:
            self._finalizer()

    def __enter__(self) -> Self:
        if self._state is ManagerState.INITIAL:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._state is ManagerState.STARTED:
            self.shutdown()

    def _new_block(self, size: int) -> Block:
        if self._state is ManagerState.INITIAL:
            raise ConfigError("start() or connect() this manager before it makes blocks")
        assert self._owner is not None
        self._owner.watch()
        made = Block._create_in(self._owner, self._group, size)
        # SYNC POINT: manager shutdown (`_shut_down`). The link goes before the recorded blocks: either the record of
        # this block is found there, or the link is missed here.
        if not self._is_running():
            with contextlib.suppress(FileNotFoundError):
                made.unlink()
            raise ClosedError(f"the manager {self._address!r} has been shut down")
        return made

    def _is_running(self) -> bool:
        assert self._owner is not None
        try:
            return os.readlink(link_path(self._address)) == link_target(self._owner.path, self._group, self._digest)
        except FileNotFoundError:
            return False

    def SharedMemory(self, size: int) -> Block:
        """Return a new block of `size` bytes; else as `pardata.SharedMemory`."""
        if size < 0:
            raise ValueError(f"'size' must be zero or a positive number of bytes, not {size}")
        return self._new_block(size)

    def ShareableList(self, sequence: Iterable[Any]) -> List[Any]:
        """Return a new list with the values of `sequence`; else as `pardata.ShareableList`."""
        return List._create_with(self._new_block, sequence)

    def empty(self, shape: int | tuple[int, ...], dtype: DTypeLike = float) -> Any:
        """Return a new writable `SharedArray` in a block of its own, contents undefined; it goes with the manager.

        Parameters
        ----------
        shape : int or tuple of int
        dtype : any dtype without objects

        Raises
        ------
        ConfigError
            `dtype` holds Python objects, or a dimension is negative.
        CapacityError
            The block does not fit.
        """
        sizes, kind, nbytes = check_shape(shape, dtype)
        return shared_view(name_anchor(self._new_block(nbytes)), 0, kind, sizes, None)

    def zeros(self, shape: int | tuple[int, ...], dtype: DTypeLike = float) -> Any:
        """Return a new `SharedArray` of zeros; else as `empty`."""
        made = self.empty(shape, dtype)
        made[...] = np.zeros((), dtype)
        return made

    def array(self, values: ArrayLike, dtype: DTypeLike | None = None) -> Any:
        """Return a copy of `values` (array_like) with their shape; else as `empty`."""
        given = plain_array(values, "SharedMemoryManager.array got", dtype)
        made = self.empty(given.shape, given.dtype)
        made[...] = given
        return made

    def blocks(self) -> list[BlockInfo]:
        """Return the manager's blocks, the oldest first, as a list of `BlockInfo`."""
        if self._owner is None:
            return []
        return [block for block in inspector.blocks([self._owner.path]) if block.group == self._group]

    def __reduce__(self) -> Any:
        raise TypeError("a manager is not pickled: send its address, and connect() another SharedMemoryManager with it")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._address!r}, {self._state.value}>"


def _shut_down(path: str, target: str, owner: session.Session, group: int, pid: int) -> None:
    if os.getpid() != pid:
        return  # a forked child's copy
    # While the session lives, no other process touches the link: no lock is needed. Later it may be another manager's.
    with contextlib.suppress(FileNotFoundError), session.taking_part(owner) as is_ours:
        if is_ours and os.readlink(path) == target:
            os.unlink(path)
    for record in records(owner.path):  # SYNC POINT: manager shutdown
        if record.group == group:
            guardian.remove(record)
            owner.register.forget(record.name)
