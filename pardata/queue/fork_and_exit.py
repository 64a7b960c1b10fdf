"""Forks and the exit of a process: all its queues take part in both."""

from __future__ import annotations

import threading
import weakref
from multiprocessing import util
from typing import Protocol

from pardata.process.system import at_fork
from pardata.queue import waiters


class _Queue(Protocol):
    """The steps of a `Queue` (see there)."""

    def close(self) -> None: ...
    def _update_ends(self) -> None: ...
    def _leave(self) -> None: ...
    def _dispose(self) -> None: ...
    def _dispose_if_received(self) -> None: ...
    def _hold_for_fork(self) -> int: ...
    def _after_fork_in_parent(self, writer: int) -> None: ...
    def _after_fork_in_child(self, writer: int) -> None: ...


queues: weakref.WeakValueDictionary[int, _Queue] = weakref.WeakValueDictionary()
leaving: set[_Queue] = set()  # dropped, while memory that they have sent the address of is on its way
is_exiting = False
_fork_lock = threading.RLock()  # of the thread that forks: the steps before and after belong to one fork
_at_fork: list[tuple[_Queue, int]] = []


def _living() -> list[_Queue]:
    """Return all queues of this process, also while another thread makes one: a weak set cannot be read then."""
    return [queue for known in queues.valuerefs() if (queue := known()) is not None]


def update_all() -> None:
    """Have each queue look again whether this process may put."""
    for queue in _living():
        queue._update_ends()


def end_with_program() -> None:
    """Have a daemonic thread end silently, with its program, if that ends: not the queue has ended."""
    if is_exiting and threading.current_thread().daemon:
        threading.Event().wait()


def _before_fork() -> None:
    _fork_lock.acquire()
    for queue in _living():
        _at_fork.append((queue, queue._hold_for_fork()))


def _after_fork_in_parent() -> None:
    while _at_fork:
        queue, writer = _at_fork.pop()
        queue._after_fork_in_parent(writer)
    _fork_lock.release()


def _after_fork_in_child() -> None:
    global _fork_lock, is_exiting
    _fork_lock, is_exiting = threading.RLock(), False
    waiters.after_fork()
    while leaving:
        leaving.pop()._dispose()  # the memory that they wait for is the parent's
    while _at_fork:
        queue, writer = _at_fork.pop()
        queue._after_fork_in_child(writer)


def _close_all() -> None:
    global is_exiting
    is_exiting = True
    for queue in _living():
        queue.close()


def _leave_all() -> None:
    for queue in {*_living(), *leaving}:
        queue._leave()


def _at_exit(_: object) -> None:
    """As multiprocessing's queues do: close before the children are joined, wait for the rest after that."""
    util.Finalize(None, _close_all, exitpriority=10)
    util.Finalize(None, _leave_all, exitpriority=-5)


at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
util.register_after_fork(_at_exit, _at_exit)  # a child of multiprocessing begins with an empty list
_at_exit(None)
