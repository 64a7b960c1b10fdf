"""A pool's thread, from its start to its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pardata.pool.open_backends import OpenBackend, open_backends
from pardata.process.interrupts import Latch, start_thread
from pardata.runtime.settings import as_here


class PoolThread:
    """The thread of a pool of processes: `start` returns when the workers are there, `join` when they are gone.

    The thread makes and takes back everything that has to be taken back, so no interrupt of a caller comes between.
    """

    def __init__(self) -> None:
        self._stands, self._has_ended = Latch(), Latch()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None  # of the start

    def start(self, backend: OpenBackend, begin: Callable[[Any], Callable[[], None]], program: Any) -> None:
        """Have the thread call ``begin(program)``, and then its result. Raises the errors of `begin`.

        It may be interrupted at any step: `join` waits for the thread if there is one.
        """
        args = (backend, begin, program)
        self._thread = threading.Thread(target=as_here(self._run), args=args, name="pardata-pool", daemon=True)
        start_thread(self._thread)
        self._stands.wait()
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure

    def _run(self, backend: OpenBackend, begin: Callable[[Any], Callable[[], None]], program: Any) -> None:
        open_backends.add(backend)
        try:
            try:
                work = begin(program)
            except BaseException as error:
                self._failure = error
                return
            finally:
                del program
                self._stands.open()
            work()
        finally:
            open_backends.discard(backend)
            self._has_ended.open()

    def join(self) -> None:
        """Wait until the thread has ended. Called by the thread itself, or if it was not started, it does nothing."""
        thread = self._thread
        if thread is not None and thread.ident is not None and threading.current_thread() is not thread:
            self._has_ended.wait()
            thread.join()
